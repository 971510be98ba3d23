"""What the desk may do with conversations, as Django permissions; a proxy model carries them and stores nothing."""

from typing import ClassVar

from conversations.models import Conversation

READ, ARCHIVE, KICK = "read_transcript", "archive", "kick"
ADD, DELETE, REDACT, ERASE, SEND, EXPORT = "add_members", "delete", "redact", "erase", "send_as_system", "export"
VIEW = "view_deskconversation"

SUPPORT_GROUP = "support"
SUPPORT_PERMISSIONS = (VIEW, READ, ARCHIVE, KICK)
"""What the group has from the beginning; an administrator may change it."""


def permission(name: str) -> str:
    """The permission as ``user.has_perm`` takes it."""
    return f"gateway.{name}"


class DeskConversation(Conversation):
    """A conversation, as the desk sees it."""

    class Meta:
        proxy = True
        app_label = "gateway"
        verbose_name = "conversation"
        default_permissions = ("view",)
        permissions: ClassVar = [
            (READ, "Can read transcripts and search in them"),
            (ARCHIVE, "Can archive and unarchive conversations"),
            (KICK, "Can remove members"),
            (ADD, "Can add members"),
            (DELETE, "Can delete and restore conversations"),
            (REDACT, "Can redact messages"),
            (ERASE, "Can erase all that a person wrote"),
            (SEND, "Can send messages as the system"),
            (EXPORT, "Can export transcripts"),
        ]
