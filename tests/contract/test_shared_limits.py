"""Rates over two nodes: kept together, and by each alone when what they share is gone."""

import time
from collections.abc import Callable

import httpx
import pytest

from tests.clients import Person
from tests.clients.protocols import PLAIN
from tests.databases import holds_within
from tests.servers import Fleet, Server

TWO_A_SECOND = {"QUICKIM_SEND_RATE": "2/s", "QUICKIM_CALL_RATE": "off"}
BURST = 8
SECONDS = 6.0


def accepted(server: Server, token: str, room: str) -> bool:
    """Whether a send to this node alone is let pass; a refusal says when to come back."""
    answer = httpx.post(
        f"{server.url}/send_msg",
        json={"conversation_id": room, "content": "x"},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        verify=PLAIN,
        timeout=30,
    )
    if answer.status_code == httpx.codes.OK:
        return True
    assert answer.json()["code"] == 10007
    assert int(answer.headers["retry-after"]) >= 1
    return False


def poured(nodes: list[Server], token: str, room: str) -> tuple[int, float]:
    """How many sends pass in ``SECONDS`` of trying everywhere in turn, and how long that took."""
    began, passed = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        passed += sum(accepted(node, token, room) for node in nodes)
    return passed, time.monotonic() - began


@pytest.mark.settings(**TWO_A_SECOND)
@pytest.mark.parametrize("server", ["nodes"], indirect=True)
async def test_two_nodes_keep_one_rate(server: Server, alice: Person, room: str) -> None:
    passed, seconds = poured(server.nodes, alice.token, room)
    # A node that was not asked yet has its burst to give away before it hears of the other's; by itself each would let
    # pass as much again as flows in.
    assert BURST <= passed <= 2 * BURST + 2 * seconds
    began = time.monotonic()
    more = poured(server.nodes, alice.token, room)[0]
    assert more <= 2 * (time.monotonic() - began) + 3


def test_without_redis_each_node_keeps_the_rate_by_itself(start_server: Callable[..., Server], fleet: Fleet) -> None:
    server = start_server("nodes", **TWO_A_SECOND)
    with httpx.Client(trust_env=False, verify=PLAIN, timeout=30) as http:
        people = http.post(f"{server.url}/inner/get_token", json={"session": "alice", "platform": 1}).json()
        fields = {"conversation_type": 1, "sessions": ["alice"]}
        room = http.post(f"{server.url}/inner/create_conversation", json=fields).json()["data"]["ConversationId"]
        assert accepted(server, people["data"], room)
        fleet._valkeys[-1].kill9()

        def is_degraded() -> bool:
            return all(
                http.get(f"{node.url}/readyz").json()["data"].get("status") == "degraded" for node in server.nodes
            )

        assert holds_within(30, is_degraded)
        passed, seconds = poured(server.nodes, people["data"], room)
        assert passed <= 2 * (BURST + 2 * seconds) + 2
        assert not all(accepted(server, people["data"], room) for _ in range(2 * BURST))
