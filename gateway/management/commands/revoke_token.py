"""``manage.py revoke_token``: end tokens before their time, while servers run; until when, alone on stdout."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from gateway.api import LATEST_MICROSECONDS
from gateway.revocation import EVERYBODY, revoke
from quickim.console import Console, checked
from quickim.rest.fields import IntegerField, PlatformField, SessionField


class Command(Console):
    """See the module."""

    help = (
        "Revoke the tokens of a session, or of everybody, that were issued until now, or until a given time."
        " Connections with such a token are ended on every node, and no call works with it. Prints until when."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The arguments."""
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--session", type=checked(SessionField()), help="the product's name for one user")
        whose.add_argument("--everybody", action="store_true", help="the tokens of all sessions; needs --before")
        parser.add_argument("--platform", type=checked(PlatformField()), help="only on this platform of the session")
        parser.add_argument(
            "--before",
            type=checked(IntegerField(0, LATEST_MICROSECONDS)),
            metavar="MICROSECONDS",
            help="since the Unix epoch: only tokens that were issued then or earlier (default: now)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke, and say until when."""
        session, platform, before = options["session"], options["platform"], options["before"]
        if options["everybody"] and (before is None or platform is not None):
            raise CommandError("--everybody needs --before, and goes without --platform", returncode=2)
        revocation = revoke(EVERYBODY if session is None else session, platform, before)
        self.stdout.write(str(revocation.before))
