"""Ten thousand refused calls leave no token, no session and no content in the logs, and no line that is not ours."""

import asyncio
import json
import re
from collections.abc import Callable

import pytest

from tests.clients import Api, fresh
from tests.observability.refusals import FORGED, SECRETS, Refusals
from tests.servers import Flavour, Server

CALLS = {"json": 10_000, "console": 2_000}
CLIENTS = 8
MOST_LINES = 400
CONSOLE_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+\d\d:\d\d (INFO|WARNING|ERROR|CRITICAL) +[\w.]+ .*|    \| .*"
)


async def refuse(server: Server, calls: int) -> list[Refusals]:
    """That many refused calls, of all sorts, by several clients at a time."""
    async with Api(server.url) as api:
        room = await api.conversation(fresh("alice"), fresh("bob"))
    clients = [Refusals(server.port, room, seed) for seed in range(CLIENTS)]
    await asyncio.gather(*(client.run(calls // CLIENTS) for client in clients))
    assert sum(client.calls for client in clients) >= calls
    return clients


def check(log: str, clients: list[Refusals]) -> None:
    """Nothing of what the clients sent stands in ``log``."""
    marks = [mark for client in clients for mark in client.marks.made]
    assert len(marks) > sum(client.calls for client in clients)
    assert [mark for mark in (*marks, *SECRETS, FORGED) if mark in log] == []
    # Nor does anything that would steer a terminal, or that some reader takes for the end of a line.
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", log)


@pytest.mark.slow
@pytest.mark.parametrize("log_format", CALLS)
async def test_thousands_of_refused_calls_leave_nothing_in_the_logs(
    start_server: Callable[..., Server], log_format: str
) -> None:
    server = start_server(
        QUICKIM_LOG_FORMAT=log_format, QUICKIM_MAX_CONTENT_BYTES="4096", QUICKIM_ADMIN="1", QUICKIM_PLAYGROUND="1"
    )
    start = server.log_size()
    clients = await refuse(server, CALLS[log_format])
    log = server.log_text(start)
    check(log, clients)
    assert "Traceback" not in log
    lines = log.splitlines()
    assert len(lines) < MOST_LINES
    for line in lines:
        if log_format == "json":
            assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
        else:
            assert CONSOLE_LINE.fullmatch(line), line


@pytest.mark.parametrize("flavour", ["embedded", "daphne"])
async def test_the_access_log_shows_neither_addresses_nor_tokens(
    start_server: Callable[..., Server], flavour: Flavour
) -> None:
    server = start_server(flavour, QUICKIM_LOG_FORMAT="json", QUICKIM_ACCESS_LOG="1", QUICKIM_MAX_CONTENT_BYTES="4096")
    start = server.log_size()
    client = Refusals(server.port, "nowhere", 1)
    await client.run(150)
    log = server.log_text(start)
    assert [mark for mark in (*client.marks.made, *SECRETS) if mark in log] == []
    events = [json.loads(line) for line in log.splitlines()]
    accesses = [event["message"] for event in events if event["logger"] == "quickim.access"]
    # Some are refused by the parser, before there is a request.
    assert len(accesses) >= 120
    assert all(re.fullmatch(r"[A-Za-z]+ [\w/]+: status \d{3}, code (\d+|-), [\d.]+ ms", line) for line in accesses)
    assert all(event["request_id"] for event in events if event["logger"] == "quickim.access")
