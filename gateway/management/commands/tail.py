"""``manage.py tail``: what a session receives, live, one JSON object a line, over the real gateway.

Law: what it prints is what came over the wire, each message once. It comes back like any client: when the server says
so (``bye``, close codes), after a jittered and growing pause, from the last MsgId on.
"""

import argparse
import asyncio
import io
import json
import os
import random
import sys
import time
from collections import OrderedDict
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from gateway.cursor import BadCursor, parse
from gateway.tokens import issue_token
from messaging import msgid
from quickim.console import Console, checked
from quickim.rest.fields import PlatformField, SessionField

REMEMBERED_MESSAGES = 50_000
"""Repeats come around a reconnect only, and reach back ten seconds."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 15.0
STOP_CODES = range(4500, 5000)


class OutputClosed(Exception):
    """Nobody reads what is printed any more."""


class Tail:
    """One session's stream over any number of connections, printed through ``console``."""

    def __init__(self, url: str, session: str, platform: int, since: str | None, console: Console) -> None:
        self._url = url
        self._session = session
        self._platform = platform
        self._since = since
        self._console = console
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._pause = 0.0
        self._least_pause = 0.0

    async def follow(self) -> None:
        """Print until stopped. Raises CommandError when there is no server at first, or when it says to stop."""
        since, was_connected = self._since, False
        while True:
            try:
                async with await self._connect(since) as connection:
                    was_connected = True
                    # Until a message came, the moment of connecting is the place to come back to.
                    self._since = self._since or _now()
                    await self._print_all(connection)
                reason = self._why_ended(connection)
            except (OSError, InvalidHandshake, TimeoutError) as error:
                if not was_connected:
                    raise
                reason = _kind(error)
            since = self._since
            self._pause = min(max(self._pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            pause = self._least_pause + random.uniform(0.5, 1) * self._pause  # noqa: S311  # jitter, no secret
            self._console.stderr.write(f"{reason}; connecting again in {pause:.1f} s", self._console.style.NOTICE)
            await self.rest(pause)

    async def rest(self, seconds: float) -> None:
        """The pause before the next connection."""
        await asyncio.sleep(seconds)

    async def _connect(self, since: str | None) -> ClientConnection:
        parts = urlsplit(self._url)
        query = [*parse_qsl(parts.query), ("protoc", "ws")]
        if since:
            query.append(("since", since))
        is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        return await connect(
            urlunsplit(parts._replace(query=urlencode(query))),
            # A new one each time, and in a header: it can neither end while we wait nor reach a log.
            additional_headers={"Authorization": f"Bearer {issue_token(self._session, self._platform)}"},
            compression=None,
            max_size=None,
            close_timeout=1,
            proxy=None if is_local else True,
        )

    async def _print_all(self, connection: ClientConnection) -> None:
        self._least_pause = 0.0
        try:
            async for text in connection:
                if isinstance(text, str):
                    self._take(text)
        except ConnectionClosed:
            # The code says what to do; it is read afterwards.
            return

    def _take(self, text: str) -> None:
        try:
            received = json.loads(text)
            msg_id, event = received.get("MsgId"), received.get("Event")
        except (ValueError, AttributeError):
            raise CommandError(f"what came from {self._url} is no message: is it a quickim server?") from None
        if event == "bye":
            self._least_pause = received.get("RetryAfterMs", 0) / 1_000
        else:
            self._pause = 0.0
        if event == "reset":
            self._since = _now()
        if msg_id:
            self._since = msg_id
            if msg_id in self._seen:
                return
            self._seen[msg_id] = None
            if len(self._seen) > REMEMBERED_MESSAGES:
                self._seen.popitem(last=False)
        try:
            self._console.stdout.write(text)
            self._console.stdout.flush()
        except BrokenPipeError:
            raise OutputClosed from None

    def _why_ended(self, connection: ClientConnection) -> str:
        code, reason = connection.close_code, connection.close_reason
        what = f"the server ended the connection ({code}{f', {reason}' if reason else ''})"
        if code in STOP_CODES:
            raise CommandError(what)
        return what


class Command(Console):
    """See the module."""

    help = (
        "Print what a session receives, messages and notices, one JSON object a line, until Ctrl-C."
        " It connects as that session through the running server."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The arguments."""
        parser.add_argument("--session", required=True, type=checked(SessionField()), help="whose stream")
        parser.add_argument("--platform", default=0, type=checked(PlatformField()), help="0 to 32767 (default: 0)")
        parser.add_argument("--url", default=default_url(), type=_url, help="default: %(default)s, by QUICKIM_BIND")
        parser.add_argument(
            "--since", type=_cursor, metavar="CURSOR", help="a MsgId or a poll's Cursor: first what came after it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print until stopped."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            # JSON is UTF-8, whatever the terminal's locale says.
            sys.stdout.reconfigure(encoding="utf-8")
        url = options["url"]
        try:
            asyncio.run(Tail(url, options["session"], options["platform"], options["since"], self).follow())
        except KeyboardInterrupt:
            return
        except OutputClosed:
            # Python would complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except InvalidStatus as error:
            raise CommandError(f"{url} is no push address (HTTP {error.response.status_code})") from error
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise CommandError(f"no server answers at {url} ({_kind(error)}): start one, or set --url") from error


def default_url() -> str:
    """Where a server with these settings listens, as seen from its own machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.QUICKIM.bind_host, settings.QUICKIM.bind_host)  # noqa: S104
    return f"ws://{f'[{host}]' if ':' in host else host}:{settings.QUICKIM.bind_port}/notify"


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_right = parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0 and text.isascii()
    except ValueError:
        is_right = False
    if not is_right:
        raise argparse.ArgumentTypeError("must be a WebSocket address such as ws://127.0.0.1:8088/notify")
    return text


def _cursor(text: str) -> str:
    try:
        parse(text)
    except BadCursor:
        raise argparse.ArgumentTypeError("is no cursor") from None
    return text


def _now() -> str:
    return msgid.before_all(msgid.tick_at(time.time_ns() // 1_000))


def _kind(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or type(error).__name__
