"""The Python client when tokens are revoked, and while the keys that sign them are changed."""

import asyncio
from collections.abc import Callable

import pytest

from tests.client.following import Following
from tests.clients import Api, Person, Protoc, fresh
from tests.contract.test_revocation import revoke
from tests.servers import Server

PROTOCS: tuple[Protoc, ...] = ("ws", "sse", "poll")
OLD = "old:a-key-of-last-year-that-is-long-enough-to-sign-with"
NEW = "new:a-key-of-this-year-that-is-long-enough-to-sign-with"


class BackEnd:
    """The product's: issues tokens for ``session`` when the client asks, and counts."""

    def __init__(self, api: Api, session: str) -> None:
        self.api, self.session = api, session
        self.issued: list[str] = []

    async def __call__(self) -> str:
        """The token callback."""
        self.issued.append((await self.api.inner("get_token", session=self.session, platform=1)).data)
        return self.issued[-1]


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_revoked_token_is_replaced_by_the_callback_which_is_asked_once(
    server: Server, api: Api, alice: Person, bob: str, room: str, protoc: Protoc
) -> None:
    back_end = BackEnd(api, bob)
    async with Following(server.url, back_end, protocols=(protoc,)) as following:
        await revoke(api, session=bob)
        await following.until(lambda: following.states[-1].state == "connected" and len(back_end.issued) == 2)
        await alice.send(room, "after")
        assert await following.has(1) == ["after"]
        assert following.resets == []
    assert len(back_end.issued) == 2


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_callback_that_fails_for_a_while_is_asked_again(
    server: Server, api: Api, alice: Person, bob: str, room: str, protoc: Protoc
) -> None:
    """At first when the connection ends, then when it is opened again with the token that was revoked."""
    back_end, failures = BackEnd(api, bob), [OSError("down")] * 2

    async def ask() -> str:
        if back_end.issued and failures:
            raise failures.pop()
        return await back_end()

    async with Following(server.url, ask, protocols=(protoc,)) as following:
        await revoke(api, session=bob)
        await following.until(lambda: following.states[-1].state == "connected" and len(back_end.issued) == 2)
        await alice.send(room, "after")
        assert await following.has(1) == ["after"]
        assert following.ended is None


@pytest.mark.parametrize("is_callback", [True, False])
@pytest.mark.parametrize("protoc", PROTOCS)
async def test_without_another_token_a_revocation_is_the_end(
    server: Server, api: Api, bob: str, room: str, protoc: Protoc, is_callback: bool
) -> None:
    token = (await api.inner("get_token", session=bob, platform=1)).data
    async with Following(server.url, (lambda: token) if is_callback else token, protocols=(protoc,)) as following:
        await revoke(api, session=bob)
        await following.until(lambda: following.ended is not None)
        assert following.ended is not None
        # A poll that comes too late for the notice is refused by its envelope.
        assert following.ended.code in ((4503, 10101) if protoc == "poll" else (4503,))
        assert "token" in str(following.ended)
        assert following.client.state == "ended"


@pytest.mark.slow
async def test_keys_are_changed_under_clients_that_notice_nothing(start_server: Callable[..., Server]) -> None:
    """The new key is added last, then put first, then the old one is taken away: each time node after node."""
    server = start_server("nodes", QUICKIM_JWT_KEYS=OLD)
    async with Api(*(node.url for node in server.nodes)) as api:
        session = fresh("bob")
        alice, back_end = Person(api, "alice", token=await issued(api, "alice")), BackEnd(api, session)
        room = await api.conversation("alice", session)
        following: list[Following] = []
        try:
            for node, protoc in zip((*server.nodes, server), PROTOCS, strict=True):
                one = Following(node.url, back_end, protocols=(protoc,))
                following.append(await one.__aenter__())
            for number, keys in enumerate((f"{OLD},{NEW}", f"{NEW},{OLD}")):
                await roll(server, keys)
                await alice.send(room, f"{number}")
                for one in following:
                    await one.has(number + 1)
            assert len(back_end.issued) == 3, "old tokens go on"
            await roll(server, NEW)
            (await alice.call("get_joined_conversation")).refused(10101)
            alice = Person(api, "alice", token=await issued(api, "alice"))
            await alice.send(room, "2")
            for one in following:
                assert await one.has(3) == ["0", "1", "2"]
                assert one.ended is None
            assert 4 <= len(back_end.issued) <= 6, "each asked its callback once"
        finally:
            for one in following:
                await one.__aexit__(None, None, None)


async def issued(api: Api, session: str) -> str:
    """A token of the server's."""
    return str((await api.inner("get_token", session=session, platform=1)).data)


async def roll(server: Server, keys: str) -> None:
    """A rolling restart with these keys."""
    for node in server.nodes:
        await asyncio.to_thread(node.terminate)
        node.environment["QUICKIM_JWT_KEYS"] = keys
        await asyncio.to_thread(node.restart)
