"""An acknowledged send is committed: whatever kills the server, it is there afterwards, once."""

import asyncio
import random
from collections.abc import Callable

import httpx
import pytest

from tests.clients import Api, Person, fresh
from tests.servers import Flavour, Server

SENDERS = 20


class Traffic:
    """Twenty senders who repeat each message under its client_msg_id until it is acknowledged."""

    def __init__(self, api: Api, people: list[Person], rooms: list[str]) -> None:
        self.api, self.people, self.rooms = api, people, rooms
        self.acknowledged: dict[str, dict[str, object]] = {}
        self.stopping = asyncio.Event()
        self.server_is_up = asyncio.Event()
        self.uncertain = 0
        self._progress = asyncio.Event()

    async def all_talk(self) -> None:
        """Every sender talks until told to stop."""
        await asyncio.gather(*(self.talk(who, number) for number, who in enumerate(self.people)))

    async def talk(self, who: Person, number: int) -> None:
        """Sends until told to stop; stops only after an acknowledgement."""
        count = 0
        while not self.stopping.is_set():
            count += 1
            text = f"{number}/{count}"
            room = self.rooms[count % len(self.rooms)]
            while True:
                await self.server_is_up.wait()
                try:
                    answer = await who.call("send_msg", conversation_id=room, content=text, client_msg_id=text)
                except httpx.TransportError:
                    self.uncertain += 1
                    continue
                if answer.status == 503:
                    self.uncertain += 1
                    continue
                self.acknowledged[text] = {**answer.data, "room": room}
                self._progress.set()
                break

    async def go_on_for(self, count: int) -> None:
        """Returns when ``count`` more sends are acknowledged; others are in flight then."""
        enough = len(self.acknowledged) + count
        while len(self.acknowledged) < enough:
            self._progress.clear()
            await self._progress.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("flavour", "kills"), [("embedded", 10), ("cluster", 2), ("workers", 2)])
async def test_kill_9_amid_traffic_loses_no_acknowledged_message_and_doubles_none(
    start_server: Callable[..., Server], flavour: Flavour, kills: int
) -> None:
    server = start_server(flavour)
    choice = random.Random(9)
    async with Api(server.url) as api:
        people = [Person(api, fresh(f"sender{number}")) for number in range(SENDERS)]
        rooms = [await api.conversation(*(who.session for who in people)) for _ in range(4)]
        traffic = Traffic(api, people, rooms)
        traffic.server_is_up.set()
        talking = asyncio.create_task(traffic.all_talk())
        for _ in range(kills):
            progress = asyncio.create_task(traffic.go_on_for(choice.randrange(100, 300)))
            await asyncio.wait([progress, talking], timeout=30, return_when=asyncio.FIRST_COMPLETED)
            assert progress.done(), talking
            server.kill9()
            traffic.server_is_up.clear()
            await asyncio.to_thread(server.restart)
            traffic.server_is_up.set()
        traffic.stopping.set()
        async with asyncio.timeout(30):
            await talking
        assert traffic.uncertain >= kills, "no kill hit a send in flight"
        stored = {room: await people[0].history(room) for room in rooms}
        for messages in stored.values():
            assert [message["Seq"] for message in messages] == list(range(1, len(messages) + 1))
        texts = [message["Content"] for messages in stored.values() for message in messages]
        assert len(set(texts)) == len(texts), "a message is there twice"
        assert {
            message["Content"]: (message["MsgId"], message["SendTime"], room)
            for room, messages in stored.items()
            for message in messages
        } == {text: (one["MsgID"], one["SendTime"], one["room"]) for text, one in traffic.acknowledged.items()}
