"""``manage.py send_message``: one message through the ledger; ``MsgID SendTime`` on stdout once it is committed."""

import asyncio
from typing import Any

from django.core.management.base import CommandParser

from conversations.access import find_conversation
from messaging.ledger import ledger
from messaging.message import NewMessage
from quickim.console import Console, checked
from quickim.rest.fields import ClientMsgIdField, ContentField, IntegerField, SessionField, StringField


class Command(Console):
    """See the module."""

    help = (
        "Send a message and print its MsgID and SendTime once it is committed. Without --session the system sends"
        " it. A running server delivers it with its next sweep (QUICKIM_SWEEP_SECONDS)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The arguments."""
        parser.add_argument("--conversation", required=True, type=checked(StringField()), metavar="ID", help="where to")
        parser.add_argument(
            "--session", type=checked(SessionField()), help="the sender, a member (default: the system)"
        )
        parser.add_argument("--type", default=0, type=checked(IntegerField()), help="free for the product")
        parser.add_argument("--status", default=0, type=checked(IntegerField()), help="free for the product")
        parser.add_argument(
            "--client-msg-id",
            type=checked(ClientMsgIdField()),
            metavar="X",
            help="your own id of this send: repeating it with the same id sends nothing again",
        )
        parser.add_argument(
            "content", type=checked(ContentField()), metavar="CONTENT", help="the text (after -- if it begins with -)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Send it and print the receipt."""
        # The ledger takes an unmigrated database for one that is away: this tells them apart.
        find_conversation(options["conversation"])
        receipt = asyncio.run(
            ledger().send(
                NewMessage(
                    conversation_id=options["conversation"],
                    session=options["session"] or "",
                    type=options["type"],
                    status=options["status"],
                    content=options["content"],
                    client_msg_id=options["client_msg_id"] or "",
                )
            )
        )
        self.stdout.write(f"{receipt.msg_id} {receipt.send_time}")
