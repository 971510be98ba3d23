"""The support desk's pages against PostgreSQL with 100,000 conversations and as many messages as are asked for.

A time is a whole request's in this process: middleware, login, queries, template. Nothing goes over a socket. CPU is
what the request took of it here and in PostgreSQL, which a busy machine does not blur. The pages are those that
support opens, each at random places; how many statements a page made must be the same every time.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

from bench.alarm import BenchmarkError
from bench.backing import postgresql
from bench.plan import Case, Plan
from bench.reads.stock import HUNDRED, Stock

QUESTION = "What do the desk's pages take, and with how many statements, among 100,000 conversations?"

LOG_LINES = 1_000_000
CONVERSATIONS = 100_000
REQUESTS = 40
"""Of each page in a round."""
MOST_MS = 300.0
"""What a page may take at the 95th percentile, else it is told on stderr."""
_ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, dict[str, float]]


async def run(plan: Plan) -> list[Case]:
    """One case for each page."""
    with (
        postgresql({plan.server_core, plan.generator_core}) as (server, _),
        tempfile.TemporaryDirectory(prefix="quickim-bench-") as directory,
    ):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("QUICKIM_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.desk", f"--messages={plan.messages}", f"--rounds={plan.rounds}"),
            cwd=_ROOT,
            env=inherited | {"QUICKIM_DATABASE_URL": server.new_database(), "QUICKIM_DATA_DIR": directory},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise BenchmarkError(f"measuring ended with {process.returncode}")
    rounds: list[Figures] = json.loads(output)
    return [Case(label, [round_[label] for round_ in rounds]) for label in rounds[0]]


def main() -> int:
    """In a process of its own: load, measure, print the rounds as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.desk")
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    arguments = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "quickim.settings"
    django.setup()
    # They import models, which need the line above.
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from bench.reads.load import load  # noqa: PLC0415

    call_command("migrate", interactive=False, verbosity=0)
    stock = Stock(arguments.messages, time.time_ns() // 1_000 - 60_000_000)
    seconds = load(os.environ["QUICKIM_DATABASE_URL"], stock)
    _fill_up(CONVERSATIONS - len(stock.conversation_ids))
    print(f"{arguments.messages:,} messages loaded in {seconds:.0f} s.", file=sys.stderr, flush=True)

    client, user = Client(SERVER_NAME="localhost"), User.objects.create_user("bench", is_staff=True, is_superuser=True)
    client.force_login(user)
    _fill_log(user.pk)
    rounds = []
    for number in range(arguments.rounds):
        drawn = random.Random(number)
        rounds.append({label: _measured(client, label, page, drawn) for label, page in _pages(stock)})
    print(json.dumps(rounds))
    return 0


def _pages(stock: Stock) -> Iterator[tuple[str, Callable[[random.Random], str]]]:
    base, big = "/admin/conversations/", stock.conversation_ids[0]
    ago = [f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}" for days in range(90)]
    ids, seqs = stock.conversation_ids, stock.last_seq
    yield "list", lambda _: base
    yield "list, deep", lambda drawn: f"{base}?older={stock.end - drawn.randrange(10**12)}.1"
    yield "list, newest first, deep", lambda drawn: f"{base}?order=created&older=1.{drawn.randrange(1, CONVERSATIONS)}"
    yield "list, active in the last hour", lambda _: f"{base}?active=hour"
    yield "list, of a rare size", lambda _: f"{base}?size=1000&archived=0"
    yield "list, type that none has", lambda _: f"{base}?type=77"
    yield "list, of a session", lambda _: f"{base}?q={HUNDRED}"
    yield "conversation, the biggest", lambda _: f"{base}{big}/"
    yield "conversation, any", lambda drawn: f"{base}{drawn.choice(ids)}/"
    yield "its middle", lambda drawn: f"{base}{big}/?before={drawn.randrange(1, seqs[0] + 1)}"
    yield "a moment of it", lambda drawn: f"{base}{big}/?day={drawn.choice(ago)}T12:00&offset=-480"
    yield "its members", lambda _: f"{base}{big}/members/?after=user-5"
    yield "words in it, none there", lambda _: f"/admin/search/?conversation={big}&word=nowhere"
    yield (
        "words in it, further back",
        lambda drawn: f"/admin/search/?conversation={big}&word=nowhere&below={drawn.randrange(1, seqs[0] + 1)}",
    )
    yield (
        "words of a day, none there",
        lambda drawn: f"/admin/search/?word=nowhere&since={(day := drawn.choice(ago[1:]))}&until={day}",
    )
    yield "words of all days, many there", lambda _: f"/admin/search/?word=mmm&since={ago[-1]}&until={ago[0]}"
    yield "a message", lambda _: f"{base}{big}/messages/{stock.last_msg_id[0]}/"
    yield "a trace", lambda _: f"{base}{big}/trace/?session={stock.members[0][0]}&msg_id={stock.last_msg_id[0]}"
    yield "the log", lambda _: "/admin/admin/logentry/"
    yield "the log of a conversation", lambda _: f"/admin/admin/logentry/?q={big}"


def _measured(client: Any, label: str, page: Callable[[random.Random], str], drawn: random.Random) -> dict[str, float]:
    times, cpu, statements = [], [], set()
    backend = _backend()
    # The first of a login's visits to a conversation is written down; that is no part of the page's price.
    for number in range(REQUESTS + 1):
        address = page(drawn)
        if label == "conversation, any":
            client.get(address)
        counted = _Statements()
        with connection.execute_wrapper(counted):
            busy = _cpu_seconds(backend)
            began = time.perf_counter()
            answer = client.get(address)
            took = time.perf_counter() - began
            busy = _cpu_seconds(backend) - busy
        if answer.status_code != 200:
            raise BenchmarkError(f"{label}: {address} was answered with {answer.status_code}")
        if number:
            times.append(took * 1_000)
            cpu.append(busy * 1_000)
            statements.add(counted.count)
    p95 = statistics.quantiles(times, n=20)[18]
    if p95 > MOST_MS:
        print(f"{label}: {p95:.0f} ms, over {MOST_MS:.0f}", file=sys.stderr, flush=True)
    return {
        "p95 ms": p95,
        "CPU p95 ms": statistics.quantiles(cpu, n=20)[18],
        "CPU p50 ms": statistics.median(cpu),
        "p50 ms": statistics.median(times),
        "max ms": max(times),
        "statements": max(statements),
        "fewest statements": min(statements),
    }


def _backend() -> Path:
    """Where Linux keeps the CPU time of the process that serves our connection, in nanoseconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return Path(f"/proc/{cursor.fetchone()[0]}/schedstat")


def _cpu_seconds(backend: Path) -> float:
    return time.process_time() + int(backend.read_text().split()[0]) / 1e9


class _Statements:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        self.count += 1
        return execute(sql, parameters, many, context)


def _fill_log(user: int) -> None:
    """So many lines as a busy desk writes in years."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(
            "INSERT INTO django_admin_log"
            " (action_time, object_id, object_repr, action_flag, change_message, content_type_id, user_id)"
            " SELECT now() - n * interval '30 seconds', md5((n %% 50000)::text), 'a conversation', 2, 'Read it.',"
            " (SELECT min(id) FROM django_content_type), %s FROM generate_series(1, %s) n",
            [user, LOG_LINES],
        )
        cursor.execute("VACUUM (ANALYZE) django_admin_log")
        cursor.execute("RESET statement_timeout")


def _fill_up(count: int) -> None:
    """Conversations in which nothing was said yet."""
    from conversations.models import Conversation  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        rows = (Conversation(type=2, created_at=1_700_000_000_000_000 + number) for number in range(max(0, count)))
        Conversation.objects.bulk_create(rows, batch_size=5_000)
        cursor.execute(f"VACUUM (ANALYZE) {Conversation._meta.db_table}")
        cursor.execute("RESET statement_timeout")


if __name__ == "__main__":
    sys.exit(main())
