"""``manage.py create_conversation``: a conversation with its first members; its id alone on stdout."""

from typing import Any

from django.core.management.base import CommandParser

from conversations.services import create_conversation
from quickim.console import Console, checked
from quickim.rest.fields import ConversationTypeField, SessionField


class Command(Console):
    """See the module."""

    help = (
        "Create a conversation and print its id. Members who are connected to a running server learn of it with"
        " the server's next sweep (QUICKIM_SWEEP_SECONDS)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The arguments."""
        parser.add_argument(
            "--type", required=True, type=checked(ConversationTypeField()), help="0 to 2^63-1, free for the product"
        )
        parser.add_argument(
            "--session",
            required=True,
            action="append",
            type=checked(SessionField()),
            help="a member; repeat it for more",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create it and print its id."""
        conversation = create_conversation(options["type"], list(dict.fromkeys(options["session"])))
        self.stdout.write(str(conversation.public_id))
