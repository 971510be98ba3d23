"""The messaging app."""

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    """Messages, their order, and history."""

    name = "messaging"
    default_auto_field = "django.db.models.BigAutoField"
