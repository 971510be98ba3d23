"""What may strike: each function is one fault from its begin to its end, under load, written down as it happened.

Law: what a strike breaks it repairs, but for what outlives it by nature; a scenario may call any at any time, one at a
time or several.
"""

import asyncio
import time

import httpx
import redis

from tests.chaos.clients import Statue
from tests.chaos.ground import Ground
from tests.chaos.history import Complaint, FaultKind
from tests.chaos.load import RECEIVING
from tests.clients import Protoc, fresh, mint
from tests.faults.proxy import Cut, Way

DEATH_SECONDS = 6.0
FAILPOINTS = ("in_transaction", "after_commit", "before_announcement")
CUTS: tuple[Cut, ...] = ("before the server has it", "after the server answered")
WAYS: tuple[tuple[Way, ...], ...] = ((), ("to_server",), ("to_client",))
LOOK_SECONDS = 20.0
STALLING: tuple[Protoc, ...] = ("ws", "sse", "ws", "sse")
FLOOD_MESSAGES = 100
FLOOD_CONTENT = "." * 60_000
FLOOD_AT_ONCE = 5
FLOOD_SECONDS = 0.2
REVOKED_SECONDS = 2.0
"""Within which a revocation holds everywhere, also on a node that is loaded."""


async def worker_killed(ground: Ground, number: int | None = None) -> None:
    """kill -9 of a node amid a send to it, and its return."""
    number = ground.any_node() if number is None else number
    node = ground.place.nodes[number]
    ground.load.send_from_home()
    async with ground.load.fault(f"worker {number} killed", number):
        await ground.on_thread(node.kill9)
        ground.counts["worker killed"] += 1
        await ground.on_thread(node.restart)
    ground.load.send_from_home()


async def worker_dies_at(ground: Ground, failpoint: str) -> None:
    """A node dies by itself at a place in its code, and comes back."""
    number = ground.any_node()
    node = ground.place.nodes[number]
    ground.load.send_from_home()
    async with ground.load.fault(f"worker {number} dies {failpoint}", number):
        ground.arm(node, f"{failpoint}:{ground.chances.randint(1, 4)}")
        begun = time.monotonic()
        while node.is_running and time.monotonic() - begun < DEATH_SECONDS:
            ground.load.send_from_home()
            await ground.lasts(0.05)
        if not node.is_running:
            ground.counts["worker killed"] += 1
            ground.counts[f"died {failpoint}"] += 1
        await ground.on_thread(node.kill9)
        await ground.on_thread(node.restart)
    ground.load.send_from_home()


async def workers_restarted(ground: Ground) -> None:
    """SIGTERM to one node after the other: whoever is connected is told, and nobody is cut off without a word."""
    for number, node in enumerate(ground.place.nodes):
        streaming = {
            receiver.now.number: receiver
            for receiver in ground.load.receivers
            if receiver.now is not None and receiver.now.node == number and receiver.protoc != "poll"
        }
        async with ground.load.fault(f"worker {number} restarted", number):
            status = await ground.on_thread(node.terminate)
            if status != 0:
                ground.complaints.append(Complaint(number, f"ended with status {status} on SIGTERM"))
            await ground.on_thread(node.restart)
        ground.counts["worker restarted"] += 1
        for connection, receiver in streaming.items():
            ending = receiver.ending_of.get(connection)
            if ending is not None and ending.bye is None:
                ground.complaints.append(Complaint(number, f"cut {receiver.name} off without a word: {ending}"))
        ground.load.send_from_home()


async def valkey_killed(ground: Ground, seconds: float, kind: FaultKind = "layer") -> None:
    """kill -9 of Valkey; it comes back empty."""
    async with ground.load.fault(f"valkey killed for {seconds:.0f} s", kind=kind):
        await ground.on_thread(ground.site.valkey.kill9)
        ground.counts["valkey killed"] += 1
        await ground.lasts(seconds)
        await ground.on_thread(ground.site.valkey.start)


