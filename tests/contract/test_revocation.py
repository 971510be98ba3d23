"""A revoked token ends: its connections are cut at once, and nothing that asks for a token takes it any more."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import pytest
import websockets

from tests.clients import Api, Person, Protoc, RefusedError, fresh, mint
from tests.contract.test_connecting import check_bye, refused_socket
from tests.contract.test_envelope import ENDPOINTS
from tests.servers import Server

PUBLIC = [path for path in ENDPOINTS if not path.startswith("/inner")]


async def holder(api: Api, session: str, platform: int = 1) -> Person:
    """A session with a token that the server issued just now."""
    return Person(api, session, platform, (await api.inner("get_token", session=session, platform=platform)).data)


async def revoke(api: Api, **which: Any) -> int:
    """Revokes and returns until when (microseconds) tokens are revoked."""
    answer = (await api.inner("revoke_token", **which)).data
    assert set(answer) == {"Before"}
    assert type(answer["Before"]) is int
    return int(answer["Before"])


async def is_good(who: Person) -> bool:
    """Whether its token opens an endpoint; a revoked one must be refused as such."""
    answer = await who.call("get_joined_conversation")
    if answer.status == 200:
        return True
    assert answer.refused(10101) == {"token": "was revoked"}
    return False


async def check_cut(who: Person, protoc: Protoc) -> None:
    """A listener of who, connected now, is cut by a revocation of the session."""
    listener = await who.listen(protoc)
    await revoke(who.api, session=who.session)
    ending = await listener.ended()
    if protoc == "poll" and ending.bye is None:
        # It was between two polls.
        assert "was revoked" in str(ending.error)
    else:
        check_bye(ending.bye, 4503, reconnect=False)
    assert ending.code == (4503 if protoc == "ws" else None)


async def test_connections_of_a_revoked_session_are_cut(api: Api, protoc: Protoc) -> None:
    await check_cut(await holder(api, fresh("alice")), protoc)


@pytest.mark.settings(QUICKIM_POLL_WAIT_SECONDS="20")
async def test_a_poll_that_waits_is_answered_with_the_end(api: Api, server: Server) -> None:
    who = await holder(api, fresh("alice"))
    first = (await api.poll(who.token, since=(await api.post(await api.conversation(who.session), "x"))["MsgID"])).data
    polling = asyncio.create_task(api.poll(who.token, since=first["Cursor"]))
    done, _ = await asyncio.wait([polling], timeout=0.5)
    assert not done
    await revoke(api, session=who.session)
    answer = (await polling).data
    check_bye(answer["Event"][-1], 4503, reconnect=False)
    assert answer["Cursor"]


async def test_a_token_minted_without_iat_counts_as_the_oldest(api: Api, alice: Person, protoc: Protoc) -> None:
    await check_cut(alice, protoc)
    later = Person(api, alice.session, token=mint(alice.session))
    assert not await is_good(later)
    dated = Person(api, alice.session, token=mint(alice.session, iat=time.time() + 1))
    assert await is_good(dated)


@pytest.mark.parametrize("path", PUBLIC)
async def test_no_endpoint_takes_a_revoked_token(api: Api, path: str) -> None:
    who = await holder(api, fresh("alice"))
    assert await is_good(who)
    await revoke(api, session=who.session)
    for _ in range(2):
        answer = await api.request("POST", path, token=who.token, json={})
        assert answer.refused(10101) == {"token": "was revoked"}


async def test_nobody_connects_with_a_revoked_token(api: Api) -> None:
    who = await holder(api, fresh("alice"))
    await revoke(api, session=who.session)
    bye, code = await refused_socket(api, f"?token={who.token}")
    check_bye(bye, 4503, reconnect=False)
    assert code == 4503
    for protoc in ("sse", "poll"):
        answer = await api.request("GET", "/notify", params={"protoc": protoc, "token": who.token})
        assert answer.refused(10101) == {"token": "was revoked"}


async def test_a_connection_does_not_go_over_to_a_revoked_token(api: Api) -> None:
    who = await holder(api, fresh("alice"))
    before = await revoke(api, session=who.session)
    newer = await holder(api, who.session)
    socket = await newer.listen_ws()
    answer = await socket.call("refresh", {"token": who.token})
    assert answer["code"] == 10101
    await revoke(api, session=who.session, before=before)
    assert (await socket.call("get_joined_conversation"))["code"] == 0, "it lives on with the token it has"


async def test_a_connection_that_went_over_to_a_newer_token_stays(api: Api) -> None:
    who = await holder(api, fresh("alice"))
    socket = await who.listen_ws()
    before = time.time_ns() // 1_000
    newer = Person(api, who.session, token=mint(who.session, iat=time.time() + 1))
    assert (await socket.call("refresh", {"token": newer.token}))["code"] == 0
    await revoke(api, session=who.session, before=before)
    assert not await is_good(who)
    assert (await socket.call("get_joined_conversation"))["code"] == 0


async def test_a_token_issued_after_the_revocation_is_good(api: Api, protoc: Protoc) -> None:
    session = fresh("alice")
    for _ in range(3):
        who = await holder(api, session)
        assert await is_good(who)
        await revoke(api, session=session)
        assert not await is_good(who)
    who = await holder(api, session)
    conversation = await api.conversation(session)
    listener = await who.listen(protoc)
    await api.post(conversation, "you are back")
    assert (await listener.message())["Content"] == "you are back"


async def test_a_platform_is_revoked_alone(api: Api, protoc: Protoc) -> None:
    session = fresh("alice")
    phone, web = await holder(api, session, 1), await holder(api, session, 2)
    on_phone, on_web = await phone.listen(protoc), await web.listen(protoc)
    await revoke(api, session=session, platform=1)
    assert not await is_good(phone)
    assert await is_good(web)
    await on_phone.ended()
    await web.caught_up(on_web)
    await revoke(api, session=session)
    assert not await is_good(web)


async def test_tokens_issued_after_a_given_time_stay_good(api: Api) -> None:
    session = fresh("alice")
    now = time.time()
    old = Person(api, session, token=mint(session, iat=now - 100))
    young = Person(api, session, token=mint(session, iat=now - 50))
    seconds = Person(api, session, token=mint(session, iat=int(now) - 70))
    before = int((now - 70) * 1_000_000)
    assert await revoke(api, session=session, before=before) == before
    assert not await is_good(old)
    assert not await is_good(seconds)
    assert await is_good(young)
    assert await revoke(api, session=session, before=before - 20_000_000) == before - 20_000_000
    assert not await is_good(seconds), "an earlier time takes nothing back"


async def test_another_session_does_not_notice(api: Api, bob: Person, protoc: Protoc) -> None:
    listener = await bob.listen(protoc)
    await revoke(api, session=fresh("alice"))
    await bob.caught_up(listener)
    assert await is_good(bob)


async def test_everybodys_tokens_until_a_time_are_revoked(start_server: Any, protoc: Protoc) -> None:
    server = start_server("embedded")
    async with Api(server.url) as api:
        now = time.time()
        session = fresh("old")
        old = Person(api, session, token=mint(session, iat=now - 10))
        unknown, young = Person(api, fresh("unknown")), await holder(api, fresh("young"))
        cut = [await who.listen(protoc) for who in (old, unknown)]
        stays = await young.listen(protoc)
        await revoke(api, before=int((now - 5) * 1_000_000))
        for listener in cut:
            await listener.ended()
        await young.caught_up(stays)
        assert [await is_good(who) for who in (old, unknown, young)] == [False, False, True]


async def test_revocations_outlive_the_process(start_server: Any) -> None:
    server = start_server("embedded")
    async with Api(server.url) as api:
        alice, bob = await holder(api, fresh("alice")), await holder(api, fresh("bob"), 3)
        await revoke(api, session=alice.session)
        await revoke(api, session=bob.session, platform=3)
        await revoke(api, before=1_000_000)
        server.kill9()
        server.restart()
        assert [await is_good(who) for who in (alice, bob, await holder(api, alice.session))] == [False, False, True]
        assert not await is_good(Person(api, bob.session, 3)), "without iat"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, {"session", "before"}),
        ({"platform": 1}, {"session"}),
        ({"platform": 1, "before": 5}, {"session"}),
        ({"session": ""}, {"session"}),
        ({"session": None}, {"session"}),
        ({"session": 7}, {"session"}),
        ({"session": "a\x00"}, {"session"}),
        ({"session": "a", "platform": "1"}, {"platform"}),
        ({"session": "a", "platform": -1}, {"platform"}),
        ({"session": "a", "before": -1}, {"before"}),
        ({"session": "a", "before": 1.5}, {"before"}),
        ({"session": "a", "before": 2**63}, {"before"}),
        ({"session": "a", "before": 2**63 - 1}, {"before"}),
        ({"before": 2**62}, {"before"}),
    ],
    ids=lambda value: repr(sorted(value) if isinstance(value, set) else value),
)
async def test_what_is_no_revocation_is_refused(api: Api, fields: dict[str, Any], wrong: set[str]) -> None:
    assert set((await api.inner("revoke_token", **fields)).refused(10001)) == wrong


async def test_calls_that_wait_behind_a_revocation_are_not_carried_out(api: Api) -> None:
    """Frames that were on their way when the token was revoked have no effect, and nothing comes after the end."""
    who = await holder(api, fresh("alice"))
    conversation = await api.conversation(who.session, fresh("bob"))
    socket = await who.listen_ws()
    await revoke(api, session=who.session)
    frame = {"id": 1, "method": "send_msg", "params": {"conversation_id": conversation, "content": "too late"}}
    with suppress(websockets.ConnectionClosed):
        for _ in range(100):
            await socket.socket.send(json.dumps(frame))
    await socket.ended()
    assert socket.answers == []
    newer = await holder(api, who.session)
    assert await newer.history(conversation) == []


async def test_it_is_for_the_back_end_only(api: Api, alice: Person) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7"}
    answer = await api.request("POST", "/revoke_token", token=alice.token, json={"session": "a"}, headers=headers)
    answer.refused(10004)


async def test_a_listener_without_a_token_left_gets_no_stream(api: Api) -> None:
    who = await holder(api, fresh("alice"))
    await revoke(api, session=who.session)
    with pytest.raises(RefusedError) as refused:
        await who.listen_sse()
    assert refused.value.status == 401
