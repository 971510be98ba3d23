"""``manage.py tail``: what a session receives, live, one JSON object a line, over the real gateway.

Law: what it prints is what came over the wire, each message once. How it comes back is the client's affair
(gateway.client); until a message came, the moment of connecting is the place to come back to.
"""

import argparse
import asyncio
import io
import json
import os
import sys
import time
from collections import OrderedDict
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from websockets.exceptions import InvalidHandshake, InvalidStatus

from gateway.client import (
    Client,
    ConnectionEnded,
    MessageCame,
    NoticeCame,
    Reset,
    StateChanged,
    Trouble,
    UnexpectedAnswer,
)
from gateway.cursor import BadCursor, parse
from gateway.tokens import issue_token
from messaging import msgid
from quickim.console import Console, checked
from quickim.rest.fields import PlatformField, SessionField

REMEMBERED_MESSAGES = 50_000
"""Repeats come around a reconnect only, and reach back ten seconds."""


class OutputClosed(Exception):
    """Nobody reads what is printed any more."""


class Tail:
    """One session's stream over any number of connections, printed through ``console``."""

    def __init__(self, url: str, session: str, platform: int, since: str | None, console: Console) -> None:
        self._url = url
        self._session, self._platform = session, platform
        self._since = since
        self._console = console
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._was_connected = False

    async def follow(self) -> None:
        """Print until stopped. Raises CommandError when there is no server at first, or when it says to stop."""
        parts = urlsplit(self._url)
        base = urlunsplit((parts.scheme.replace("ws", "http", 1), parts.netloc, "", "", ""))
        client = Client(
            base,
            lambda: issue_token(self._session, self._platform),
            protocols=("ws",),
            cursor=self._since or "",
            start=_now,
            notify_path=urlunsplit(("", "", parts.path, parts.query, "")),
            sleep=self._rest,
        )
        async with client:
            try:
                async for event in client.events():
                    self._tell(event)
            except ConnectionEnded as ended:
                raise CommandError(str(ended)) from ended

    async def rest(self, seconds: float) -> None:
        """The pause before the next connection."""
        await asyncio.sleep(seconds)

    async def _rest(self, seconds: float) -> None:
        await self.rest(seconds)

    def _tell(self, event: object) -> None:
        if isinstance(event, MessageCame):
            self._take(_line(event.message))
        elif isinstance(event, NoticeCame):
            self._take(_line(event.notice))
        elif isinstance(event, Reset) and event.conversation is None:
            self._take(_line({"Event": "reset"}))
        elif isinstance(event, Trouble) and isinstance(event.error, UnexpectedAnswer):
            raise CommandError(f"what came from {self._url} is no message: is it a quickim server?")
        elif isinstance(event, StateChanged):
            self._was_connected = self._was_connected or event.state == "connected"
            if event.state == "waiting":
                self._explain(event)

    def _explain(self, waiting: StateChanged) -> None:
        if waiting.error is not None and not self._was_connected:
            raise waiting.error
        again = f"connecting again in {waiting.retry_in_seconds:.1f} s"
        self._console.stderr.write(f"{waiting.reason or 'the connection ended'}; {again}", self._console.style.NOTICE)

    def _take(self, text: str) -> None:
        msg_id = json.loads(text).get("MsgId")
        if msg_id:
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


async def _now() -> str:
    return msgid.before_all(msgid.tick_at(time.time_ns() // 1_000))


def _line(item: dict[str, Any]) -> str:
    """As the server wrote it."""
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"))


def _kind(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or type(error).__name__
