"""A crowd: WebSockets on several workers, each of a session that is a member of a small, a large and the largest
conversation.

Law: everything but the connections is made before the first of them.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import jwt

from bench.load.senders import Call, Sender, websocket_call, websocket_sender
from bench.load.streams import Tally, connect
from bench.load.wide import Clock, Mailbox, WideStream
from bench.stage import Stage

CONNECTIONS = 10_000
SMALL_MEMBERS, LARGE_MEMBERS = 10, 1_000
JWT_KEY = "a-key-of-the-benchmarks-and-of-nothing-else"
SETTINGS = {"QUICKIM_JWT_KEYS": f"bench:{JWT_KEY}"}
_OPENED_AT_ONCE = 50
_TOKEN_SECONDS = 3_600


@dataclass(frozen=True)
class Group:
    """Conversations of ``members`` sessions each, with those of the streams that send into them."""

    members: int
    conversations: Sequence[str]
    senders: Sequence[Sender]


@dataclass(frozen=True)
class Crowd:
    """``tokens`` and ``streams`` belong together; ``groups`` from the small conversations to the largest."""

    tokens: Sequence[str]
    streams: Sequence[WideStream]
    tally: Tally
    clock: Clock
    groups: Sequence[Group]

    def readers(self) -> dict[str, str]:
        """Of every conversation, the token of one member."""
        return {
            conversation: self.tokens[number * group.members]
            for group in self.groups
            for number, conversation in enumerate(group.conversations)
        }


async def gather_crowd(on: Stage, connections: int) -> Crowd:
    """A crowd whose streams are not connected yet."""
    sessions = [f"member-{number}" for number in range(connections)]
    tokens = [token(session) for session in sessions]
    tally, clock = Tally(), Clock()
    streams = [WideStream(on.alarm, token, Mailbox(tally, clock)) for token in tokens]
    groups = []
    sizes = ((SMALL_MEMBERS, connections // SMALL_MEMBERS), (LARGE_MEMBERS, 1), (connections, 1))
    for offset, (members, wanted) in enumerate(sizes):
        conversations = [
            await on.population.conversation(sessions[number * members : (number + 1) * members])
            for number in range(wanted)
        ]
        # In each small one the first member sends, in the others every tenth or hundredth, but never the same twice: a
        # stream has one call in flight.
        places = range(0, connections, members) if wanted > 1 else range(offset, members, members // 100)
        calls = [_timed(websocket_call(conversations[place // members]), clock) for place in places]
        senders = [
            websocket_sender(streams[place], [call], on.receipts) for place, call in zip(places, calls, strict=True)
        ]
        groups.append(Group(members, conversations, senders))
    return Crowd(tokens, streams, tally, clock, groups)


async def open_crowd(on: Stage, crowd: Crowd) -> float:
    """Connects all streams; how many a second."""
    began = time.perf_counter()
    for start in range(0, len(crowd.streams), _OPENED_AT_ONCE):
        opening = asyncio.gather(*(connect(on.server.port, s) for s in crowd.streams[start : start + _OPENED_AT_ONCE]))
        await on.guard(opening, "connecting")
    return len(crowd.streams) / (time.perf_counter() - began)


def token(session: str) -> str:
    """A token as a product that holds the key may mint its own."""
    claims = {"sid": session, "platform": 1, "exp": int(time.time()) + _TOKEN_SECONDS}
    return jwt.encode(claims, JWT_KEY, "HS256", headers={"kid": "bench"})


def _timed(call: Call, clock: Clock) -> Call:
    def timed(number: int) -> bytes:
        clock.sent_at[number] = time.perf_counter()
        return call(number)

    return timed
