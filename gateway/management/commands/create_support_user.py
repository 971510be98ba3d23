"""``manage.py create_support_user``: a login for the support desk."""

import getpass
import sys
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from gateway.desk.models import SUPPORT_GROUP
from quickim.console import Console
from quickim.database import write_transaction


class Command(Console):
    """See the module."""

    help = (
        "Create a login for the support desk at /admin/, in the group of the support staff. The password is asked for,"
        " or read from a file; it is never an argument, which other users of the machine could see."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The arguments."""
        parser.add_argument("name", metavar="NAME", help="the user's name")
        parser.add_argument(
            "--password-file", metavar="FILE", help="its first line is the password; - reads standard input"
        )
        parser.add_argument("--administrator", action="store_true", help="may do everything, also manage logins")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the user. Raises CommandError for a name that is taken or malformed, and for a bad password."""
        users = get_user_model()
        is_administrator: bool = options["administrator"]
        user = users(username=options["name"], is_staff=True, is_superuser=is_administrator)
        try:
            user.full_clean(exclude=["password"])
            password = _password(options["password_file"])
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        user.set_password(password)
        with write_transaction():
            user.save()
            if not is_administrator:
                user.groups.add(Group.objects.get(name=SUPPORT_GROUP))
        self.stdout.write(f"{user.get_username()} may log in at /admin/")


def _password(file: str | None) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise CommandError("there is no terminal to ask for the password: use --password-file")
        first = getpass.getpass("Password: ")
        if getpass.getpass("Password again: ") != first:
            raise CommandError("the passwords differ")
        return first
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise CommandError("the password file cannot be read") from None
    return (text.splitlines() or [""])[0]
