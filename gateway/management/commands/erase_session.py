"""``manage.py erase_session``: take back all that a person wrote, while servers run; what went, on stdout."""

import signal
import sys
import time
from typing import Any

from django.core.management.base import CommandParser

from messaging.redaction import Erased, erase_session
from quickim.console import Console, checked
from quickim.rest.fields import SessionField

PAUSE_SECONDS = 0.05
INTERRUPTED = 130
"""The exit code of a process that SIGINT ended, as shells count."""


class Command(Console):
    """See the module."""

    help = (
        "Redact all messages that a session sent, in every conversation that it is or was a member of, and delete its"
        " refused drafts. Members are told, as with any redaction. This cannot be undone. Works in small transactions:"
        " it may be stopped at any moment and started again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The arguments."""
        parser.add_argument(
            "session", metavar="SESSION", type=checked(SessionField()), help="the product's name for one user"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase, and say what went."""
        erased = Erased()
        # Whoever stops it is told what was done, also by SIGTERM.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for _ in erase_session(options["session"], erased):
                # Those who are told need a moment to read.
                time.sleep(PAUSE_SECONDS)
        except KeyboardInterrupt:
            self.stderr.write(_told("stopped; erased", erased))
            sys.exit(INTERRUPTED)
        finally:
            signal.signal(signal.SIGTERM, before)
        self.stdout.write(_told("erased", erased))


def _told(verb: str, erased: Erased) -> str:
    return (
        f"{verb} {erased.messages} messages of {erased.conversations} conversations and {erased.drafts} refused drafts"
    )
