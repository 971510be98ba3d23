"""Polling: what one answer holds, how long it waits, and that a cursor neither repeats nor loses."""

import asyncio
import re
import time
from collections import Counter

import pytest

from tests.clients import Api, Message, Person, fresh

URL_SAFE = re.compile(r"[A-Za-z0-9_.~-]{1,512}")


async def test_a_poll_without_news_waits_and_returns_empty_lists(api: Api, alice: Person) -> None:
    before = time.monotonic()
    answer = await api.poll(alice.token)
    assert 0.9 <= time.monotonic() - before < 5
    assert answer.body == {"code": 0, "data": {"Msg": [], "Event": [], "Cursor": answer.data["Cursor"]}}
    assert URL_SAFE.fullmatch(answer.data["Cursor"])


async def fresh_cursor(api: Api, who: Person, conversation: str) -> str:
    """The Cursor of a poll that had something to tell, and so needed no wait."""
    position = (await who.send(conversation, "a position"))["MsgID"]
    await who.send(conversation, "something to tell")
    data = (await api.poll(who.token, since=position)).data
    assert [message["Content"] for message in data["Msg"]] == ["something to tell"]
    cursor: str = data["Cursor"]
    return cursor


@pytest.mark.settings(QUICKIM_POLL_WAIT_SECONDS="20")
async def test_a_poll_returns_as_soon_as_there_is_something(api: Api, alice: Person, room: str) -> None:
    waiting = asyncio.create_task(api.poll(alice.token, since=await fresh_cursor(api, alice, room)))
    done, _ = await asyncio.wait([waiting], timeout=0.5)
    assert not done, "a poll with nothing to tell waits"
    before = time.monotonic()
    await alice.send(room, "second")
    data = (await waiting).data
    assert time.monotonic() - before < 2
    assert [message["Content"] for message in data["Msg"]] == ["second"]


@pytest.mark.settings(QUICKIM_POLL_WAIT_SECONDS="20")
async def test_a_notice_ends_the_wait_of_a_poll_too(api: Api, alice: Person) -> None:
    cursor = await fresh_cursor(api, alice, await api.conversation(alice.session))
    waiting = asyncio.create_task(api.poll(alice.token, since=cursor))
    created = await api.conversation(alice.session)
    async with asyncio.timeout(5):
        data = (await waiting).data
    assert data["Msg"] == []
    assert [(one["Event"], one["ConversationID"]) for one in data["Event"]] == [("conversation.joined", created)]


async def backlog(alice: Person, room: str, count: int, content: str) -> str:
    """Sends a first message and ``count`` more; returns the MsgId of the first."""
    position = (await alice.send(room, "first"))["MsgID"]
    await alice.pour(room, [content] * count)
    assert isinstance(position, str)
    return position


async def test_an_answer_holds_at_most_500_messages(api: Api, alice: Person, room: str) -> None:
    cursor = await backlog(alice, room, 1100, "x")
    sizes, received = [], list[Message]()
    while len(received) < 1100:
        data = (await api.poll(alice.token, since=cursor)).data
        sizes.append(len(data["Msg"]))
        received += data["Msg"]
        cursor = data["Cursor"]
        assert URL_SAFE.fullmatch(cursor)
        assert sizes[-1], "an answer without messages amid a backlog"
    assert max(sizes) <= 500
    assert [message["Seq"] for message in received] == list(range(2, 1102))


async def test_an_answer_holds_at_most_a_mebibyte(api: Api, alice: Person, room: str) -> None:
    cursor = await backlog(alice, room, 30, "x" * 65536)
    received = list[Message]()
    while len(received) < 30:
        answer = await api.poll(alice.token, since=cursor)
        assert len(answer.content) <= 1024 * 1024 + 2048, "1 MiB of messages and their envelope"
        assert answer.data["Msg"]
        received += answer.data["Msg"]
        cursor = answer.data["Cursor"]
    assert [message["Seq"] for message in received] == list(range(2, 32))


async def test_polling_on_with_the_cursor_repeats_nothing_and_loses_nothing(api: Api) -> None:
    people = [Person(api, fresh(f"person{number}")) for number in range(8)]
    conversations = [await api.conversation(*(who.session for who in people)) for _ in range(5)]
    listener = await people[0].listen("poll")

    async def talk(who: Person, offset: int) -> None:
        for number in range(20):
            await who.send(conversations[(number + offset) % 5], f"{number}")

    await asyncio.gather(*(talk(who, offset) for offset, who in enumerate(people)))
    await listener.wait_until(lambda: len({one["MsgId"] for one in listener.messages}) == 160, 20)
    await people[0].caught_up(listener)
    assert set(Counter(message["MsgId"] for message in listener.messages).values()) == {1}
    for conversation in conversations:
        assert listener.of(conversation) == await people[0].history(conversation)


async def test_the_same_cursor_brings_the_same_again(api: Api, alice: Person, room: str) -> None:
    """A client that crashed before it stored the answer asks with the old cursor and misses nothing."""
    start = (await api.poll(alice.token)).data["Cursor"]
    for text in ("one", "two"):
        await alice.send(room, text)
    first = (await api.poll(alice.token, since=start)).data
    await api.poll(alice.token, since=first["Cursor"])
    again = (await api.poll(alice.token, since=start)).data
    assert [message["Content"] for message in again["Msg"]] == ["one", "two"]
    assert again["Msg"][: len(first["Msg"])] == first["Msg"]


async def test_a_simple_poller_without_a_cursor_goes_on_where_it_was(api: Api, alice: Person, room: str) -> None:
    assert (await api.poll(alice.token)).data["Msg"] == []
    received = []
    for number in range(5):
        await alice.send(room, f"{number}")
        received += (await api.poll(alice.token)).data["Msg"]
    assert [message["Content"] for message in received] == [f"{number}" for number in range(5)]


async def test_a_simple_poller_of_another_platform_starts_now(api: Api, alice: Person, room: str) -> None:
    await api.poll(alice.token)
    await alice.send(room, "before")
    assert (await api.poll(alice.on(2).token)).data["Msg"] == []
    assert [message["Content"] for message in (await api.poll(alice.token)).data["Msg"]] == ["before"]
