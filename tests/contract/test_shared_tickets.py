"""The rate of tickets over two nodes: kept together, as that of sends."""

import time

import httpx
import pytest

from tests.clients import Person
from tests.clients.protocols import PLAIN
from tests.servers import Server

BURST = 8
SECONDS = 3.0


def poured(nodes: list[Server], token: str) -> tuple[int, float]:
    """How many tickets are given in ``SECONDS`` of asking everywhere in turn, and how long that took."""
    began, given = time.monotonic(), 0
    with httpx.Client(trust_env=False, verify=PLAIN, timeout=30, headers={"Authorization": f"Bearer {token}"}) as http:
        while time.monotonic() - began < SECONDS:
            for node in nodes:
                answer = http.post(f"{node.url}/ticket")
                assert (answer.status_code, answer.json()["code"]) in ((200, 0), (429, 10007))
                given += answer.status_code == httpx.codes.OK
    return given, time.monotonic() - began


@pytest.mark.settings(QUICKIM_SEND_RATE="2/s", QUICKIM_CALL_RATE="off")
@pytest.mark.parametrize("server", ["nodes"], indirect=True)
async def test_two_nodes_keep_one_rate_of_tickets(server: Server, alice: Person) -> None:
    given, seconds = poured(server.nodes, alice.token)
    # A node has its burst to give away before it hears of the other's.
    assert BURST <= given <= 2 * BURST + 2 * seconds
    more, seconds = poured(server.nodes, alice.token)
    assert more <= 2 * seconds + 3
