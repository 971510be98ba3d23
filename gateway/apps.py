"""The gateway app."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """Tokens, the hub and the transports; it has no models."""

    name = "gateway"
