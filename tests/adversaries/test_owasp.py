"""The table in docs/security.md names tests that exist, and what no other test shows is shown here."""

import ast
import re
from typing import Any

import pytest

from tests.clients import Api, fresh, mint
from tests.servers import ROOT, Server

ROWS: dict[str, str] = {
    row[1]: row[2]
    for row in re.finditer(
        r"^\| (API\d+:2023) .*\| ([^|]+) \|$", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE
    )
}
CALLERS = {
    "aiohttp",
    "ftplib",
    "http.client",
    "httpx",
    "requests",
    "smtplib",
    "urllib.request",
    "urllib3",
    "websockets",
}
"""Modules by which a program calls others."""
OUR_CLIENTS = {"gateway/client", "gateway/management", "gateway/server"}
"""The Python client and the command that uses it; the server, which frames WebSockets by that library."""


def test_the_table_has_all_ten() -> None:
    assert set(ROWS) == {f"API{number}:2023" for number in range(1, 11)}


@pytest.mark.parametrize("risk", ROWS)
def test_every_risk_is_covered_by_tests_that_exist(risk: str) -> None:
    names = re.findall(r"`([^`]+)::([^`]+)`", ROWS[risk])
    assert names
    for path, name in names:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE), (
            f"{path}::{name}"
        )


def test_the_server_calls_nobody() -> None:
    """No part of it could be told to fetch an address: none has the means."""
    callers = set()
    for package in ("conversations", "gateway", "messaging", "quickim"):
        for path in (ROOT / package).rglob("*.py"):
            where = path.relative_to(ROOT).as_posix()
            if not where.startswith(tuple(OUR_CLIENTS)) and _imported(ast.parse(path.read_text())) & CALLERS:
                callers.add(where)
    assert callers == set()


def _imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names | {name.split(".")[0] for name in names}


async def test_nobody_speaks_for_another(server: Server) -> None:
    """What a message says of its sender, time and place is never taken from the request."""
    alice, bob = fresh("alice"), fresh("bob")
    async with Api(server.url) as api:
        room = await api.conversation(alice, bob)
        wished: dict[str, Any] = dict.fromkeys(("session", "FromSession", "from_session", "sid"), bob)
        wished |= {"MsgID": "EDCZL-SY32-243Y-VWQ", "SendTime": 1, "send_time": 1, "Seq": 99, "number": 1}
        fields = {"conversation_id": room, "content": "hello", **wished}
        receipt = (await api.public("send_msg", fields, token=mint(alice))).data
        last = (await api.public("get_conversation_lastone_msg", {"conversation_id": room}, token=mint(bob))).data
    (message,) = last["Msg"]
    assert (message["FromSession"], message["Seq"]) == (alice, 1)
    assert message["MsgId"] == receipt["MsgID"] != wished["MsgID"]
    assert message["SendTime"] == receipt["SendTime"] > 1
