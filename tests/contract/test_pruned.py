"""Retention as clients see it: whoever missed what is not kept any more is told ``reset``; nobody else notices."""

import asyncio

import pytest

from tests.clients import Api, Listener, Person, Protoc, fresh
from tests.servers import Server

RESET = {"Event": "reset"}


async def prune(server: Server, *conversations: str, age: str = "0s") -> None:
    """Deletes what is older in these conversations, from outside."""
    for conversation in conversations:
        arguments = ["--older-than", age, "--conversation", conversation]
        await asyncio.to_thread(server.manage, "prune_messages", *arguments)


def sequence(listener: Listener, conversation: str) -> list[int]:
    """The Seq of what it received, in order of arrival."""
    return [message["Seq"] for message in listener.of(conversation)]


def resets(listener: Listener) -> int:
    """How often it was told."""
    return listener.notices.count(RESET)


async def test_a_cursor_older_than_what_is_kept_gets_one_reset_and_then_the_live_stream(
    server: Server, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(4)]
    await prune(server, room)
    kept = await alice.send(room, "kept")
    listener = await bob.listen(protoc, since=sent[1]["MsgID"])
    await listener.notice("reset")
    assert listener.messages == []
    live = await alice.send(room, "live")
    assert (await listener.message())["MsgId"] == live["MsgID"]
    await bob.caught_up(listener)
    assert (sequence(listener, room), resets(listener)) == ([6], 1)
    assert [message["MsgId"] for message in await bob.history(room)] == [kept["MsgID"], live["MsgID"]]
    await listener.close()
    # A bare MsgId of another conversation would reach ten seconds back here, behind what was pruned just now.
    after = await bob.listen(protoc, since=listener.cursor if protoc == "poll" else live["MsgID"])
    await alice.send(room, "after")
    await bob.caught_up(after)
    assert (sequence(after, room), resets(after)) == ([7], 0)


async def test_a_browser_that_reconnects_is_told_by_last_event_id_too(
    server: Server, alice: Person, bob: Person, room: str
) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(3)]
    await prune(server, room)
    stream = await bob.listen_sse(last_event_id=sent[0]["MsgID"])
    assert await stream.notice("reset") == RESET


