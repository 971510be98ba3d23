"""The desk of a real server over HTTP: logging in, following forms, listening to an open transcript."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from tests.clients.protocols import PLAIN
from tests.servers import Server

PASSWORD = "correct horse battery staple"
WAIT_SECONDS = 20.0


def create_login(server: Server, name: str, *options: str) -> None:
    """A login, made by the command."""
    path = server.data / f"password of {name}"
    path.write_text(PASSWORD + "\n")
    server.manage("create_support_user", name, "--password-file", str(path), *options)


class Visitor:
    """A browser without a screen."""

    def __init__(self, server: Server) -> None:
        self._http = httpx.AsyncClient(base_url=server.url, timeout=30.0, trust_env=False, verify=PLAIN)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> httpx.Response:
        """A page."""
        return await self._http.get(path)

    async def submit(self, path: str, **fields: Any) -> httpx.Response:
        """Fills in the form of a page and sends it."""
        page = await self._http.get(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None, f"{page.status_code} {page.text[:500]}"
        headers = {"Origin": str(self._http.base_url).rstrip("/"), "Referer": str(page.url)}
        return await self._http.post(path, data={"csrfmiddlewaretoken": token[1], **fields}, headers=headers)

    async def log_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        """Through the form."""
        return await self.submit("/admin/login/", username=name, password=password)

    async def log_out(self) -> None:
        """By the button."""
        page = await self.get("/admin/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None
        await self._http.post("/admin/logout/", data={"csrfmiddlewaretoken": token[1]})

    @asynccontextmanager
    async def looking_at(self, conversation: str) -> AsyncIterator["Transcript"]:
        """Opens the page of a conversation and what it listens to."""
        page = await self.get(f"/admin/conversations/{conversation}/")
        assert page.status_code == 200, page.text
        asked = {name: _attribute(page.text, name) for name in ("conversation", "after", "version", "since")}
        async with self._http.stream("GET", "/admin/live", params=asked, timeout=None) as answer:
            assert answer.status_code == 200, await answer.aread()
            transcript = Transcript(answer)
            try:
                yield transcript
            finally:
                await transcript.close()

    async def live_status(self, **asked: str) -> int:
        """The status that the stream is refused with."""
        async with self._http.stream("GET", "/admin/live", params=asked) as answer:
            return answer.status_code


class Transcript:
    """The events of an open transcript, in the order of their arrival."""

    def __init__(self, answer: httpx.Response) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ended = asyncio.Event()
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read(answer))

    async def event(self, name: str, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """The first event of that name, which is taken out."""
        async with asyncio.timeout(seconds):
            while True:
                for index, (kind, body) in enumerate(self.events):
                    if kind == name:
                        del self.events[index]
                        return body
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        """Stops listening."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self, answer: httpx.Response) -> None:
        name = ""
        async for line in answer.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                self.events.append((name, json.loads(value)))
                self._changed.set()
        self.ended.set()


def _attribute(page: str, name: str) -> str:
    match = re.search(rf'data-{name}="([^"]*)"', page)
    assert match is not None, f"no {name} in {page[:300]}"
    return match[1]
