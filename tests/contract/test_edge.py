"""What browsers are told and what they are refused; what is not public, and where it is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.urls import URLPattern

from quickim.urls import urlpatterns
from tests.clients import Api, Person
from tests.clients.protocols import PLAIN, WsListener
from tests.databases import free_port
from tests.servers import Fleet, Server

ROOT = Path(__file__).resolve().parent.parent.parent
OURS, ALSO_OURS = "https://app.example.com", "http://localhost:3000"
FOREIGN = ["https://evil.example.com", "http://app.example.com", f"{OURS}:8443", f"{OURS}.evil.com", "null", ""]
EMBEDDED = pytest.mark.parametrize("server", ["embedded"], indirect=True)
some_origins = pytest.mark.settings(QUICKIM_ALLOWED_ORIGINS=f"{OURS},{ALSO_OURS}")
any_origin = pytest.mark.settings(QUICKIM_ALLOWED_ORIGINS="*")
with_desk = pytest.mark.settings(QUICKIM_ADMIN="1", QUICKIM_ADMIN_HOSTS="desk.example.com,127.0.0.1")
PRIVATE = ["/inner/get_token", "/inner/send_msg", "/admin/", "/admin/login/", "/admin/live", "/playground/get_token"]


def asks_first(origin: str) -> dict[str, str]:
    """The headers of a preflight."""
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }


@some_origins
@EMBEDDED
@pytest.mark.parametrize("origin", [OURS, ALSO_OURS])
async def test_a_named_origin_may_call_and_read(api: Api, alice: Person, origin: str) -> None:
    answer = await api.request("OPTIONS", "/send_msg", headers=asks_first(origin))
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == origin
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type", "last-event-id", "x-request-id", "traceparent"} <= allowed
    assert int(answer.headers["access-control-max-age"]) <= 86_400
    for path in ("/get_joined_conversation", "/send_msg", "/nothing"):
        answer = await api.request("POST", path, headers={"Origin": origin}, token=alice.token, json={})
        assert answer.headers["access-control-allow-origin"] == origin
        assert "origin" in answer.headers["vary"].lower()
        assert "retry-after" in answer.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-credentials" not in answer.headers


@some_origins
@EMBEDDED
async def test_the_protocol_names_the_headers_that_pages_may_send_and_read(api: Api) -> None:
    answer = await api.request("OPTIONS", "/send_msg", headers=asks_first(OURS))
    text = (ROOT / "docs" / "protocol.md").read_text().partition("preflights are answered")[2].partition("No\n")[0]
    sent, read = text.partition("exposed headers")[::2]
    named = [name.lower() for name in re.findall(r"`([A-Za-z-]+)`", sent)]
    assert named == [name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")]
    exposed = answer.headers["access-control-expose-headers"].split(",")
    assert re.findall(r"`([A-Za-z-]+)`", read) == [name.strip() for name in exposed]


@some_origins
@EMBEDDED
@pytest.mark.parametrize("origin", FOREIGN)
async def test_another_origin_may_not_read_and_no_cache_may_mix_them_up(api: Api, alice: Person, origin: str) -> None:
    for method, headers in (("OPTIONS", asks_first(origin)), ("POST", {"Origin": origin}), ("POST", {})):
        answer = await api.request(method, "/get_joined_conversation", headers=headers, token=alice.token, content=b"")
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "origin" in answer.headers["vary"].lower()


@any_origin
@EMBEDDED
async def test_any_origin_never_means_credentials(api: Api) -> None:
    for origin, is_let in (("https://anybody.example.com", True), ("null", False)):
        answer = await api.request("OPTIONS", "/send_msg", headers=asks_first(origin))
        assert ("access-control-allow-origin" in answer.headers) is is_let
        assert "access-control-allow-credentials" not in answer.headers


@any_origin
@EMBEDDED
@pytest.mark.parametrize("path", PRIVATE)
async def test_what_is_not_public_is_for_no_page_of_another_site(api: Api, path: str) -> None:
    for method, headers in (("OPTIONS", asks_first(OURS)), ("GET", {"Origin": OURS}), ("POST", {"Origin": OURS})):
        answer = await api.request(method, path, headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")], answer


@any_origin
@EMBEDDED
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": OURS},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_a_page_of_another_site_cannot_act_as_the_back_end(api: Api, headers: dict[str, str]) -> None:
    body = b'{"session": "alice", "platform": 1}'
    answer = await api.request(
        "POST", "/inner/get_token", headers=headers | {"Content-Type": "text/plain"}, content=body
    )
    answer.refused(10003)


@EMBEDDED
async def test_the_servers_own_page_and_a_back_end_may_call_inner(server: Server, api: Api) -> None:
    for headers in ({}, {"Origin": server.url}, {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}):
        fields = {"session": "alice", "platform": 1}
        (await api.request("POST", "/inner/get_token", headers=headers, json=fields)).succeeded()


@some_origins
@EMBEDDED
@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({}, True),
        ({"Origin": OURS}, True),
        ({"Origin": ALSO_OURS}, True),
        ({"Origin": "own"}, True),
        *(({"Origin": origin}, False) for origin in FOREIGN),
        ({"Origin": "http://["}, False),
        ({"Origin": "http://evil.example.com", "Host": "evil.example.com"}, False),
    ],
    ids=str,
)
async def test_a_websocket_is_for_named_origins_and_for_clients_without_one(
    server: Server, alice: Person, headers: dict[str, str], is_let_in: bool
) -> None:
    headers = {name: server.url if value == "own" else value for name, value in headers.items()}
    socket = WsListener(server.url, alice.token, additional_headers=headers)
    await socket.connect()
    try:
        if is_let_in:
            assert (await socket.call("ping"))["code"] == 0
        else:
            assert (await socket.ended()).code == 4500
    finally:
        await socket.close()


@with_desk
@EMBEDDED
async def test_every_answer_has_its_headers(api: Api) -> None:
    paths = [f"/{pattern.pattern}" for pattern in urlpatterns if isinstance(pattern, URLPattern)]
    pages = [
        "/admin/",
        "/admin/login/",
        "/admin/password_change/",
        "/admin/jsi18n/",
        "/static/desk/desk.css",
        "/nothing",
    ]
    shown = 0
    for path in dict.fromkeys(
        [*paths, *pages, "/?page=landing", "/?lang=zh", "/static/quickim/quickim.js", "/static/no"]
    ):
        answer = await api.request("GET", path)
        assert answer.status < 500, path
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"], path
        assert answer.headers["x-request-id"], path
        if answer.headers.get("content-type", "").startswith("text/html"):
            shown += 1
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy, path
            assert "default-src 'self'" in policy or "default-src 'none'" in policy, path
            assert "frame-ancestors 'none'" in policy, path
            assert answer.headers["x-frame-options"] == "DENY", path
            assert answer.headers["referrer-policy"] == "same-origin", path
            assert answer.headers["cross-origin-opener-policy"] == "same-origin", path
            assert "camera=()" in answer.headers["permissions-policy"], path
        elif not path.startswith(("/static", "/openapi", "/admin")):
            assert answer.headers["cache-control"] == "no-store", path
    assert shown >= 4


@EMBEDDED
@pytest.mark.parametrize("protocol", ["sse", "poll"])
async def test_streams_and_polls_are_neither_stored_nor_collected(server: Server, alice: Person, protocol: str) -> None:
    async with (
        httpx.AsyncClient(trust_env=False, verify=PLAIN) as http,
        http.stream(
            "GET", f"{server.url}/notify", params={"protoc": protocol, "token": alice.token}, timeout=30
        ) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["x-content-type-options"] == "nosniff"


@with_desk
@EMBEDDED
async def test_the_desk_is_there_under_its_own_names_only(server: Server, api: Api) -> None:
    for name in ("desk.example.com", f"127.0.0.1:{server.port}"):
        answer = await api.request("GET", "/admin/login/", headers={"Host": name})
        assert answer.status == 200
    for path in ("/admin", "/admin/", "/admin/login/", "/admin/live", "/admin/conversations/"):
        (await api.request("GET", path, headers={"Host": f"localhost:{server.port}"})).refused(10004)
    assert (await api.request("GET", "/healthz", headers={"Host": "desk.example.com"})).status == 200


@contextmanager
def private_address(fleet: Fleet, flavour: Any) -> Iterator[tuple[Server, str]]:
    """A server with an address of its own for what is not public."""
    port = free_port()
    fleet.marks.clear()
    server = fleet.start(flavour, QUICKIM_INNER_BIND=f"127.0.0.1:{port}", QUICKIM_ADMIN="1", QUICKIM_PLAYGROUND="1")
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        assert server.terminate() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, verify=PLAIN)


@pytest.mark.parametrize("flavour", ["embedded", "workers"])
def test_what_is_not_public_is_at_its_own_address_only(fleet: Fleet, flavour: str) -> None:
    with (
        private_address(fleet, flavour) as (server, private),
        httpx.Client(trust_env=False, verify=PLAIN, timeout=30) as http,
    ):
        for _ in range(10):  # whichever worker answers
            for path in [*PRIVATE, "/inner", "/metrics", "/admin"]:
                refused = http.post(server.url + path, json={"session": "alice", "platform": 1})
                assert (refused.status_code, refused.json()["code"]) == (404, 10004), path
            token = http.post(f"{private}/inner/get_token", json={"session": "alice", "platform": 1})
            assert token.status_code == 200
            assert http.get(f"{private}/admin/login/").status_code == 200
            assert http.get(f"{private}/readyz").status_code == 200
            answer = http.post(
                f"{server.url}/get_joined_conversation",
                json={},
                headers={"Authorization": f"Bearer {token.json()['data']}"},
            )
            assert answer.json() == {"code": 0, "data": {"Conversations": []}}
        assert "landing" not in http.get(server.url).text or "playground.js" not in http.get(server.url).text


def test_an_inner_address_that_is_taken_ends_the_start(fleet: Fleet, tmp_path: Path) -> None:
    taken = fleet.shared("embedded")
    server = Server(tmp_path, "embedded", {"QUICKIM_INNER_BIND": f"127.0.0.1:{taken.port}"})
    done = server.manage("serve", check=False)
    assert done.returncode == 3
    assert "QUICKIM_INNER_BIND cannot be listened at" in done.stderr
