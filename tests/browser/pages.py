"""A page of the server with a quickim.js client in it, which keeps all that it is told in ``window.got``."""

import asyncio
import json
from typing import Any

from playwright.async_api import Page

WAIT_MS = 30_000
LOADING = """
async ([token, setup, options]) => {
  window.got = { message: [], notice: [], reset: [], state: [], error: [], ended: [] };
  window.token = token;
  await eval(`(async () => { ${setup} })()`);
  const { Client } = await import("/static/quickim/quickim.js");
  window.Client = Client;
  const source = window.freshToken ?? token;
  window.client = new Client(location.origin, source, options);
  for (const name of Object.keys(got)) {
    client.on(name, (event) => { got[name].push(event instanceof Error ? `${event.code}: ${event.message}` : event); });
  }
}
"""


class ClientPage:
    """See the module."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def load(self, token: str, setup: str, options: dict[str, Any]) -> None:
        """Opens the server's page and makes a client there; ``setup`` is JavaScript that runs before the library."""
        # A page that really came from there: browsers keep others from reaching local networks.
        await self.page.goto(f"{self.url}/healthz")
        async with asyncio.timeout(WAIT_MS / 1_000):
            await self.page.evaluate(LOADING, [token, setup, options])

    async def run(self, code: str) -> Any:
        """What an expression, or the body of an async function with a return, comes to."""
        body = code if "return " in code else f"return ({code})"
        async with asyncio.timeout(WAIT_MS / 1_000):
            return await self.page.evaluate(f"(async () => {{ {body} }})()")

    async def connect(self) -> None:
        """Returns when it is connected."""
        await self.run("client.connect()")

    async def until(self, condition: str, milliseconds: int = WAIT_MS) -> None:
        """Returns when a JavaScript expression holds; fails with what the page has been told."""
        try:
            await self.page.wait_for_function(f"() => {condition}", timeout=milliseconds, polling=20)
        except Exception as error:
            told = await self.run("JSON.stringify({ ...got, message: got.message.map((one) => one.Content) })")
            raise AssertionError(f"{condition}: {told[-3000:]}") from error

    async def texts(self) -> list[str]:
        """The contents of all messages it was told of, in order."""
        found: list[str] = await self.run("got.message.map((message) => message.Content)")
        return found

    async def has(self, count: int) -> list[str]:
        """Waits for that many messages; their contents."""
        await self.until(f"got.message.length >= {count}")
        return await self.texts()

    async def got(self, name: str) -> list[Any]:
        """The events of this name."""
        found: list[Any] = json.loads(await self.run(f"JSON.stringify(got.{name})"))
        return found

    async def state(self) -> tuple[str, str | None]:
        """Its state and protocol."""
        state, protocol = await self.run("[client.state, client.protocol]")
        return state, protocol
