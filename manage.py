#!/usr/bin/env python
"""The command line of the project: `manage.py serve`, `manage.py issue_token` and Django's own commands.

Law: a malformed environment ends in one clear line and exit code 1, never in a traceback:
`quickim.settings` sees to that.
"""

import os
import sys


def main() -> None:
    """Runs the command that the arguments name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "quickim.settings")
    try:
        from django.core.management import execute_from_command_line  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "django":
            raise
        sys.exit("Django is not installed in this Python: script/server installs everything and starts the server.")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
