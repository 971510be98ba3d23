"""The JavaScript examples of docs/clients.md, as modules of a real page."""

import re
from collections.abc import Awaitable, Callable

import pytest

from tests.browser.pages import ClientPage
from tests.clients import Person
from tests.servers import ROOT, Server

EXAMPLES = re.findall(r"^```js\n(.*?)^```", (ROOT / "docs" / "clients.md").read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_an_example_logs_what_comes(
    server: Server,
    open_page: Callable[..., Awaitable[ClientPage]],
    alice: Person,
    room: str,
    number: int,
) -> None:
    page = await open_page(server.url)
    logged: list[str] = []
    page.page.on("console", lambda line: logged.append(line.text))
    await page.run(f"window.room = {room!r}; window.fetchToken = async () => token; return 0")
    # Known to be connected when its last line has run.
    script = f"{EXAMPLES[number]}\nwindow.isReady = true;"
    await page.page.add_script_tag(type="module", content=script)
    await page.until("window.isReady")
    async with page.page.expect_console_message(lambda line: "a word for you" in line.text):
        await alice.send(room, "a word for you")
    assert logged
