"""The conversations app."""

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    """Conversations and their members."""

    name = "conversations"
    default_auto_field = "django.db.models.BigAutoField"
