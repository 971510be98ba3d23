"""A real browser at the desk of a real server: what is on the screen is what counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright

from tests.desk.visitor import PASSWORD
from tests.servers import Server

SERIOUS: Final = ("serious", "critical")
CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Screen:
    """A tab, and all that went wrong in it: script errors, refusals by the Content-Security-Policy, outside hosts."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)

    async def log_in(self, name: str) -> None:
        """Through the form."""
        await self.page.goto(f"{self.url}/admin/")
        await self.page.fill("#id_username", name)
        await self.page.fill("#id_password", PASSWORD)
        await self.page.click("input[type=submit]")
        await self.page.wait_for_selector("#user-tools")

    async def open(self, path: str) -> None:
        """A page of the desk."""
        await self.page.goto(f"{self.url}{path}")

    async def width(self) -> int:
        """How wide what is shown really is, in CSS pixels."""
        return int(await self.page.evaluate("document.documentElement.scrollWidth"))


async def barriers(page: Page) -> list[tuple[str, list[str]]]:
    """What bars people with assistive technology from the page, by axe: (rule, places)."""
    # Run as a tool's own code: the page's policy would refuse it as part of the page.
    found = (await Axe().run(page)).response["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found if one["impact"] in SERIOUS]


@asynccontextmanager
async def screen(server: Server, **options: Any) -> AsyncIterator[Screen]:
    """A tab of a new browser; ``options`` are those of a context: viewport, colour scheme, zone. Fails at the end when
    anything went wrong in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            context: BrowserContext = await browser.new_context(locale="en-GB", **options)
            context.set_default_timeout(20_000)
            shown = Screen(await context.new_page(), server.url)
            _watch(shown)
            yield shown
            assert shown.problems == [], shown.problems
        finally:
            await browser.close()


def _watch(shown: Screen) -> None:
    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            shown.problems.append(message.text)

    shown.page.on("console", on_console)
    shown.page.on("pageerror", lambda error: shown.problems.append(str(error)))
    shown.page.on("dialog", lambda dialog: shown.problems.append(f"a dialog: {dialog.message}"))
    shown.page.on(
        "request",
        lambda request: None if request.url.startswith((shown.url, "data:")) else shown.problems.append(request.url),
    )