async def valkey_flushed(ground: Ground) -> None:
    """FLUSHALL, and its subscribers cut off."""
    with redis.Redis(port=ground.site.valkey.port) as administrator:
        async with ground.load.fault("valkey flushed"):
            administrator.flushall()
            administrator.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    ground.counts["valkey flushed"] += 1


async def valkey_paused(ground: Ground, seconds: float, kind: FaultKind = "layer") -> None:
    """It keeps its connections and answers nobody."""
    async with ground.load.fault(f"valkey paused for {seconds:.0f} s", kind=kind):
        ground.site.valkey.pause()
        await ground.lasts(seconds)
        ground.site.valkey.resume()
    ground.counts["valkey paused"] += 1


async def layer_lost(ground: Ground, seconds: float, kind: FaultKind = "layer") -> None:
    """The way between one node and Valkey is gone, in both directions or in one."""
    number = ground.any_node()
    ways = ground.chances.choice(WAYS)
    proxy = ground.site.layer_proxies[number]
    async with ground.load.fault(f"layer of worker {number} lost {' '.join(ways)}".rstrip(), number, kind):
        proxy.blackhole(*ways)
        await ground.lasts(seconds)
        proxy.heal()
    ground.counts["layer lost"] += 1
    ground.load.send_from_home()


async def layer_reset(ground: Ground) -> None:
    """All connections between one node and Valkey are reset."""
    number = ground.any_node()
    async with ground.load.fault(f"layer of worker {number} reset", number):
        ground.site.layer_proxies[number].reset()
    ground.counts["layer reset"] += 1


async def postgres_killed(ground: Ground, seconds: float) -> None:
    """kill -9 of PostgreSQL; it recovers from its log."""
    async with ground.load.fault("postgres killed"):
        await ground.on_thread(ground.site.postgres.kill9)
        ground.counts["postgres killed"] += 1
    async with ground.load.fault(f"postgres away for {seconds:.0f} s", kind="database"):
        await ground.lasts(seconds)
        await ground.on_thread(ground.site.postgres.restart)


async def back_ends_terminated(ground: Ground) -> None:
    """PostgreSQL ends all its clients' connections."""
    async with ground.load.fault("back ends terminated"):
        await ground.on_thread(ground.site.terminate_back_ends)
    ground.counts["back ends terminated"] += 1


async def commit_cut(ground: Ground) -> None:
    """The connection breaks around a COMMIT: nobody knows whether it was done."""
    number = ground.any_node()
    proxy = ground.site.database_proxies[number]
    how = ground.chances.choice(CUTS)
    ground.load.send_from_home()
    async with ground.load.fault(f"commit of worker {number} cut {how}", number):
        before = proxy.count["cut"]
        proxy.cut(how, ground.chances.randint(1, 3))
        begun = time.monotonic()
        while proxy.count["cut"] == before and time.monotonic() - begun < 2:
            await ground.lasts(0.05)
        ground.counts["commit cut"] += proxy.count["cut"] - before
    proxy.heal()


async def clients_struck(ground: Ground) -> None:
    """Clients of one node: connections reset, some amid a frame, or slow, or a byte at a time."""
    number = ground.any_node()
    door = ground.place.doors[number]
    what = ground.chances.choice(["reset", "torn", "torn", "delayed", "trickled"])
    async with ground.load.fault(f"clients of worker {number} {what}", number):
        before = door.count[what]
        if what == "reset":
            door.reset()
        elif what == "torn":
            door.tear(ground.chances.randint(3, 12))
            await ground.lasts(0.5)
        else:
            door.delay(0.15) if what == "delayed" else door.trickle()
            await ground.lasts(1.0)
            door.heal()
        ground.counts[f"clients {what}"] += door.count[what] - before


async def crowd_returns(ground: Ground) -> None:
    """Every connection of every client breaks at once, and all come back at once."""
    crowd = ground.load.crowd
    async with ground.load.fault("everybody cut off"):
        for door in ground.place.doors:
            ground.counts["clients reset"] += door.reset()
        cut = ground.now
        await ground.load.comes_true(lambda: all(one.is_back_since(cut) for one in crowd))
    ground.counts["crowd returned"] += 1


