"""What a product does in its own Django processes: transactions that post, kick, archive, and take their time.

Run by ``manage.py shell -c`` (see ``run``), with the settings of a node. Each function prints a line when its
transaction stands, which tells the test to look.
"""

import asyncio
import sys
import time

from django.db import transaction

from conversations.services import kick_out, set_archived
from messaging.services import post_message
from tests.faults.site import Site
from tests.servers import ROOT


def post_crosswise(first: str, second: str, name: str, times: int) -> None:
    """``times`` transactions, each with a message to ``first``, then one to ``second``."""
    for number in range(times):
        with transaction.atomic():
            post_message(first, f"{name} {number}", client_msg_id=f"{name} {number}")
            post_message(second, f"{name} {number}", client_msg_id=f"{name} {number}")


def post_slowly(first: str, second: str, name: str) -> None:
    """One such transaction that waits for a line on standard input between the two."""
    with transaction.atomic():
        post_message(first, name, client_msg_id=name)
        print("stands", flush=True)  # noqa: T201  # the test reads it
        sys.stdin.readline()
        post_message(second, name, client_msg_id=name)


def kick_and_archive(kicking: str, sessions: list[str], archiving: str, seconds: float) -> None:
    """One transaction that changes two conversations and then sleeps."""
    with transaction.atomic():
        kick_out(kicking, sessions)
        set_archived([archiving], True)
        print("stands", flush=True)  # noqa: T201  # the test reads it
        time.sleep(seconds)


async def run(site: Site, call: str) -> asyncio.subprocess.Process:
    """Starts a process that makes this ``call`` of a function above, in the environment of the last node.

    Its transactions may take their time: by default the server would end them when they idle for ten seconds.
    """
    node = site.nodes[-1]
    patient = f"{site.database_url}?options=-c%20idle_in_transaction_session_timeout%3D0"
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("manage.py", "shell", "-v", "0", "-c", f"from tests.faults import product; product.{call}"),
        cwd=ROOT,
        env=node.environment | {"QUICKIM_DATABASE_URL": patient},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
