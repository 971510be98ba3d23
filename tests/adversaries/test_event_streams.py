"""What we stream, read by parsers of event streams that others wrote, and our own beside them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx_sse
import pytest
import sseclient

from tests.clients import fresh, mint
from tests.clients.event_stream import EventStreamParser
from tests.clients.protocols import PLAIN
from tests.servers import Server

CONTENTS = (
    "plain",
    "two\nlines\r\nand\rmore",
    "\n",
    "data: x\n\nevent: bye\ndata: {}\n\n",
    "id: 1",
    ":comment",
    " leading and trailing ",
    "",
    "\u0001 a control character",
    "\u0085 next line, \u2028 line separator, \u2029 paragraph separator, \x0b \x0c \x1c \x1d \x1e",
    "\ufeff byte order mark 🦀 e\u0301",
    "x" * 60_000,
    "the end",
)

Event = tuple[str, str, str]
"""Name, id, data."""


def by_ours(response: httpx.Response) -> Iterator[Event]:
    parser = EventStreamParser()
    for chunk in response.iter_bytes():
        for event in parser.feed(chunk):
            yield event.name, event.identity or "", event.data.decode()


def by_httpx_sse(response: httpx.Response) -> Iterator[Event]:
    for event in httpx_sse.EventSource(response).iter_sse():
        if event.data:  # it tells of the opening's retry, too
            yield event.event, event.id, event.data


def by_sseclient(response: httpx.Response) -> Iterator[Event]:
    for event in sseclient.SSEClient(response.iter_bytes()).events():
        yield event.event, event.id or "", event.data


@pytest.mark.parametrize("read", [by_ours, by_httpx_sse, by_sseclient])
def test_every_parser_reads_the_same(server: Server, read: Callable[[httpx.Response], Iterator[Event]]) -> None:
    session = fresh("bob")
    token = mint(session)
    with httpx.Client(base_url=server.url, trust_env=False, verify=PLAIN, timeout=20) as http:

        def inner(name: str, **fields: Any) -> Any:
            return http.post(f"/inner/{name}", json=fields).json()["data"]

        room = inner("create_conversation", conversation_type=1, sessions=[session])["ConversationId"]
        with http.stream("GET", "/notify", params={"protoc": "sse", "token": token}) as response:
            sent = [inner("send_msg", conversation_id=room, content=content)["MsgID"] for content in CONTENTS]
            got: list[tuple[str, str]] = []
            for name, identity, data in read(response):
                message = json.loads(data)
                assert name == "message"
                assert message["MsgId"] == identity
                got.append((identity, message["Content"]))
                if message["Content"] == CONTENTS[-1]:
                    break
    assert got == list(zip(sent, CONTENTS, strict=True))
