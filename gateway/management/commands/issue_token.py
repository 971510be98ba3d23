"""``manage.py issue_token``: a token for one session on one platform, alone on stdout."""

from typing import Any

from django.core.management.base import CommandParser

from gateway.tokens import issue_token
from quickim.console import Console, checked
from quickim.rest.fields import IntegerField, PlatformField, SessionField

# As QUICKIM_TOKEN_TTL_SECONDS: at most ten years, so that every library can represent the expiry.
MAX_TTL_SECONDS = 315_360_000


class Command(Console):
    """See the module."""

    help = "Print a token for a session on a platform, and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        """The arguments."""
        parser.add_argument(
            "--session", required=True, type=checked(SessionField()), help="the product's name for one user"
        )
        parser.add_argument("--platform", required=True, type=checked(PlatformField()), help="0 to 32767")
        parser.add_argument(
            "--ttl",
            type=checked(IntegerField(1, MAX_TTL_SECONDS)),
            metavar="SECONDS",
            help="how long it is valid (default: QUICKIM_TOKEN_TTL_SECONDS)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the token."""
        self.stdout.write(issue_token(options["session"], options["platform"], options["ttl"]))
