"""Requests to become a WebSocket that are none: answered in the envelope at once, counted, and closed."""

import asyncio
import json
import re

import pytest

from tests.clients import fresh, mint
from tests.clients.listener import WAIT_SECONDS
from tests.servers import Server

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
)
HOST = "Host: 127.0.0.1\r\n"


async def tell(server: Server, data: str, until: bytes = b"") -> bytes:
    """All that the server says to it before it closes, or ``until`` that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data.encode("latin-1"))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.transport.abort()


def check_refusal(said: bytes, status: int = 400, code: int = 10001) -> str:
    """It is the envelope, whole; returns its head."""
    head, _, body = said.partition(b"\r\n\r\n")
    lines = head.decode().lower()
    assert lines.startswith(f"http/1.1 {status} "), said
    assert "content-type: application/json\r\n" in lines
    assert re.search(r"\r\nx-request-id: [0-9a-f]{32}(\r|$)", lines)
    assert f"content-length: {len(body)}" in lines
    assert json.loads(body)["code"] == code
    return lines


@pytest.mark.parametrize("path", ["/notify", "/nothing"])
@pytest.mark.parametrize(
    "more",
    [
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        f"Cookie: {'a' * 9_000}\r\n\r\n",
        "".join(f"X-{number}: a\r\n" for number in range(130)) + "\r\n",
    ],
    ids=["body", "body to come", "chunks", "long line", "many lines"],
)
async def test_a_handshake_that_cannot_be_read_is_refused_at_once(server: Server, path: str, more: str) -> None:
    check_refusal(await tell(server, f"GET {path} HTTP/1.1\r\n{HOST}{UPGRADE}{more}"))


async def test_an_address_that_is_too_long_for_a_handshake_is_refused(server: Server) -> None:
    check_refusal(await tell(server, f"GET /notify?token={'a' * 9_000} HTTP/1.1\r\n{HOST}{UPGRADE}\r\n"))


@pytest.mark.parametrize(
    ("request_line", "wrong", "status", "code"),
    [
        ("GET /notify HTTP/1.1", UPGRADE.replace("Sec-WebSocket-Key", "X-Key"), 400, 10001),
        ("GET /notify HTTP/1.1", UPGRADE.replace("nonce", "").replace("dGhl", ""), 400, 10001),
        ("GET /notify HTTP/1.1", UPGRADE.replace("13", "8"), 400, 10001),
        ("GET /nothing HTTP/1.1", UPGRADE.replace("13", "8"), 400, 10001),
        ("GET /notify HTTP/1.1", UPGRADE + UPGRADE.splitlines()[2] + "\r\n", 400, 10001),
        ("POST /notify HTTP/1.1", UPGRADE + "Content-Length: 0\r\n", 405, 10005),
    ],
    ids=["no key", "short key", "version 8", "version 8 elsewhere", "two keys", "POST"],
)
async def test_a_handshake_of_another_kind_is_refused_in_the_envelope(
    server: Server, request_line: str, wrong: str, status: int, code: int
) -> None:
    head = check_refusal(await tell(server, f"{request_line}\r\n{HOST}{wrong}\r\n"), status, code)
    assert "\r\nsec-websocket-version: 13" in head
    assert ("\r\nallow: get" in head) is (status == 405)


async def test_a_handshake_waits_for_no_other_answer(server: Server) -> None:
    said = await tell(server, f"GET /readyz HTTP/1.1\r\n{HOST}\r\nGET /notify HTTP/1.1\r\n{HOST}{UPGRADE}\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+)", said) == [b"200", b"400"]


@pytest.mark.parametrize("path", ["/notify", "/nothing"])
@pytest.mark.parametrize(
    "host", ["Host: evil.example\r\n", "", f"{HOST}Host: evil.example\r\n", f"Host: evil.example\r\n{HOST}"], ids=repr
)
async def test_a_websocket_is_opened_under_a_name_of_ours_only(server: Server, path: str, host: str) -> None:
    token = mint(fresh("alice"))
    said = await tell(server, f"GET {path}?token={token} HTTP/1.1\r\n{host}{UPGRADE}\r\n", b'"RetryAfterMs"')
    assert b'"Code":4500' in said


async def test_a_query_of_thousands_of_fields_is_an_invalid_parameter(server: Server) -> None:
    many, mark = "a&" * 1_100, server.log_size()
    said = await tell(server, f"GET /notify?{many} HTTP/1.1\r\n{HOST}{UPGRADE}\r\n", b'"RetryAfterMs"')
    assert b'"Code":4500' in said
    for path in (*(f"/notify?protoc={protocol}&" for protocol in ("ws", "sse", "poll")), "/?"):
        check_refusal(await tell(server, f"GET {path}{many} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"))
    assert server.log_text(mark) == ""
