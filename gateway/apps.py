"""The gateway app."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """Tokens, the hub, the transports and the support desk."""

    name = "gateway"
    verbose_name = "Support desk"

    def ready(self) -> None:
        """What is committed in this process is told to the nodes, also if it is none of them."""
        from gateway.outside import announce_from_outside  # noqa: PLC0415  # imports models, which are ready only now

        announce_from_outside()
