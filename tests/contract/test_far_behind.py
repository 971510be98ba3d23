"""A long absence: 10,000 missed messages are paged through, one more is a ``reset`` and a fresh start."""

import asyncio

import pytest

from tests.clients import Api, Person, Protoc, fresh
from tests.servers import Server

MISSED_AT_MOST = 10_000
_WRITTEN: dict[str, tuple[str, str, str]] = {}
"""server → conversation, its first message (10,000 follow it), and a suffix of its readers' names."""


async def long_conversation(server: Server, api: Api, name: str) -> tuple[Person, str, str]:
    """A reader, his conversation, a position that 10,000 messages follow; written once for each server."""
    if server.url not in _WRITTEN:
        writer = Person(api, fresh("writer"))
        suffix = fresh("")
        readers = (f"prompt{suffix}", f"late{suffix}")
        conversation = await api.conversation(*readers, writer.session)
        position = (await writer.send(conversation, "position"))["MsgID"]
        await writer.pour(conversation, ["missed"] * MISSED_AT_MOST)
        _WRITTEN[server.url] = conversation, position, suffix
    conversation, position, suffix = _WRITTEN[server.url]
    return Person(api, name + suffix), conversation, position


@pytest.mark.slow
async def test_exactly_10000_missed_messages_are_paged_through(server: Server, api: Api, protoc: Protoc) -> None:
    reader, conversation, position = await long_conversation(server, api, "prompt")
    listener = await reader.listen(protoc, since=position)
    messages = await listener.messages_in(conversation, MISSED_AT_MOST, 60)
    assert [message["Seq"] for message in messages] == list(range(2, MISSED_AT_MOST + 2))
    assert "reset" not in {notice["Event"] for notice in listener.notices}


@pytest.mark.slow
async def test_beyond_10000_a_reset_is_told_and_the_stream_starts_now(server: Server, api: Api, protoc: Protoc) -> None:
    reader, conversation, position = await long_conversation(server, api, "late")
    elsewhere = await api.conversation(reader.session)
    await api.post(elsewhere, "one more than 10,000")
    listener = await reader.listen(protoc, since=position)
    reset = await listener.notice("reset")
    assert "MsgId" not in reset
    live = await api.post(elsewhere, "live again")
    message = await listener.message()
    assert (message["MsgId"], message["Seq"]) == (live["MsgID"], 2)
    assert listener.of(conversation) == []


@pytest.mark.slow
async def test_a_reset_leaves_a_cursor_to_go_on_with(server: Server, api: Api) -> None:
    reader, _, position = await long_conversation(server, api, "late")
    elsewhere = await api.conversation(reader.session)
    await api.post(elsewhere, "one more than 10,000")
    data = (await api.poll(reader.token, since=position)).data
    assert [notice["Event"] for notice in data["Event"] if notice["Event"] == "reset"] == ["reset"]
    assert data["Msg"] == []
    await asyncio.gather(*(api.post(elsewhere, "after") for _ in range(3)))
    after = (await api.poll(reader.token, since=data["Cursor"])).data
    assert {message["Content"] for message in after["Msg"]} == {"after"}