async def members_moved(ground: Ground) -> None:
    """One who comes and goes is kicked, leaves, or joins, by way of any node."""
    load = ground.load
    session, room = ground.chances.choice(load.movers), ground.chances.choice(load.loud)
    inner = {"conversation_id": room, "sessions": [session]}
    what = ground.chances.choice(["kickout_conversation", "leave", "join_conversation", "join_conversation"])
    api = ground.chances.choice(load.apis)
    if what == "leave":
        answer = await api.public("leave_conversation", {"conversation_id": room}, token=mint(session))
    else:
        answer = await api.inner(what, **inner)
    if answer.status not in (200, 503):
        ground.complaints.append(Complaint(0, f"{what} was answered with {answer.status} {answer.content!r}"))
    ground.counts["members moved"] += 1


async def tokens_refreshed(ground: Ground) -> None:
    """Some of those on a WebSocket show a new token."""
    for receiver in ground.load.receivers:
        if receiver.protoc == "ws" and ground.chances.random() < 0.5:
            ground.counts["tokens refreshed"] += await receiver.refresh()


async def session_revoked(ground: Ground) -> None:
    """All connections of one session's devices end, on every node; what it had opens nothing, what it gets does."""
    load = ground.load
    session = ground.chances.choice(load.receivers).session
    token = mint(session, RECEIVING, iat=time.time())
    before = {one: one.now.number for one in load.receivers if one.session == session and one.now is not None}
    async with load.fault(f"{session} revoked"):
        (await ground.chances.choice(load.apis).inner("revoke_token", session=session, platform=RECEIVING)).succeeded()
        await ground.lasts(REVOKED_SECONDS)
    ground.counts["sessions revoked"] += 1
    ground.counts["connections revoked"] += len(before)
    for receiver, number in before.items():
        if receiver.now is not None and receiver.now.number == number:
            ground.complaints.append(Complaint(receiver.now.node, f"{receiver.name} lives on with a revoked token"))
    for number, api in enumerate(load.apis):
        answer = await load.within(api.public("get_joined_conversation", token=token))
        if answer.status != httpx.codes.UNAUTHORIZED:
            ground.complaints.append(Complaint(number, f"a revoked token was answered with {answer.status}"))


async def readers_stall(ground: Ground) -> None:
    """Some connect and do not read, while their own conversation is flooded; then they look at how they were cut off.
    Who listens to the other conversations, on the same nodes, is not to notice."""
    load = ground.load
    session = fresh("statue")
    room = await load.apis[0].conversation(session)
    statues = []
    for turn, protoc in enumerate(STALLING):
        number = turn % len(ground.place.nodes)
        statues.append(Statue(ground.place.nodes[number].port, number, mint(session, platform=turn), protoc))
    try:
        async with load.fault("readers stall"):
            await load.within(asyncio.gather(*(statue.stand() for statue in statues)))
            for _ in range(FLOOD_MESSAGES // FLOOD_AT_ONCE):
                apis = ground.chances.choices(load.apis, k=FLOOD_AT_ONCE)
                await load.within(asyncio.gather(*(api.post(room, FLOOD_CONTENT) for api in apis)))
                await ground.lasts(FLOOD_SECONDS)
            ground.stalls += await load.within(asyncio.gather(*(one.look(LOOK_SECONDS) for one in statues)), 40)
    finally:
        for statue in statues:
            await statue.close()
    ground.counts["readers stalled"] += len(statues)


async def sqlite_locked(ground: Ground, seconds: float) -> None:
    """Another process's transaction holds the database."""

    def hold() -> None:
        with ground.embedded.locked():
            time.sleep(seconds)

    async with ground.load.fault(f"sqlite locked for {seconds:.1f} s"):
        await ground.on_thread(hold)
    ground.counts["sqlite locked"] += 1
