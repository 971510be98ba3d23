"""The edge by itself: whatever a view or Django's handler does, there is an answer, and it is the envelope."""

import json
import logging
from typing import Any

import pytest

from quickim.rest.edge import Edge, Send

HEADERS = [(b"host", b"127.0.0.1")]


class Broken:
    """What raises instead of answering, or amid its answer."""

    lean = True

    def __init__(self, *, after_start: bool = False) -> None:
        self.after_start = after_start

    async def __call__(self, scope: Any, receive: Any = None, send: Send | None = None) -> Any:
        """Fail."""
        if self.after_start and send is not None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError


async def answered(edge: Edge, path: str) -> list[Any]:
    """What is sent to a client who asks for ``path``."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": HEADERS, "client": None}
    await edge(scope, receive, send)
    return sent


@pytest.mark.parametrize("path", ["/broken", "/docs"], ids=["lean", "django"])
async def test_what_a_view_raises_is_answered_in_the_envelope(path: str, caplog: pytest.LogCaptureFixture) -> None:
    edge = Edge(Broken())
    edge._lean_views["/broken"] = Broken()
    with caplog.at_level(logging.ERROR):
        start, body = await answered(edge, path)
    assert start["status"] == 500
    assert (b"content-type", b"application/json") in start["headers"]
    assert b"x-request-id" in dict(start["headers"])
    assert json.loads(body["body"]) == {"code": 10002, "error": "internal service call failed"}
    assert "Report this as a bug" in caplog.text


async def test_what_is_raised_amid_an_answer_is_left_to_the_server() -> None:
    with pytest.raises(ZeroDivisionError):
        await answered(Edge(Broken(after_start=True)), "/docs")
