"""Reading back: windows, ranges and their edges, in Seq order whatever the order of the answer."""

import pytest

from tests.clients import Api, Message, Person, fresh
from tests.contract.test_conversations import archive, kick
from tests.servers import Server

LOWEST, HIGHEST = "22222-2222-2222-222", "ZZZZZ-ZZZZ-ZZZZ-ZZZ"


_WRITTEN: dict[tuple[str, int], tuple[str, str, list[Message]]] = {}
"""(server, count) → session, conversation, messages: written once for each server and never changed again."""


async def conversation_of(server: Server, api: Api, count: int) -> tuple[Person, str, list[Message]]:
    """Its reader, its id and its messages, oldest first, as the pages of 30 after each position tell them."""
    if (server.url, count) not in _WRITTEN:
        reader = Person(api, fresh("reader"))
        conversation = await api.conversation(reader.session)
        await reader.pour(conversation, [f"message {number}" for number in range(count)])
        messages: list[Message] = []
        while len(messages) < count:
            position = messages[-1]["MsgId"] if messages else LOWEST
            answer = await reader.call(
                "get_conversation_30msg_after_the_id", conversation_id=conversation, msg_id=position
            )
            assert answer.data["Msg"], "history ends too early"
            messages += answer.data["Msg"]
        _WRITTEN[server.url, count] = (reader.session, conversation, messages)
    session, conversation, messages = _WRITTEN[server.url, count]
    return Person(api, session), conversation, messages


async def read(who: Person, name: str, conversation: str, **fields: object) -> list[Message]:
    """The messages of one answer that holds nothing else."""
    data = (await who.call(name, conversation_id=conversation, **fields)).data
    assert set(data) == {"Msg"}
    messages: list[Message] = data["Msg"]
    return messages


async def read_range(who: Person, conversation: str, **fields: object) -> tuple[list[Message], bool]:
    """The messages of a range and HasMore."""
    data = (await who.call("get_conversation_msg_by_range", conversation_id=conversation, **fields)).data
    assert set(data) == {"Msg", "HasMore"}
    assert isinstance(data["HasMore"], bool)
    return data["Msg"], data["HasMore"]


async def test_history_holds_every_message_once_in_seq_order(server: Server, api: Api) -> None:
    _, _, messages = await conversation_of(server, api, 65)
    assert [message["Seq"] for message in messages] == list(range(1, 66))
    assert sorted(message["Content"] for message in messages) == sorted(f"message {n}" for n in range(65))


@pytest.mark.parametrize("at", [0, 1, 29, 30, 31, 40, 64])
async def test_the_30_before_a_message_are_the_nearest_strictly_before(server: Server, api: Api, at: int) -> None:
    reader, conversation, messages = await conversation_of(server, api, 65)
    expected = messages[max(0, at - 30) : at]
    name, position = "get_conversation_30msg_before_the_id", messages[at]["MsgId"]
    assert await read(reader, name, conversation, msg_id=position) == expected
    assert await read(reader, name, conversation, msg_id=position, desc=False) == expected
    assert await read(reader, name, conversation, msg_id=position, desc=True) == expected[::-1]


@pytest.mark.parametrize("at", [0, 20, 33, 34, 35, 63, 64])
async def test_the_30_after_a_message_are_the_nearest_strictly_after(server: Server, api: Api, at: int) -> None:
    reader, conversation, messages = await conversation_of(server, api, 65)
    expected = messages[at + 1 : at + 31]
    name, position = "get_conversation_30msg_after_the_id", messages[at]["MsgId"]
    assert await read(reader, name, conversation, msg_id=position) == expected
    assert await read(reader, name, conversation, msg_id=position, desc=True) == expected[::-1]


async def test_a_msgid_is_a_position_and_need_not_exist(server: Server, api: Api) -> None:
    reader, conversation, messages = await conversation_of(server, api, 65)
    before, after = "get_conversation_30msg_before_the_id", "get_conversation_30msg_after_the_id"
    assert await read(reader, before, conversation, msg_id=HIGHEST) == messages[-30:]
    assert await read(reader, before, conversation, msg_id=LOWEST) == []
    assert await read(reader, after, conversation, msg_id=LOWEST) == messages[:30]
    assert await read(reader, after, conversation, msg_id=HIGHEST) == []
    assert await read_range(reader, conversation, start_msg_id=LOWEST, end_msg_id=HIGHEST) == (
        messages,
        False,
    )
    elsewhere = await api.conversation(reader.session)
    foreign = (await api.post(elsewhere, "later than all"))["MsgID"]
    assert await read(reader, before, conversation, msg_id=foreign) == messages[-30:]


