"""The same client for code that is not async: it runs on a loop and a thread of its own, and every method waits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from gateway.client.client import Client
from gateway.client.credentials import Source
from gateway.client.events import Event, Message

T = TypeVar("T")


class SyncClient:
    """``with SyncClient(url, token) as client``; everything that ``Client`` has, and waits for.

    Raises what ``Client`` raises. A callable ``token`` is called on the client's own thread.
    """

    def __init__(self, url: str, token: Source, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="quickim client", daemon=True)
        self._thread.start()
        self._client = self._wait(self._made(url, token, options))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        """What ``Client`` has under this name; a method of it waits for its outcome."""
        found = getattr(self._client, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        method: Callable[..., Coroutine[Any, Any, Any]] = found

        def waiting(*arguments: Any, **options: Any) -> Any:
            return self._wait(method(*arguments, **options))

        return waiting

    @property
    def cursor(self) -> str:
        """See Client."""
        return self._client.cursor

    @cursor.setter
    def cursor(self, cursor: str) -> None:
        async def go_on() -> None:
            self._client.cursor = cursor

        self._wait(go_on())

    def close(self) -> None:
        """Disconnect for good, and end the thread."""
        if self._loop.is_closed():
            return
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def events(self) -> Iterator[Event]:
        """See Client."""
        return self._each(self._client.events())

    def messages(self) -> Iterator[Message]:
        """See Client."""
        return self._each(self._client.messages())

    def _each(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> list[T]:
            # A StopAsyncIteration cannot leave a coroutine.
            return [item async for item in _first(items)]

        while found := self._wait(following()):
            yield found[0]

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C ends the waiting, and so what was waited for.
            future.cancel()
            raise

    async def _made(self, url: str, token: Source, options: dict[str, Any]) -> Client:
        return Client(url, token, **options)


async def _first(items: AsyncIterator[T]) -> AsyncIterator[T]:
    try:
        yield await anext(items)
    except StopAsyncIteration:
        return
