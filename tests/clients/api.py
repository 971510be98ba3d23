"""HTTP calls and their answers: one envelope and one code table, checked on every answer a test looks at."""

import asyncio
import json
import random
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from tests.clients.listener import Listener
from tests.clients.protocols import PLAIN

CODES: Final[dict[int, tuple[frozenset[int], str]]] = {
    10001: (frozenset({400}), "invalid parameter"),
    10002: (frozenset({500, 503}), "internal service call failed"),
    10003: (frozenset({403}), "not allowed request"),
    10004: (frozenset({404}), "no such interface"),
    10005: (frozenset({405}), "method not allowed"),
    10006: (frozenset({413}), "body too large"),
    10007: (frozenset({429}), "too many requests"),
    10101: (frozenset({401}), "invalid token"),
    90010: (frozenset({400}), "conversation type out of range"),
    90011: (frozenset({400}), "conversation contains at least one user"),
    90013: (frozenset({400}), "unsupported driver"),
    90014: (frozenset({404}), "conversation not found"),
    90015: (frozenset({403}), "not a member of the conversation"),
    90016: (frozenset({409}), "conversation is archived"),
    90018: (frozenset({403}), "removed from the conversation"),
    90019: (frozenset({409}), "client_msg_id already used with another message"),
}
"""code → (HTTP statuses it may come with, its text)."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, whole."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The envelope; fails on anything that is no JSON object."""
        kind = self.headers.get("content-type", "")
        assert kind.partition(";")[0] == "application/json", f"{self.status} {kind}: {self.content[:300]!r}"
        assert self.headers.get("x-request-id"), "an answer without X-Request-Id"
        body = httpx.Response(200, content=self.content).json()
        assert isinstance(body, dict)
        return body

    @property
    def data(self) -> Any:
        """What a successful call returns; fails on an error."""
        body = self.body
        assert (self.status, body.get("code")) == (200, 0), f"{self.status} {body}"
        assert set(body) == {"code", "data"}
        return body["data"]

    def succeeded(self) -> None:
        """Fails on an error."""
        assert self.data is not ...

    def refused(self, code: int, *, status: int | None = None) -> dict[str, Any]:
        """Checks the error envelope: this code, its text, its status; returns ``detail``, {} when absent."""
        body = self.body
        statuses, text = CODES[code]
        assert body.get("code") == code, f"expected {code}, got {self.status} {body}"
        assert body.get("error") == text
        assert set(body) <= {"code", "error", "detail"}, body
        assert self.status in ({status} if status else statuses), f"status {self.status} for {body}"
        detail = body.get("detail", {})
        assert isinstance(detail, dict)
        return detail


def _encoded(value: Any) -> bytes:
    """JSON as clients send it, in UTF-8; escaped where a lone surrogate leaves no other way."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


class Api:
    """The HTTP side of one service; owns its connections and those of the listeners opened through it.

    With several ``urls`` every request and every listener goes to one of them, at random. Without ``keep_alive`` each
    request is a connection of its own, so that workers behind one url share them out too.
    """

    def __init__(self, *urls: str, keep_alive: bool = True, seed: str = "") -> None:
        self.urls = urls
        self.keep_alive = keep_alive
        self.listeners: list[Listener] = []
        self._choice = random.Random(seed)
        self._http = httpx.AsyncClient(
            timeout=60.0,
            trust_env=False,
            verify=PLAIN,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=200 if keep_alive else 0),
        )

    @property
    def url(self) -> str:
        """The server to turn to this time."""
        return self._choice.choice(self.urls)

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        **more: Any,
    ) -> Answer:
        """Any request; ``more`` is httpx's own (content, json, params)."""
        lines = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        if "json" in more:
            lines.append(("Content-Type", "application/json"))
            more["content"] = _encoded(more.pop("json"))
        if token is not None:
            lines.append(("Authorization", f"Bearer {token}"))
        encoded = [(name.encode(), value.encode()) for name, value in lines]
        response = await self._http.request(method, self.url + path, headers=encoded, **more)
        return Answer(response.status_code, response.headers, response.content)

    async def public(self, name: str, fields: dict[str, Any] | None = None, *, token: str) -> Answer:
        """A public endpoint, as the token's session."""
        return await self.request("POST", f"/{name}", token=token, json=fields or {})

    async def inner(self, name: str, /, **fields: Any) -> Answer:
        """An inner endpoint, as the product's back end."""
        return await self.request("POST", f"/inner/{name}", json=fields)

    async def conversation(self, *sessions: str, conversation_type: int = 7) -> str:
        """Creates a conversation of these sessions; returns its id."""
        answer = await self.inner("create_conversation", conversation_type=conversation_type, sessions=list(sessions))
        identifier = answer.data["ConversationId"]
        assert isinstance(identifier, str)
        return identifier

    async def post(self, conversation: str, content: str, **more: Any) -> dict[str, Any]:
        """Sends as the system; returns MsgID and SendTime."""
        answer = await self.inner(
            "send_msg",
            **{"conversation_id": conversation, "type": 0, "status": 0, "content": content, **more},
        )
        sent: dict[str, Any] = answer.data
        return sent

    async def poll(self, token: str, since: str | None = None) -> Answer:
        """One poll."""
        params = {"protoc": "poll"} | ({} if since is None else {"since": since})
        return await self.request("GET", "/notify", token=token, params=params)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closed = await asyncio.gather(*(one.close() for one in self.listeners), return_exceptions=True)
        await self._http.aclose()
        for outcome in closed:
            if isinstance(outcome, BaseException):
                raise outcome
