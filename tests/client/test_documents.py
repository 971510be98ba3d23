"""docs/clients.md, the types of quickim.js and the Python client agree; the Python examples do what they say."""

import asyncio
import os
import re
import sys
from dataclasses import fields
from typing import Any

import pytest

from gateway.client import Options
from tests.clients import Person, mint
from tests.servers import ROOT, Server
from tests.test_docs import table_rows, unquoted

DOCUMENT = (ROOT / "docs" / "clients.md").read_text()
STATIC = ROOT / "gateway" / "static" / "quickim"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
WAIT_SECONDS = 20.0


def documented_options(column: int) -> set[str]:
    """The names in a column of the table of options."""
    section = DOCUMENT.partition("## 4. Options")[2].partition("## 5.")[0]
    cells = [unquoted(row[column]) for row in table_rows(section, r"`\w+`|")]
    return {cell for cell in cells if cell}


def test_every_option_of_the_python_client_is_documented() -> None:
    assert documented_options(1) == {field.name for field in fields(Options)}


def test_every_option_of_quickim_js_is_documented_and_typed() -> None:
    defaults = (STATIC / "quickim.js").read_text().partition("const DEFAULTS = {")[2].partition("\n};")[0]
    names = set(re.findall(r"^  (\w+):", defaults, flags=re.MULTILINE))
    typed = (STATIC / "quickim.d.ts").read_text().partition("export interface Options {")[2].partition("\n}")[0]
    assert documented_options(0) == names == set(re.findall(r"^  (\w+)\?:", typed, flags=re.MULTILINE))


def test_every_method_of_quickim_js_is_typed() -> None:
    source = (STATIC / "quickim.js").read_text() + (STATIC / "client" / "calls.js").read_text()
    pattern = r"^  (?:async |get |set )?(\w+)\("
    written = set(re.findall(pattern, source, flags=re.MULTILINE)) - {"constructor", "super"}
    types = (STATIC / "quickim.d.ts").read_text().partition("export class Client {")[2]
    typed = set(re.findall(r"^  (?:readonly )?(\w+)[(<:]", types, flags=re.MULTILINE)) - {"constructor"}
    assert written == typed


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_a_python_example_prints_what_comes(
    server: Server, alice: Person, bob: str, room: str, number: int
) -> None:
    given: dict[str, Any] = {"IM": server.url, "token": mint(bob), "room": room}
    script = "\n".join(f"{name} = {value!r}" for name, value in given.items()) + "\n" + EXAMPLES[number]
    example = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        script,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "QUICKIM_"))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert example.stdout is not None
    assert example.stderr is not None
    sending = asyncio.create_task(_send_for_ever(alice, room))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while b"a word for you" not in (line := await example.stdout.readline()):
                assert line, (await example.stderr.read()).decode()
    finally:
        sending.cancel()
        example.kill()
        await example.communicate()


async def _send_for_ever(alice: Person, room: str) -> None:
    """The example begins when it begins: one of them comes after that."""
    while True:
        await alice.send(room, "a word for you")
        await asyncio.sleep(0.2)
