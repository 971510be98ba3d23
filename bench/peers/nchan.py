"""Nchan, the pub/sub module of nginx: Debian's packages ``nginx`` and ``libnginx-mod-nchan``. It stores nothing.

Configuration: one worker process, as nginx counts them for one core, messages in its memory, room for many of them so
that none is lost, no access log. Messages are published over HTTP on kept-alive connections.
"""

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path

from bench.alarm import Alarm
from bench.load.http import head_of, request
from bench.load.senders import Receipts
from bench.peers.audience import Audience
from bench.peers.calls import acknowledging, call_around
from bench.peers.content import content
from bench.peers.listeners import EventListener, HttpListener, PollListener, WebSocketListener, open_all
from bench.peers.measuring import Delivering
from bench.peers.programs import found, from_path, running
from bench.peers.sizes import LISTENERS, TALKERS
from bench.plan import Plan
from tests.databases import free_port

_MODULES = (Path("/usr/lib/nginx/modules/ngx_nchan_module.so"), Path("/usr/share/nginx/modules/ngx_nchan_module.so"))
_CONFIGURATION = """
load_module {module};
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {home}/nginx.pid;
error_log stderr;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    nchan_max_reserved_memory 256M;
    nchan_message_buffer_length 1000;
    server {{
        listen 127.0.0.1:{port};
        location = /say {{ nchan_publisher http; nchan_channel_id room; }}
        location = /hear {{ nchan_subscriber; nchan_channel_id room; nchan_subscriber_first_message newest; }}
    }}
}}
"""

Listening = Callable[[Alarm, Audience], WebSocketListener | HttpListener]


def websocket(alarm: Alarm, audience: Audience) -> WebSocketListener:
    """A subscriber over WebSocket."""
    return WebSocketListener(alarm, "/hear", "", audience)


def sse(alarm: Alarm, audience: Audience) -> HttpListener:
    """A subscriber over server-sent events."""
    return EventListener(alarm, request("GET", "/hear", "", "Accept: text/event-stream\r\n"), audience)


def poll(alarm: Alarm, audience: Audience) -> HttpListener:
    """A subscriber by long polls; each says which message it had last, as a browser's cache would."""
    return PollListener(alarm, request("GET", "/hear"), _next_poll, audience)


@cache
def _next_poll(answer: bytes) -> bytes:
    headers = head_of(answer)[1]
    position = f"If-Modified-Since: {headers['last-modified']}\r\nIf-None-Match: {headers['etag']}\r\n"
    return request("GET", "/hear", "", position)


def deliveries(listening: Listening) -> Callable[[Plan], AbstractAsyncContextManager[Delivering]]:
    """To listeners that are made by ``listening``."""

    @asynccontextmanager
    async def opening(plan: Plan) -> AsyncIterator[Delivering]:
        program, module = from_path("nginx"), found(*_MODULES)
        with tempfile.TemporaryDirectory(prefix="quickim-bench-nchan-") as directory:
            home, port = Path(directory), free_port()
            (home / "nginx.conf").write_text(_CONFIGURATION.format(module=module, home=home, port=port))
            async with running(plan, [program, "-p", home, "-c", home / "nginx.conf"], port, home) as server:
                alarm, audience = Alarm(), Audience()
                listeners = [listening(alarm, audience) for _ in range(LISTENERS)]
                await alarm.guard(open_all(port, listeners), 30, "connecting")
                async with acknowledging(port, alarm, [_call] * TALKERS, Receipts(), audience) as senders:
                    yield Delivering(server, alarm, senders, audience)
                _next_poll.cache_clear()
                for listener in listeners:
                    listener.close()

    return opening


def _call(number: int) -> bytes:
    return call_around("POST", "/say", content(number), "Content-Type: text/plain\r\nAccept: text/json\r\n")
