"""What clients do in the model: they connect, lose the connection with what they had not processed, resume on any node,
and poll, with answers that may get lost on the way."""

import asyncio
import json
from typing import Any

from gateway import cursor
from gateway.claims import Identity
from gateway.transports.poll import answer_poll
from gateway.transports.poll_connection import PollConnection
from quickim.rest.callers import Caller
from tests.model.followers import Follower
from tests.model.gates import Deed
from tests.model.processes import Worker
from tests.model.talk import Talk

MAX_FOLLOWERS = 6


class Clients(Talk):
    """See the module."""

    async def do_connect(self, name: str, index: int) -> None:
        """A new client connects, from now on."""
        if len(self.followers) < MAX_FOLLOWERS and self.nodes:
            follower = Follower(self.a_session(name), next(self.platforms), self.rooms)
            self.followers.append(follower)
            await self.resume_on(follower, self.a_node(index))

    async def do_resume(self, choice: int, index: int) -> None:
        """A client comes back, maybe to another node."""
        follower = self.a_follower(choice, connected=False)
        if follower is not None and self.nodes:
            await self.resume_on(follower, self.a_node(index))

    async def resume_on(self, follower: Follower, node: Worker) -> None:
        """A client comes back where it was, or starts anew when it has seen nothing."""
        if follower.cursor is None:
            follower.start_anew()
        resumed = cursor.parse(follower.cursor) if follower.cursor else None
        with node.acting():
            reader = await node.connect(follower.session, resumed)
        if not node.is_dead:
            follower.connected(node, reader, resumed)

    async def do_drop(self, choice: int, unprocessed: int) -> None:
        """A client loses its connection, and what it had not processed."""
        follower = self.a_follower(choice, connected=True)
        if follower is not None:
            await self.read_rows()
            follower.absorb_stream(self.allowed(follower))
            follower.disconnected(unprocessed)

    async def do_poll(self, choice: int, index: int, is_lost: bool) -> None:
        """A client polls once; the answer arrives, or does not."""
        follower = self.a_follower(choice, connected=False)
        if follower is not None and self.nodes:
            if follower.cursor is None:
                follower.start_anew()
            await self.poll_on(follower, self.a_node(index), is_lost=is_lost)

    async def poll_on(
        self, follower: Follower, node: Worker, *, is_lost: bool = False, meanwhile: Deed | None = None
    ) -> bool:
        """One poll, and what is done while it waits; whether it brought something. A node that died did not answer."""
        resumed = cursor.parse(follower.cursor) if follower.cursor else None
        with node.acting():
            identity = Identity(Caller(follower.session, follower.platform), 2**40)
            answering = self.loop.create_task(answer_poll(identity, resumed))
        # Nothing tells from outside that a poll has begun to wait.
        while not answering.done() and not _polls(node, follower):  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
        if meanwhile is not None:
            await meanwhile()
        await node.settled()
        for poll in _polls(node, follower):
            # Its wait is over: there is nothing that could still come by itself.
            poll.close_empty_handed()
        response = await answering
        body = json.loads(response.content)
        assert body["code"] == 0
        if is_lost or node.is_dead:
            follower.lost_an_answer = True
            return True
        answer: dict[str, Any] = body["data"]
        await self.read_rows()
        follower.connected(node, None, resumed)
        follower.absorb(answer["Event"] + answer["Msg"], self.allowed(follower))
        assert len(answer["Cursor"]) <= cursor.MAX_CHARACTERS
        follower.cursor = answer["Cursor"]
        return bool(answer["Event"] or answer["Msg"])


def _polls(node: Worker, follower: Follower) -> list[PollConnection]:
    waiting = node.hub.sessions.get(follower.session, ())
    return [
        one
        for one in waiting
        if isinstance(one, PollConnection) and one.caller.platform == follower.platform and not one.is_kept
    ]
