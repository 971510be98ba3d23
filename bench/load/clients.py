"""A process that runs clients of the library ``gateway.client`` and nothing else, so that its CPU time and its memory
are theirs: ``python -m bench.load.clients URL``. It reads commands, a line of JSON each, and answers each with a line;
it ends with its standard input.

Law: asyncio's own loop and the collector run as in an app that changed neither. Every client gets the messages of a
conversation from Seq 1 on, without a hole and without a repeat, all clients the same; anything else ends the process.
"""

import asyncio
import json
import sys
import time
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from bench.alarm import BenchmarkError
from bench.load.senders import CONTENT_BYTES
from gateway.client import Client, Message, MessageCame, NoticeCame, Protocol, StateChanged
from quickim.tasks import cancel, spawn

LINE_BYTES = 2**24
"""The longest answer: the receipts of a round."""
_OPENED_AT_ONCE = 100


class _Ledger:
    """What all followers of a process got."""

    def __init__(self) -> None:
        self.received = 0
        self.breaks = 0
        """Connections that were opened again."""
        self.delays = array("d")
        self.messages: dict[str, list[str]] = {}
        """MsgIds by conversation; a message's Seq tells its place."""
        self.stirred = asyncio.Event()

    def take(self, seqs: dict[str, int], message: Message) -> None:
        """The next message of somebody who has got as far as ``seqs``. Raises BenchmarkError when it is another."""
        conversation, seq, msg_id = message["ConversationID"], message["Seq"], message["MsgId"]
        before = seqs.get(conversation, 0)
        known = self.messages.setdefault(conversation, [])
        if seq == len(known) + 1:
            known.append(msg_id)
        if seq != before + 1 or known[before] != msg_id:
            raise BenchmarkError(f"the client brought {msg_id} (Seq {seq}) after Seq {before}")
        seqs[conversation] = seq
        self.delays.append((time.perf_counter_ns() - int(message["Content"][11:31])) / 1e9)
        self.received += 1
        self.stirred.set()


class _Follower:
    """A client that is connected, and an app that takes what it brings."""

    def __init__(self, client: Client, ledger: _Ledger) -> None:
        self._client, self._ledger = client, ledger
        self._seqs: dict[str, int] = {}

    async def follow(self) -> None:
        """Until the client is closed."""
        ledger, seqs = self._ledger, self._seqs
        async for event in self._client.events():
            match event:
                case MessageCame(message):
                    ledger.take(seqs, message)
                case StateChanged("waiting"):
                    ledger.breaks += 1
                case NoticeCame() | StateChanged():
                    pass
                case _:
                    raise BenchmarkError(f"the client told {event!r}")


class Clients:
    """The commands; what each returns is its answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ledger = _Ledger()
        self._clients: list[Client] = []
        self._following: list[asyncio.Task[None]] = []
        self._cpu_before = 0.0

    async def open(self, protocol: Protocol, tokens: Sequence[str]) -> None:
        """A client for each of ``tokens``, connected by ``protocol`` alone."""
        for start in range(0, len(tokens), _OPENED_AT_ONCE):
            opened = [Client(self._url, each, protocols=(protocol,)) for each in tokens[start:][:_OPENED_AT_ONCE]]
            self._following += [spawn(_Follower(each, self._ledger).follow(), "follow") for each in opened]
            self._clients += opened
            await asyncio.gather(*(each.connect() for each in opened))

    async def close(self) -> None:
        """Disconnects all."""
        await asyncio.gather(*(each.close() for each in self._clients))
        await cancel(self._following)
        self._clients, self._following, self._ledger = [], [], _Ledger()

    async def begin(self) -> None:
        """A round begins."""
        self._ledger.received, self._ledger.breaks = 0, 0
        del self._ledger.delays[:]
        self._cpu_before = time.process_time()

    async def end(self, deliveries: int) -> dict[str, Any]:
        """Waits until so many messages were received in the round; what they cost, and how long they took."""
        ledger = self._ledger
        while ledger.received < deliveries:
            ledger.stirred.clear()
            stirred = spawn(_waiting(ledger.stirred), "stirred")
            await asyncio.wait([stirred, *self._following], return_when=asyncio.FIRST_COMPLETED)
            for over in (each for each in self._following if each.done()):
                over.result()
                raise BenchmarkError("a client ended")
        cpu = time.process_time() - self._cpu_before
        if ledger.received > deliveries:
            raise BenchmarkError(f"{ledger.received} messages were received, {deliveries} are due")
        ordered = sorted(ledger.delays)
        delays = {f"p{percent} ms": 1000 * ordered[len(ordered) * percent // 100] for percent in (50, 99)}
        return {"cpu": cpu, "delays": delays, "breaks": ledger.breaks}

    async def received(self) -> dict[str, list[str]]:
        """MsgIds by conversation, since they were opened."""
        return self._ledger.messages

    async def send(
        self, conversation: str, tokens: Sequence[str], numbers: Sequence[int], rate: float
    ) -> dict[str, Any]:
        """Sends the messages ``numbers`` at a pace, whatever the server does, with a client for each of ``tokens`` in
        turn: what that cost, and their MsgIds. A message holds its number, and when it was due."""
        async with AsyncExitStack() as exits:
            clients = [await exits.enter_async_context(Client(self._url, each)) for each in tokens]
            cpu, begin, sending = time.process_time(), time.perf_counter(), []
            for turn, number in enumerate(numbers):
                due = begin + turn / rate
                if (pause := due - time.perf_counter()) > 0:
                    await asyncio.sleep(pause)
                content = f"{number:010d} {round(due * 1e9):020d} ".ljust(CONTENT_BYTES, "m")
                sending.append(spawn(clients[turn % len(clients)].send(conversation, content), "send"))
            receipts = await asyncio.gather(*sending)
            cpu = time.process_time() - cpu
        return {"cpu": cpu, "acknowledged": [each["MsgID"] for each in receipts]}


async def _waiting(stirred: asyncio.Event) -> None:
    await stirred.wait()


async def main(url: str) -> None:
    """Commands until the end of the input."""
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    clients = Clients(url)
    while line := await reader.readline():
        name, params = json.loads(line)
        print(json.dumps(await getattr(clients, name)(**params)), flush=True)
    await clients.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
