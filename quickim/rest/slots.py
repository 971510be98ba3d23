"""Threads for Django's own handler, which pages for people run on: some, and the same ones again and again.

Laws: pages never take so many threads and database connections that endpoints and pushes go without. A thread stays:
Django by itself would make one for each request, and with it a connection to SQLite, whose files a process cannot
really close while it has another one open.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import ThreadSensitiveContext

from quickim.errors import Unavailable
from quickim.rest.answers import failure
from quickim.rest.edge import Application, Receive, Scope, Send

SLOTS = 4
"""As many as a process's pool has connections for them (quickim.backends)."""
MAX_WAITING = 100
WAIT_SECONDS = 10.0


class Slots:
    """An ASGI application in front of ``application``: some requests at a time, the others wait in line."""

    def __init__(self, application: Application, slots: int = SLOTS) -> None:
        self._application = application
        self._free = asyncio.Semaphore(slots)
        self._threads = [ThreadPoolExecutor(1, thread_name_prefix=f"page {number}") for number in range(slots)]
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; 503 when the line is too long, or too slow."""
        if self._waiting >= MAX_WAITING or not await self._entered():
            await _refuse(send)
            return
        thread = self._threads.pop()
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self._application(scope, receive, send)
        finally:
            # On top: as long as few are asked for, few are ever started.
            self._threads.append(thread)
            self._free.release()

    async def _entered(self) -> bool:
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True


async def _refuse(send: Send) -> None:
    refusal = failure(Unavailable())
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in refusal.items()]
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.content, "more_body": False})
