"""Django's admin with the desk as its site."""

from django.contrib.admin.apps import AdminConfig


class DeskConfig(AdminConfig):
    """``django.contrib.admin``, under its own label; the desk's pages register themselves when models are ready."""

    default_site = "gateway.desk.site.DeskSite"
    default = False

    def ready(self) -> None:
        """Adds what the desk shows beside its own pages."""
        super().ready()
        from gateway.desk import logins, registry  # noqa: F401, PLC0415  # import models, which are ready only now
