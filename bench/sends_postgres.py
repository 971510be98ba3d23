"""Durable sends on PostgreSQL and Valkey, with one worker and with two: 64 connections with one call in flight each,
over HTTP and over WebSocket.

Over HTTP all sessions are members of eight conversations and nobody listens; over WebSocket each is alone in one, so
that a send costs an answer and a delivery. Workers, PostgreSQL and Valkey share all cores with the generator.
"""

import os

from bench.backing import postgresql_and_valkey
from bench.load.http import connect as connect_http
from bench.load.senders import http_call, http_sender, websocket_call, websocket_sender
from bench.load.streams import MemberStream, Tally, connect
from bench.plan import Case, Plan
from bench.stage import WARM_UP_SECONDS, Stage, send_figures, stage

QUESTION = "How many durable sends a second on PostgreSQL, with one worker and with two (300 bytes, 64 senders)?"

_WORKERS = (1, 2)
_SENDERS = 64
_CONVERSATIONS = 8


async def run(plan: Plan) -> list[Case]:
    """One case for each protocol and number of workers."""
    cores = os.sched_getaffinity(0) | {plan.server_core}
    cases = []
    for workers in _WORKERS:
        with postgresql_and_valkey(cores) as backing:
            settings = {**backing.settings, "QUICKIM_WORKERS": str(workers)}
            async with stage(plan, cores=cores, settings=settings, backing=backing.pids) as on:
                named = f"{workers} worker{'s' * (workers > 1)}"
                sessions = [f"sender-{number}" for number in range(_SENDERS)]
                tokens = await on.population.tokens(sessions)
                cases.append(Case(f"HTTP, {named}", await _http(on, sessions, tokens)))
                cases.append(Case(f"WebSocket, {named}", await _websocket(on, sessions, tokens)))
    return cases


async def _http(on: Stage, sessions: list[str], tokens: list[str]) -> list[dict[str, float]]:
    conversations = [await on.population.conversation(sessions) for _ in range(_CONVERSATIONS)]
    calls = [[http_call(conversation, token) for conversation in conversations] for token in tokens]
    rounds = []
    for number in range(on.plan.rounds + 1):
        connections = [await on.guard(connect_http(on.server.port, on.alarm), "connecting") for _ in calls]
        senders = [http_sender(*pair, on.receipts) for pair in zip(connections, calls, strict=True)]
        rounds.append(send_figures(*await on.send(senders, on.plan.seconds if number else WARM_UP_SECONDS)))
        for connection in connections:
            connection.close()
    await on.population.compare(dict.fromkeys(conversations, tokens[0]), on.receipts)
    on.receipts.number_of.clear()
    return rounds[1:]


async def _websocket(on: Stage, sessions: list[str], tokens: list[str]) -> list[dict[str, float]]:
    conversations = [await on.population.conversation([session]) for session in sessions]
    tally = Tally()
    streams = [MemberStream(on.alarm, token, tally) for token in tokens]
    for stream in streams:
        await on.guard(connect(on.server.port, stream), "connecting")
    senders = [
        websocket_sender(stream, [websocket_call(conversation)], on.receipts)
        for stream, conversation in zip(streams, conversations, strict=True)
    ]
    rounds = []
    for number in range(on.plan.rounds + 1):
        seconds = on.plan.seconds if number else WARM_UP_SECONDS
        rounds.append(send_figures(*await on.send(senders, seconds, tally, deliveries_per_send=1)))
    await on.population.compare(dict(zip(conversations, tokens, strict=True)), on.receipts)
    for stream in streams:
        stream.close()
    return rounds[1:]
