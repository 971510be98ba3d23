"""A real browser for the tests of pages and of quickim.js: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

from tests.browser.pages import ClientPage
from tests.clients import Api, Person, fresh, mint
from tests.servers import Server

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser with nothing in it."""
    path = shutil.which("chromium")
    assert path, "chromium is not installed: `script/test` installs it as root, else `apt-get install chromium`"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A window of it that knows no cookies."""
    context = await browser.new_context()
    yield context
    await context.close()


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """The HTTP side of ``server``."""
    async with Api(server.url) as api:
        yield api


@pytest.fixture
def alice(api: Api) -> Person:
    """Who sends."""
    return Person(api, fresh("alice"))


@pytest.fixture
def bob() -> str:
    """The session of the page."""
    return fresh("bob")


@pytest_asyncio.fixture
async def room(api: Api, alice: Person, bob: str) -> str:
    """A conversation of both."""
    return await api.conversation(alice.session, bob)


@pytest_asyncio.fixture
async def open_page(context: BrowserContext, bob: str) -> AsyncIterator[Callable[..., Awaitable[ClientPage]]]:
    """``open_page(url, **options)``: a page with a client of bob's that records what it is told; not connected yet."""
    opened: list[ClientPage] = []

    async def open_one(url: str, *, token: str = "", setup: str = "", **options: object) -> ClientPage:
        page = ClientPage(await context.new_page(), url)
        opened.append(page)
        await page.load(token or mint(bob), setup, options)
        return page

    yield open_one
    for page in opened:
        assert page.errors == [], "the page has thrown"