async def test_the_last_30_and_the_last_one(server: Server, api: Api) -> None:
    reader, conversation, messages = await conversation_of(server, api, 65)
    assert await read(reader, "get_conversation_last_30_msg", conversation) == messages[-30:]
    assert await read(reader, "get_conversation_last_30_msg", conversation, desc=True) == messages[-30:][::-1]
    for desc in (False, True):
        assert await read(reader, "get_conversation_lastone_msg", conversation, desc=desc) == messages[-1:]
    last = (await reader.call("get_lastone_msgid", conversation_id=conversation)).data
    assert last == {"MsgId": messages[-1]["MsgId"]}


async def test_an_empty_conversation_reads_as_nothing(alice: Person, room: str) -> None:
    assert (await alice.call("get_lastone_msgid", conversation_id=room)).data == {"MsgId": ""}
    assert await read(alice, "get_conversation_lastone_msg", room) == []
    assert await read(alice, "get_conversation_last_30_msg", room) == []
    assert await read(alice, "get_conversation_30msg_before_the_id", room, msg_id=HIGHEST) == []
    assert await read(alice, "get_conversation_30msg_after_the_id", room, msg_id=LOWEST) == []
    assert await read_range(alice, room) == ([], False)


@pytest.mark.parametrize(("start", "end"), [(0, 64), (0, 0), (10, 20), (64, 64), (20, 10), (64, 0)])
async def test_a_range_includes_both_ends_and_is_empty_when_turned_round(
    server: Server, api: Api, start: int, end: int
) -> None:
    reader, conversation, messages = await conversation_of(server, api, 65)
    ends = {"start_msg_id": messages[start]["MsgId"], "end_msg_id": messages[end]["MsgId"]}
    expected = messages[start : end + 1] if start <= end else []
    assert await read_range(reader, conversation, **ends) == (expected, False)
    assert await read_range(reader, conversation, **ends, desc=True) == (expected[::-1], False)


async def test_a_range_without_an_end_is_open_there(server: Server, api: Api) -> None:
    reader, conversation, messages = await conversation_of(server, api, 65)
    middle = messages[30]["MsgId"]
    for fields, expected in (
        ({}, messages),
        ({"start_msg_id": "", "end_msg_id": ""}, messages),
        ({"start_msg_id": middle}, messages[30:]),
        ({"start_msg_id": middle, "end_msg_id": ""}, messages[30:]),
        ({"end_msg_id": middle}, messages[:31]),
        ({"start_msg_id": "", "end_msg_id": middle}, messages[:31]),
    ):
        assert await read_range(reader, conversation, **fields) == (expected, False)


async def test_a_range_holds_at_most_1000_and_says_when_there_is_more(server: Server, api: Api) -> None:
    reader, conversation, messages = await conversation_of(server, api, 1005)
    assert await read_range(reader, conversation) == (messages[:1000], True)
    assert await read_range(reader, conversation, desc=True) == (messages[::-1][:1000], True)
    exactly = {"start_msg_id": messages[3]["MsgId"], "end_msg_id": messages[1002]["MsgId"]}
    assert await read_range(reader, conversation, **exactly) == (messages[3:1003], False)
    rest = {"start_msg_id": messages[1000]["MsgId"]}
    assert await read_range(reader, conversation, **rest) == (messages[1000:], False)


async def test_history_is_open_to_a_late_member_from_the_first_message(
    api: Api, alice: Person, charlie: Person, room: str
) -> None:
    for text in ("one", "two"):
        await alice.send(room, text)
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    assert await charlie.history(room) == await alice.history(room)
    assert [message["Seq"] for message in await charlie.history(room)] == [1, 2]


async def test_history_of_an_archived_conversation_stays_readable(api: Api, alice: Person, room: str) -> None:
    sent = await alice.send(room, "before")
    await archive(api, room)
    assert [message["MsgId"] for message in await alice.history(room)] == [sent["MsgID"]]
    assert (await alice.call("get_lastone_msgid", conversation_id=room)).data == {"MsgId": sent["MsgID"]}


async def test_who_is_let_back_in_reads_all_of_it(api: Api, alice: Person, bob: Person, room: str) -> None:
    await alice.send(room, "one")
    await kick(api, room, bob)
    await alice.send(room, "two")
    (await bob.call("get_conversation_last_30_msg", conversation_id=room)).refused(90015)
    (await api.inner("join_conversation", conversation_id=room, sessions=[bob.session])).succeeded()
    assert [message["Content"] for message in await bob.history(room)] == ["one", "two"]
