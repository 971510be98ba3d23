"""What the management commands share: arguments checked by the wire's own fields, and every failure in one line.

Law: a command prints its answer and nothing else on stdout. Whatever goes wrong ends in one line on stderr, with exit
code 2 when the arguments are at fault and 1 otherwise, never in a traceback.
"""

import logging
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from rest_framework.exceptions import ValidationError

from quickim.errors import QuickimError
from quickim.rest.fields import StrictField

UNDEFINED_TABLE, UNDEFINED_COLUMN = "42P01", "42703"


class Console(BaseCommand):
    """The base of the commands; a subclass raises what the code table or the database raises, and it is told so."""

    # What they find concerns a server; a command's answer is to stand alone.
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Tells errors without the usage, which is ten lines long and stands in ``--help``."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.print_usage = lambda file=None: None  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises CommandError for whatever the domain or the database refuses."""
        try:
            with _quiet(options["verbosity"]):
                return super().execute(*args, **options)
        except QuickimError as error:
            raise CommandError(_line(error)) from error
        except (DatabaseError, InterfaceError) as error:
            if _is_unmigrated(error):
                raise CommandError("the database is not migrated: run `python manage.py migrate` first") from error
            # The driver's text may quote what was to be stored.
            raise CommandError(
                f"the database did not do it ({type(error).__name__}): check that it runs, and"
                " QUICKIM_DATABASE_URL; --verbosity 2 tells more"
            ) from error


def checked(field: StrictField) -> Callable[[str], Any]:
    """An argparse ``type`` that takes what ``field`` takes in a request."""

    def parse(text: str) -> Any:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ArgumentTypeError("must be valid UTF-8") from None
        if field.json_type is int and re.fullmatch(r"-?[0-9]{1,20}", text) is None:
            raise ArgumentTypeError("must be an integer")
        try:
            return field.run_validation(int(text) if field.json_type is int else text)
        except ValidationError as error:
            raise ArgumentTypeError(_joined(error.detail)) from None
        except QuickimError as error:
            raise ArgumentTypeError(_joined((error.detail or {}).values())) from None

    return parse


@contextmanager
def _quiet(verbosity: int) -> Iterator[None]:
    """Keeps the log, a server's, off the terminal: the one line says it all, unless more is asked for."""
    if verbosity > 1:
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _line(error: QuickimError) -> str:
    problems = "".join(f"; {name}: {problem}" for name, problem in (error.detail or {}).items())
    return f"{error.text()} ({error.code}){problems}"


def _joined(problems: Any) -> str:
    return "; ".join(map(str, problems))


def _is_unmigrated(error: Exception) -> bool:
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return sqlstate in (UNDEFINED_TABLE, UNDEFINED_COLUMN) or "no such " in str(error)
