"""``manage.py prune_messages``: delete old messages while servers run; what was deleted, in one line, on stdout."""

import re
import signal
import sys
import time
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from messaging import retention
from quickim.console import Console, checked
from quickim.rest.fields import ConversationTypeField, StringField

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
USUAL_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 60
INTERRUPTED = 130
"""The exit code of a process that SIGINT ended, as shells count."""


class Command(Console):
    """See the module."""

    help = (
        "Delete messages that are older than an age, while servers run; also drafts of that age that were refused."
        " Works in small transactions: it may be stopped at any moment and started again. Exit code 1: some"
        " conversations were held by other transactions all the time, run it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The arguments."""
        parser.add_argument(
            "--older-than", required=True, type=age, metavar="AGE", help="a number with s, m, h, d or w, such as 90d"
        )
        parser.add_argument("--conversation", type=checked(StringField()), metavar="ID", help="only of this one")
        parser.add_argument("--type", type=checked(ConversationTypeField()), help="only of this conversation type")
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
        parser.add_argument(
            "--batch",
            default=retention.USUAL_BATCH,
            type=batch,
            metavar="N",
            help=f"messages a transaction deletes at most, 1 to {retention.LARGEST_BATCH} (default: %(default)s)",
        )
        parser.add_argument(
            "--pause",
            default=USUAL_PAUSE_SECONDS,
            type=pause,
            metavar="SECONDS",
            help="left to others between two transactions (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune, and say what went."""
        selection = retention.select(options["older_than"], options["conversation"] or "", options["type"])
        if options["dry_run"]:
            self.stdout.write(_told("would delete", retention.count(selection)))
            return
        pruned = retention.Pruned()
        # A timer that is stopped sends SIGTERM: then too it is said what was done.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for _ in retention.prune(selection, pruned, options["batch"]):
                time.sleep(options["pause"])
        except KeyboardInterrupt:
            self.stderr.write(_told("stopped; deleted", pruned))
            sys.exit(INTERRUPTED)
        finally:
            signal.signal(signal.SIGTERM, before)
        self.stdout.write(_told("deleted", pruned))
        if pruned.held:
            raise CommandError(f"{pruned.held} conversations were held by other transactions: run it again")


def age(text: str) -> int:
    """An age in microseconds."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if match is None:
        raise ArgumentTypeError("must be a whole number with s, m, h, d or w, such as 90d")
    return int(match[1]) * UNIT_SECONDS[match[2]] * 1_000_000


def batch(text: str) -> int:
    """Messages a transaction."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= retention.LARGEST_BATCH:
        raise ArgumentTypeError(f"must be 1 to {retention.LARGEST_BATCH}")
    return int(text)


def pause(text: str) -> float:
    """Seconds."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or float(text) > LONGEST_PAUSE_SECONDS:
        raise ArgumentTypeError(f"must be 0 to {LONGEST_PAUSE_SECONDS} seconds")
    return float(text)


def _told(verb: str, pruned: retention.Pruned) -> str:
    return (
        f"{verb} {pruned.messages} messages of {pruned.conversations} conversations and {pruned.drafts} refused drafts"
    )
