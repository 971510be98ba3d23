"""Signed requests to /inner: what is signed, by whom, once. And the examples of docs/security.md, as they stand."""

import asyncio
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.signatures import WINDOW_SECONDS, sign
from tests.clients import Api, fresh
from tests.clients.tokens import JWT_KEYS
from tests.contract.test_envelope import ENDPOINTS
from tests.servers import Server

SECURITY = (Path(__file__).resolve().parent.parent.parent / "docs" / "security.md").read_text()
SHOP, CRM = "a key of the tests, of the shop's back end", "a key of the tests, of whoever keeps customers"
PATH, BODY = "/inner/get_token", b'{"session": "alice", "platform": 1}'
Lines = list[tuple[str, str]]

pytestmark = pytest.mark.settings(QUICKIM_INNER_HMAC_KEYS=f"shop:{SHOP.replace(',', '')},crm:{CRM.replace(',', '')}")
KEYS = {"shop": SHOP.replace(",", ""), "crm": CRM.replace(",", "")}


def signed(
    name: str = "shop",
    *,
    key: str = "",
    late: float = 0,
    nonce: str = "",
    method: str = "POST",
    target: str = PATH,
    body: bytes = BODY,
) -> Lines:
    """The headers of a request that was signed ``late`` seconds ago."""
    timestamp, nonce = str(int(time.time() - late)), nonce or secrets.token_hex(16)
    signature = sign(key or KEYS[name], timestamp, nonce, method, target, body)
    values = {"Key": name, "Timestamp": timestamp, "Nonce": nonce, "Signature": signature}
    return [(f"X-Quickim-{header}", value) for header, value in values.items()]


async def code(api: Api, headers: Lines, *, path: str = PATH, body: bytes = BODY) -> int:
    """0 when it was let pass, else the code of the refusal."""
    answer = await api.request("POST", path, headers=headers, content=body)
    return 0 if answer.status == 200 else int(answer.body["code"])


async def test_each_key_opens_the_door_with_its_own_signature(api: Api) -> None:
    assert await code(api, signed("shop")) == 0
    assert await code(api, signed("crm")) == 0
    assert await code(api, signed("shop", key=KEYS["crm"])) == 10003
    assert await code(api, signed("nobody", key=KEYS["crm"])) == 10003
    assert await code(api, signed("shop", key="a key that nobody has ever been given")) == 10003


@pytest.mark.parametrize("path", [path for path in ENDPOINTS if path.startswith("/inner")])
async def test_without_a_signature_nothing_is_let_pass(api: Api, path: str) -> None:
    (await api.request("POST", path, json={})).refused(10003)


async def test_the_body_the_path_the_query_and_the_method_are_what_was_signed(api: Api) -> None:
    assert await code(api, signed(), body=BODY.replace(b"alice", b"mallory")) == 10003
    assert await code(api, signed(target="/inner/create_conversation")) == 10003
    assert await code(api, signed(), path=f"{PATH}?a=1") == 10003
    assert await code(api, signed(method="GET")) == 10003
    assert await code(api, signed(target=f"{PATH}?b=%20&a=1"), path=f"{PATH}?b=%20&a=1") == 0


@pytest.mark.parametrize(
    ("late", "expected"),
    [(WINDOW_SECONDS + 30, 10003), (-WINDOW_SECONDS - 30, 10003), (WINDOW_SECONDS / 2, 0), (-WINDOW_SECONDS / 2, 0)],
)
async def test_a_request_is_good_for_a_while_only(api: Api, late: float, expected: int) -> None:
    assert await code(api, signed(late=late)) == expected


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Quickim-Nonce", "short"),
        ("X-Quickim-Nonce", "x" * 65),
        ("X-Quickim-Timestamp", "now"),
        ("X-Quickim-Timestamp", "9" * 40),
        ("X-Quickim-Signature", ""),
        ("X-Quickim-Signature", "é" * 64),
        ("X-Quickim-Key", ""),
        ("X-Quickim-Key", "é"),
    ],
)
async def test_what_is_malformed_is_refused(api: Api, header: str, value: str) -> None:
    lines = [(name, value if name == header else given) for name, given in signed()]
    assert await code(api, lines) == 10003


@pytest.mark.parametrize("server", ["embedded", "nodes", "workers"], indirect=True)
async def test_a_request_is_good_once_on_all_nodes(api: Api) -> None:
    for _ in range(5):
        headers = signed()
        codes = await asyncio.gather(*(code(api, headers) for _ in range(8)))
        assert sorted(codes) == [0] + [10003] * 7
    nonce = fresh("a-nonce-of-two")
    assert await code(api, signed("shop", nonce=nonce)) == 0
    assert await code(api, signed("crm", nonce=nonce)) == 0


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
async def test_a_restart_forgets_no_request(server: Server, api: Api) -> None:
    headers = signed()
    assert await code(api, headers) == 0
    server.kill9()
    await asyncio.get_running_loop().run_in_executor(None, server.restart)
    assert await code(api, headers) == 10003


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
@pytest.mark.parametrize("language", ["python", "bash"])
def test_the_documents_examples_work(server: Server, language: str) -> None:
    example = re.findall(rf"```{language}\n(.*?)```", SECURITY, flags=re.DOTALL)[0]
    command = [sys.executable, "-c", example] if language == "python" else ["bash", "-euc", example]
    environment = os.environ | {"IM": server.url, "INNER_KEY": KEYS["shop"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert re.search(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", done.stdout), done


def test_the_keys_are_not_those_that_sign_tokens() -> None:
    assert not set(KEYS.values()) & set(JWT_KEYS.values())