async def test_a_cursor_of_polling_is_told_on_every_protocol(
    server: Server, api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    # Elsewhere: here his next poll would go on with what is kept of this one.
    cursor = (await api.poll(bob.on(2).token)).data["Cursor"]
    await alice.send(room, "missed")
    await prune(server, room)
    listener = await bob.listen(protoc, since=cursor)
    await listener.notice("reset")
    await alice.send(room, "live")
    await bob.caught_up(listener)
    assert (sequence(listener, room), resets(listener)) == ([2], 1)


async def test_a_cursor_within_what_is_kept_resumes_exactly(
    server: Server, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(3)]
    await prune(server, room)
    sent += [await alice.send(room, f"{number}") for number in range(3, 6)]
    at_the_edge, within = [await bob.listen(protoc, since=sent[seen]["MsgID"]) for seen in (2, 3)]
    await bob.caught_up(at_the_edge, within)
    assert (sequence(at_the_edge, room), resets(at_the_edge)) == ([4, 5, 6], 0)
    assert (sequence(within, room), resets(within)) == ([5, 6], 0)


@pytest.mark.parametrize("then", ["ws", "sse", "poll"])
async def test_one_who_had_all_that_was_pruned_misses_nothing_elsewhere(
    server: Server, api: Api, alice: Person, bob: Person, room: str, then: Protoc
) -> None:
    other = await api.conversation(alice.session, bob.session)
    before = await bob.listen("poll")
    for _ in range(3):
        await alice.send(room, "had")
    await before.messages_in(room, 3)
    await bob.caught_up(before)
    await before.close()
    await prune(server, room)
    await alice.send(other, "missed")
    after = await bob.listen(then, since=before.cursor)
    await bob.caught_up(after)
    assert (sequence(after, room), sequence(after, other), resets(after)) == ([], [1], 0)


async def test_one_pruned_conversation_of_many_is_enough(
    server: Server, api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    others = [await api.conversation(alice.session, bob.session) for _ in range(5)]
    cursor = (await api.poll(bob.on(2).token)).data["Cursor"]
    for conversation in (room, *others):
        await alice.send(conversation, "missed")
    await prune(server, others[3])
    listener = await bob.listen(protoc, since=cursor)
    await listener.notice("reset")
    await bob.caught_up(listener)
    assert resets(listener) == 1
    assert [sequence(listener, conversation) for conversation in others] == [[]] * 5


async def test_who_joined_after_what_was_pruned_lost_nothing(
    server: Server, alice: Person, charlie: Person, room: str, protoc: Protoc
) -> None:
    old = await alice.send(room, "before charlie")
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    await prune(server, room)
    await alice.send(room, "with charlie")
    listener = await charlie.listen(protoc, since=old["MsgID"])
    await charlie.caught_up(listener)
    assert (sequence(listener, room), resets(listener)) == ([2], 0)


async def test_a_conversation_of_which_nothing_is_left_goes_on(
    server: Server, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    old = await alice.send(room, "same", client_msg_id="once")
    assert await alice.send(room, "same", client_msg_id="once") == old
    listener = await bob.listen(protoc)
    await prune(server, room)
    assert await alice.history(room) == []
    detail = (await alice.call("get_conversation_detail", conversation_id=room)).data
    assert (detail["LastMsgID"], detail["LastSendTime"]) == (old["MsgID"], old["SendTime"])
    assert (await alice.call("get_lastone_msgid", conversation_id=room)).data == {"MsgId": old["MsgID"]}
    assert (await alice.call("get_conversation_lastone_msg", conversation_id=room)).data == {"Msg": []}
    # What it was the repeat of is not kept any more.
    new = await alice.send(room, "same", client_msg_id="once")
    assert new["MsgID"] > old["MsgID"]
    await bob.caught_up(listener)
    assert (sequence(listener, room), resets(listener)) == ([2], 0)


@pytest.mark.slow
async def test_pruning_amid_traffic_fails_no_send_and_shows_to_nobody_who_keeps_up(server: Server, api: Api) -> None:
    people = [Person(api, fresh(f"person{number}")) for number in range(4)]
    rooms = [await api.conversation(*(who.session for who in people)) for _ in range(3)]
    listeners = [await people[0].listen(protoc) for protoc in ("ws", "sse", "poll")]
    is_over = asyncio.Event()
    sent: dict[str, list[str]] = {room: [] for room in rooms}

    async def talk(who: Person, number: int) -> None:
        while not is_over.is_set():
            number += 1
            room = rooms[number % 3]
            # Fails on anything but success.
            sent[room].append((await who.send(room, f"{number}"))["MsgID"])

    talking = [asyncio.create_task(talk(who, number)) for number, who in enumerate(people)]
    arguments = ["--older-than", "3s", "--type", "7", "--batch", "20", "--pause", "0.01"]
    pruned = 0
    while pruned < 2:
        done = await asyncio.to_thread(server.manage, "prune_messages", *arguments)
        pruned += not done.stdout.startswith("deleted 0 ")
    is_over.set()
    await asyncio.gather(*talking)
    for room in rooms:
        ids = sorted(sent[room])
        for listener in listeners:
            await listener.messages_in(room, len(ids), 30)
            assert [message["MsgId"] for message in listener.of(room)] == ids
            assert sequence(listener, room) == list(range(1, len(ids) + 1))
        history = await people[0].history(room)
        assert history == listeners[0].of(room)[-len(history) :]
        assert 0 < len(history) < len(ids)
    assert [resets(listener) for listener in listeners] == [0, 0, 0]
