"""What is sent is what is received, byte for byte, through every door and on every protocol."""

import asyncio
import json

from tests.clients import Api, Person, Protoc

TEXTS = {
    "empty": "",
    "blanks": " \t leading and trailing \t ",
    "emoji with joiners": "👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇨🇭",
    "chinese": "会话消息内容，。「」",
    "outside the first plane": "𠀀𪜀𝔘𐍈\U0010ffff",
    "right to left": "שלום \u200fمرحبا\u200e \u202eabc\u202c",
    "combining": "e\u0301 é Z͑ͫ̓ͪ̂ͫ̽a̴l̶g̷o ก็็็ ệ",
    "hangul in parts": "\u1112\u1161\u11ab 한",
    "control characters": "".join(map(chr, [*range(1, 32), 127, *range(128, 160)])),
    "line ends": "a\nb\r\nc\rd\n\n\r\r\n",
    "unicode line ends": "a\u2028b\u2029c\u0085d\u000be\u000cf",
    "looks like an event": "x\n\nevent: bye\ndata: {}\n\nid: 1\nretry: 1\n: comment",
    "quotes and slashes": "\"\\/'`\\n\\u0000 </script><!-- ]]> %00 %s {0} ${x}",
    "byte order mark": "\ufeffa\ufeff",
    "no characters": "\ufffe\uffff\ufdd0\U0001fffe",
    "replacement": "\ufffd",
    "zero width": "a\u200bb\u2060c\u00ad",
    "sql": "'; DROP TABLE messaging_message; --",
    "json": '{"MsgId": "x", "Event": "bye"}',
    "64 KiB of ASCII": "0123456789abcdef" * 4096,
    "64 KiB of what grows when escaped": "\x01" * 65536,
    "64 KiB of four-byte characters": "🦀" * 16384,
}


async def test_texts_round_trip_on_every_protocol_and_in_history(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listener = await bob.listen(protoc)
    for text in TEXTS.values():
        await alice.send(room, text)
    expected = [ascii(text) for text in TEXTS.values()]
    assert [ascii(one["Content"]) for one in await listener.messages_in(room, len(TEXTS), 20)] == expected
    assert [ascii(message["Content"]) for message in await bob.history(room)] == expected


async def test_texts_round_trip_when_sent_over_a_websocket(alice: Person, bob: Person, room: str) -> None:
    sender, listener = await asyncio.gather(alice.listen_ws(), bob.listen_ws())
    for text in TEXTS.values():
        answer = await sender.call("send_msg", {"conversation_id": room, "content": text})
        assert answer["code"] == 0, answer
    expected = [ascii(text) for text in TEXTS.values()]
    for one in (sender, listener):
        assert [ascii(message["Content"]) for message in await one.messages_in(room, len(TEXTS))] == expected
    assert [ascii(message["Content"]) for message in await bob.history(room)] == expected


async def test_escaped_and_raw_json_store_the_same_text(api: Api, alice: Person, room: str) -> None:
    for text in TEXTS.values():
        for escaped in (False, True):
            body = json.dumps({"conversation_id": room, "content": text}, ensure_ascii=escaped).encode()
            (await api.request("POST", "/send_msg", token=alice.token, content=body)).succeeded()
    contents = [message["Content"] for message in await alice.history(room)]
    assert contents[0::2] == contents[1::2] == list(TEXTS.values())


async def test_texts_round_trip_from_the_back_end(api: Api, alice: Person, room: str) -> None:
    for text in TEXTS.values():
        await api.post(room, text)
    assert [message["Content"] for message in await alice.history(room)] == list(TEXTS.values())


async def test_every_member_gets_the_same_bytes_by_event_stream(alice: Person, bob: Person, room: str) -> None:
    streams = [await who.listen_sse() for who in (alice, bob, alice)]
    for text in TEXTS.values():
        await alice.send(room, text)
    for stream in streams:
        await stream.messages_in(room, len(TEXTS))
    first, *others = ([raw for raw in stream.raw if b'"MsgId"' in raw] for stream in streams)
    assert len(first) == len(TEXTS)
    assert all(other == first for other in others)
