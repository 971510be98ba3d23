"""The JavaScript examples of docs/clients.md, as modules of a real page."""

import json
import re
from collections.abc import Awaitable, Callable

import pytest

from quickim.openapi.document import VERSION
from tests.browser.pages import ClientPage
from tests.clients import Person
from tests.servers import ROOT, Server

LIBRARY = ROOT / "gateway" / "static" / "quickim"
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


async def test_what_was_being_sent_is_sent_after_a_reload_as_what_it_was(
    server: Server, open_page: Callable[..., Awaitable[ClientPage]], alice: Person, room: str
) -> None:
    (example,) = [example for example in EXAMPLES if "pending" in example]
    page = await open_page(server.url)
    await page.run(f"window.room = {room!r}; window.fetchToken = async () => token; return 0")
    kept = "[{ conversation_id: room, content: 'kept', type: 3, status: 4, client_msg_id: 'once' }]"
    for _ in range(2):
        await page.run(f"localStorage.setItem('pending', JSON.stringify({kept})); window.again = null; return 0")
        await page.page.add_script_tag(type="module", content=f"{example}\nwindow.again = client;")
        await page.until("window.again?.pending.length === 0")
    (message,) = await alice.history(room)
    assert (message["Content"], message["Type"], message["Status"]) == ("kept", 3, 4)


def test_the_library_is_a_package_as_it_lies_there() -> None:
    package = json.loads((LIBRARY / "package.json").read_text())
    assert (package["name"], package["version"], package["license"]) == ("quickim", VERSION, "MIT")
    for name in (*package["exports"]["."].values(), package["types"], *package["files"]):
        assert (LIBRARY / name).exists(), name
    imported = set(re.findall(r'from "\./([^"]+)"', (LIBRARY / "quickim.js").read_text()))
    assert {name.partition("/")[0] for name in imported} == {"client"}
    assert "client/" in package["files"]
    assert (LIBRARY / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
