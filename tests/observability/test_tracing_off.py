"""Tracing costs nothing when it is off, and does no harm when its collector is away."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quickim.observability import tracing
from tests.clients import Api, Person, fresh
from tests.databases import free_port, holds_within
from tests.servers import ROOT, Server

SERVING = """
import asyncio, sys
from quickim.asgi import application

async def main():
    events, sent = asyncio.Queue(), asyncio.Queue()
    life = asyncio.ensure_future(application({"type": "lifespan"}, events.get, sent.put))
    await events.put({"type": "lifespan.startup"})
    await sent.get()
    requests = asyncio.Queue()
    await requests.put({"type": "http.request", "body": b"{}"})
    scope = {"type": "http", "method": "POST", "path": "/send_msg", "query_string": b"", "client": None,
             "headers": [(b"host", b"127.0.0.1"), (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")]}
    await application(scope, requests.get, sent.put)
    found = sorted(name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf")))
    await events.put({"type": "lifespan.shutdown"})
    await life
    print((await sent.get())["status"], len(found))

asyncio.run(main())
"""


def serve_once(server: Server, **settings: str) -> str:
    """What a server's process says that answers one request: its status, and how many modules of OpenTelemetry it
    has."""
    done = subprocess.run(
        [sys.executable, "-c", SERVING],
        cwd=ROOT,
        env=server.environment | {"DJANGO_SETTINGS_MODULE": "quickim.settings", **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_off_it_is_not_even_imported(tmp_path: Path) -> None:
    server = Server(tmp_path, "embedded", {})
    server.manage("migrate", "--noinput")
    assert serve_once(server) == "401 0"
    away = f"http://127.0.0.1:{free_port()}"
    assert serve_once(server, OTEL_EXPORTER_OTLP_ENDPOINT=away, OTEL_SDK_DISABLED="true") == "401 0"
    status, modules = serve_once(server, OTEL_EXPORTER_OTLP_ENDPOINT=away).split()
    assert status == "401"
    assert int(modules) > 10


@pytest.mark.parametrize(
    ("environ", "is_wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_the_standard_variables_decide(environ: dict[str, str], *, is_wanted: bool) -> None:
    assert tracing.is_wanted(environ) is is_wanted


def test_off_there_is_no_trace_id() -> None:
    assert tracing.spans() is None
    assert tracing.current_trace_id() is None


async def test_a_collector_that_is_away_does_no_harm(start_server: Callable[..., Server]) -> None:
    server = start_server(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        OTEL_BSP_SCHEDULE_DELAY="20",
        OTEL_BSP_MAX_QUEUE_SIZE="64",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="32",
        NO_PROXY="127.0.0.1",
    )
    async with Api(server.url) as api:
        alice = Person(api, fresh("alice"))
        room = await api.conversation(alice.session)
        listener = await alice.listen("sse")
        for batch in range(3):
            await alice.pour(room, [f"{number}" for number in range(300)])
            await listener.messages_in(room, 300 * (batch + 1), 30)
    told = "Traces do not reach the collector"
    assert holds_within(20, lambda: told in server.log_text())
    begin = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - begin < 15
    log = server.log_text()
    assert log.count(told) == 1
    assert "Traceback" not in log
    assert "opentelemetry" not in log
    assert "urllib3" not in log
