"""The playground's door: what it does for its own page, and whom it keeps out."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.clients import Answer, Api, Person, fresh
from tests.servers import Server

DEEDS = (
    "get_token",
    "create_conversation",
    "join_conversation",
    "kickout_conversation",
    "get_conversation_members",
    "set_archive_conversations",
)
KEY = "a key of the back end's own".replace(" ", "-")


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """The HTTP side of the server."""
    async with Api(server.url) as api:
        yield api


async def knock(api: Api, deed: str, headers: Mapping[str, str] | None = None, /, **fields: Any) -> Answer:
    """A POST as the page sends it; ``headers`` are laid over its own, an empty one is left out."""
    sent = {"Origin": api.url, "Sec-Fetch-Site": "same-origin"} | dict(headers or {})
    lines = {name: value for name, value in sent.items() if value}
    return await api.request("POST", f"/playground/{deed}", headers=lines, json=fields)


async def test_its_own_page_may_do_what_a_back_end_may(api: Api) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    token = (await knock(api, "get_token", session=alice, platform=1)).data
    created = await knock(api, "create_conversation", conversation_type=1, sessions=[alice, bob])
    room = created.data["ConversationId"]
    reader = Person(api, alice, token=token)
    await reader.send(room, "hello")

    assert (await knock(api, "kickout_conversation", conversation_id=room, sessions=[bob])).data["Failed"] == []
    members = (await knock(api, "get_conversation_members", conversation_id=room)).data["Members"]
    assert [member["SessionId"] for member in members] == [alice]
    (await knock(api, "join_conversation", conversation_id=room, sessions=[bob])).succeeded()
    archived = await knock(api, "set_archive_conversations", conversation_ids=[room], is_archive=True)
    assert archived.data == {"Failed": []}
    (await reader.call("send_msg", conversation_id=room, content="too late")).refused(90016)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
    ids=str,
)
async def test_nobody_else_gets_in(api: Api, headers: dict[str, str]) -> None:
    for deed in DEEDS:
        (await knock(api, deed, headers, session="alice", platform=1)).refused(10003)


@pytest.mark.settings(QUICKIM_ALLOWED_HOSTS="*")
async def test_a_name_that_was_pointed_at_this_machine_opens_nothing(api: Api) -> None:
    names = {"Host": "rebound.example", "Origin": "http://rebound.example"}
    (await knock(api, "get_token", names, session="alice", platform=1)).refused(10003)
    page = await api.request("GET", "/", headers={"Host": "rebound.example"})
    assert b"playground.js" not in page.content


@pytest.mark.settings(QUICKIM_PLAYGROUND="1", QUICKIM_ALLOWED_HOSTS="*")
async def test_switched_on_any_name_is_still_not_enough(api: Api) -> None:
    names = {"Host": "rebound.example", "Origin": "http://rebound.example"}
    (await knock(api, "get_token", names, session="alice", platform=1)).refused(10003)


@pytest.mark.settings(QUICKIM_PLAYGROUND="1", QUICKIM_ALLOWED_HOSTS="im.example,127.0.0.1")
async def test_switched_on_it_serves_the_deployments_own_name(api: Api) -> None:
    names = {"Host": "im.example", "Origin": "http://im.example"}
    (await knock(api, "get_token", names, session="alice", platform=1)).succeeded()


@pytest.mark.settings(QUICKIM_ALLOWED_ORIGINS="https://app.example")
async def test_an_origin_that_may_call_the_api_may_not_come_in(api: Api) -> None:
    headers = {"Origin": "https://app.example", "Sec-Fetch-Site": ""}
    (await knock(api, "get_token", headers, session="alice", platform=1)).refused(10003)


@pytest.mark.settings(QUICKIM_INNER_API_KEYS=KEY)
async def test_where_the_back_end_needs_a_key_the_page_needs_it_too(api: Api) -> None:
    (await knock(api, "get_token", session="alice", platform=1)).refused(10003)
    (await knock(api, "get_token", {"X-Api-Key": KEY}, session="alice", platform=1)).succeeded()


@pytest.mark.settings(QUICKIM_INNER_ALLOW="10.1.2.3")
async def test_an_address_that_may_not_call_inner_sees_the_landing_page(api: Api) -> None:
    (await knock(api, "get_token", session="alice", platform=1)).refused(10003)
    page = await api.request("GET", "/")
    assert (page.status, b"playground.js" in page.content) == (200, False)


@pytest.mark.settings(QUICKIM_PLAYGROUND="1", QUICKIM_TRUSTED_PROXIES="127.0.0.1")
async def test_behind_a_trusted_proxy_its_client_counts(api: Api) -> None:
    inside, outside = ({"X-Forwarded-For": address} for address in ("127.0.0.1", "203.0.113.9"))
    (await knock(api, "get_token", inside, session="alice", platform=1)).succeeded()
    (await knock(api, "get_token", outside, session="alice", platform=1)).refused(10003)


@pytest.mark.settings(QUICKIM_PLAYGROUND="0")
async def test_switched_off_it_is_a_path_like_any_unknown_one(api: Api) -> None:
    for deed in DEEDS:
        (await knock(api, deed, session="alice", platform=1)).refused(10004)
    assert b"playground.js" not in (await api.request("GET", "/")).content


async def test_only_these_deeds_are_there_and_only_by_post(api: Api) -> None:
    for deed in ("send_msg", "set_delete_conversations", "notify", ""):
        (await knock(api, deed)).refused(10004)
    for deed in DEEDS:
        (await api.request("GET", f"/playground/{deed}", headers={"Origin": api.url})).refused(10005)
    (await knock(api, "get_token", session="alice")).refused(10001)
