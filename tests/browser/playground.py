"""The playground of a real server in a real browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Locator, Page

from tests.browser.desk import screen
from tests.servers import Server

BOTH = ("alice", "bob")


class Playground:
    """What somebody sees there; users are named by their session."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def pane(self, who: str) -> Locator:
        """A user's pane."""
        return self.page.locator(f'.pane[data-session="{who}"]')

    async def connected(self, who: str, protocol: str) -> None:
        """Returns when that user is connected over that protocol."""
        selector = f'.pane[data-session="{who}"][data-state="connected"][data-protocol="{protocol}"]'
        await self.page.wait_for_selector(selector)

    async def use(self, who: str, protocol: str) -> None:
        """Chooses a protocol and does not wait for it."""
        await self.pane(who).locator(f'input[value="{protocol}"]').check()

    async def say(self, who: str, text: str) -> None:
        """Writes and sends."""
        await self.pane(who).locator(".send input").fill(text)
        await self.pane(who).locator(".send button").click()

    async def hears(self, who: str, text: str) -> None:
        """Returns when that is among the messages of ``who``."""
        await self.pane(who).locator(".said").get_by_text(text, exact=True).wait_for()

    async def said(self, who: str) -> list[str]:
        """All messages that ``who`` is shown, in order."""
        return await self.pane(who).locator(".said").all_inner_texts()

    async def has(self, who: str, count: int) -> list[str]:
        """Waits for that many messages; which they are."""
        await self.pane(who).locator(".said").nth(count - 1).wait_for()
        return await self.said(who)

    async def told(self, who: str, event: str) -> None:
        """Returns when a notice is shown."""
        await self.pane(who).locator(f'[data-event="{event}"]').first.wait_for()

    async def problem(self, who: str, code: int) -> None:
        """Returns when a refusal with this code is shown."""
        await self.pane(who).locator(".problem").get_by_text(str(code)).wait_for()


@asynccontextmanager
async def playground(server: Server, path: str = "/", **options: Any) -> AsyncIterator[Playground]:
    """A first visit; returns when Alice and Bob are connected and in a conversation."""
    async with screen(server, **{"viewport": {"width": 1360, "height": 900}, **options}) as shown:
        await shown.open(path)
        opened = Playground(shown.page)
        await opened.connected("alice", "ws")
        await opened.connected("bob", "sse")
        await shown.page.locator("#members li").nth(1).wait_for()
        yield opened
        # The console tells of every refusal, and some tests are about these.
        shown.problems[:] = [problem for problem in shown.problems if "status of 403" not in problem]
