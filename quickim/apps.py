"""The roof as a Django application: it registers the system checks before any command collects them."""

from django.apps import AppConfig


class QuickimConfig(AppConfig):
    """Settings, URLs, checks and health of the whole project; it has no models."""

    name = "quickim"
    verbose_name = "quickim"

    def ready(self) -> None:
        """Registers the checks; `urls.py` would be too late, as it is imported while checks already run."""
        from quickim import checks  # noqa: F401, PLC0415
