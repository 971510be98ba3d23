"""/metrics: what happened is counted, for those who may ask, with labels that nobody outside can make more of."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.clients import Api, Person, fresh
from tests.clients.protocols import PLAIN
from tests.observability.conftest import scrape, scraped
from tests.servers import Server


async def test_a_messages_way_is_counted(server: Server, api: Api, alice: Person, bob: Person) -> None:
    before = scrape(server.url)
    room = await api.conversation(alice.session, bob.session)
    listeners = [await bob.listen("ws"), await bob.listen("sse"), await alice.listen("ws")]
    await alice.send(room, "hello", client_msg_id="one")
    await alice.send(room, "hello", client_msg_id="one")
    (await alice.call("send_msg", conversation_id="nowhere", content="hello")).refused(90014)
    (await alice.call("send_msg", conversation_id=room)).refused(10001)
    for listener in listeners:
        await listener.messages_in(room, 1)
    during = scrape(server.url)
    for listener in listeners:
        await listener.close()
    await bob.listen("ws", since=listeners[0].cursor)

    def rise(name: str, **labels: str) -> float:
        return during.sum(name, **labels) - before.sum(name, **labels)

    assert rise("quickim_sends_total", outcome="committed", code="0") == 1
    assert rise("quickim_sends_total", outcome="repeated") == 1
    assert rise("quickim_sends_total", outcome="refused", code="90014") == 1
    assert rise("quickim_sends_total", outcome="refused", code="10001") == 1
    assert rise("quickim_commit_batch_messages_sum") == 3
    assert rise("quickim_commit_duration_seconds_count") >= 1
    assert rise("quickim_deliveries_total", protocol="ws") == 2
    assert rise("quickim_deliveries_total", protocol="sse") == 1
    assert rise("quickim_delivered_bytes_total", protocol="ws") > 2 * len("hello")
    assert rise("quickim_delivery_latency_seconds_count") == 1
    assert rise("quickim_resumes_total", protocol="ws", outcome="fresh") == 2
    assert rise("quickim_http_requests_total", endpoint="send_msg", status="200", code="0") == 2
    assert rise("quickim_http_requests_total", endpoint="send_msg", status="404", code="90014") == 1
    assert during.sum("quickim_connections", protocol="ws", platform="1") == 1
    assert during.sum("quickim_connections", protocol="sse", platform="other") == 1
    assert during.sum("quickim_layer_up") == 1
    assert during.sum("quickim_workers") == 1
    after = await scraped(
        server.url,
        lambda now: (
            now.sum("quickim_resumes_total", outcome="resumed") > before.sum("quickim_resumes_total", outcome="resumed")
        ),
    )
    assert after.sum("quickim_connections", protocol="sse") == 0


async def test_a_replay_is_counted_once(server: Server, api: Api, alice: Person, bob: Person) -> None:
    room = await api.conversation(alice.session, bob.session)
    first = await bob.listen("ws")
    await alice.send(room, "first")
    await first.messages_in(room, 1)
    await first.close()
    before = scrape(server.url)
    for number in range(5):
        await alice.send(room, f"{number}")
    second = await bob.listen("ws", since=first.cursor)
    await second.messages_in(room, 5)
    after = scrape(server.url)
    assert after.sum("quickim_replayed_messages_total") - before.sum("quickim_replayed_messages_total") == 5
    assert after.sum("quickim_deliveries_total") - before.sum("quickim_deliveries_total") == 5


async def test_what_clients_make_up_becomes_no_label(server: Server, api: Api) -> None:
    for number in range(60):
        await api.request("GET", f"/{fresh('path')}/{number}")
        await api.request(f"VERB{number}", "/send_msg")
        await api.request("GET", "/notify?protoc=sse", token=f"made-up-{number}")
        await api.request("POST", "/send_msg", token=f"made-up-{number}", headers={"X-Request-Id": f"id-{number}"})
    now = scrape(server.url)
    endpoints = {sample.labels["endpoint"] for sample in now.samples if sample.name == "quickim_http_requests_total"}
    assert {endpoint for endpoint in endpoints if "path" in endpoint} == set()
    assert "unknown" in endpoints
    assert len(endpoints) < 60
    assert now.sum("quickim_http_requests_total", endpoint="unknown", code="10004") >= 60
    assert now.sum("quickim_token_failures_total", reason="malformed") >= 120


def test_openmetrics_is_spoken_to_who_accepts_it(server: Server) -> None:
    with httpx.Client(trust_env=False, verify=PLAIN) as http:
        answer = http.get(f"{server.url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        refused = http.post(f"{server.url}/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=a.b",
        "application/openmetrics-text; version=x",
        "application/openmetrics-text; version=",
        "application/openmetrics-text; version=1." + "9" * 5_000,
        "text/plain; version=1.0.0; escaping=nothing",
        ";;;=,,",
    ],
)
def test_whoever_accepts_something_odd_is_answered_too(server: Server, accept: str) -> None:
    with httpx.Client(trust_env=False, verify=PLAIN) as http:
        answer = http.get(f"{server.url}/metrics", headers={"Accept": accept})
    assert (answer.status_code, "quickim_workers 1.0" in answer.text) == (200, True)


async def test_every_refused_token_and_ticket_is_counted(server: Server, api: Api) -> None:
    before = scrape(server.url)
    who = Person(api, fresh("alice"))
    who.token = (await api.request("POST", "/inner/get_token", json={"session": who.session, "platform": 1})).data
    tickets = [(await who.call("ticket")).data["Ticket"] for _ in range(2)]
    used = {"protoc": "poll", "ticket": tickets[0]}
    (await api.request("GET", "/notify", params=used)).succeeded()
    for ticket in (tickets[0], "nonsense", "A" * 44):
        (await api.request("GET", "/notify", params={"protoc": "poll", "ticket": ticket})).refused(10101)
    (await api.request("POST", "/inner/revoke_token", json={"session": who.session})).succeeded()
    (await api.request("GET", "/notify", params={"protoc": "poll", "ticket": tickets[1]})).refused(10101)
    (await who.call("get_joined_conversation")).refused(10101)
    after = scrape(server.url)
    for reason, count in (("ticket", 3), ("revoked", 2)):
        name = "quickim_token_failures_total"
        assert after.sum(name, reason=reason) - before.sum(name, reason=reason) == count, reason


@pytest.mark.parametrize("legacy", ["0", "1"])
def test_only_those_who_may_call_inner_may_ask(start_server: Callable[..., Server], legacy: str) -> None:
    key = "a-key-of-the-back-end"
    server = start_server(QUICKIM_INNER_API_KEYS=key, QUICKIM_LEGACY=legacy)
    with httpx.Client(trust_env=False, verify=PLAIN, base_url=server.url) as http:
        for headers in ({}, {"Authorization": "Bearer wrong-key-of-somebody"}, {"X-Forwarded-For": "127.0.0.1"}):
            answer = http.get("/metrics", headers=headers)
            assert answer.json()["code"] == 10003
            assert answer.status_code == (200 if legacy == "1" else 403)
            assert "quickim_" not in answer.text
    assert scrape(server.url, Authorization=f"Bearer {key}").sum("quickim_workers") == 1


def test_another_address_is_refused(start_server: Callable[..., Server]) -> None:
    server = start_server(QUICKIM_INNER_ALLOW="192.0.2.0/24")
    with httpx.Client(trust_env=False, verify=PLAIN) as http:
        assert http.get(f"{server.url}/metrics").json()["code"] == 10003


def connections_in(file: Path) -> float:
    """How many connections a process shared last."""
    values = json.loads(file.read_text())
    return float(sum(number for _, (number,) in values["quickim_connections"]))


@pytest.mark.slow
async def test_one_worker_answers_for_all_and_for_those_that_died(
    start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = tmp_path_factory.mktemp("shared")
    server = start_server("workers", TMPDIR=str(shared))
    async with Api(server.url, keep_alive=False) as api:
        alice = Person(api, fresh("alice"))
        room = await api.conversation(alice.session)
        listeners = [await alice.listen_ws() for _ in range(6)]
        await asyncio.gather(*(alice.send(room, f"{number}") for number in range(40)))

        for _ in range(5):  # whichever answers
            now = await scraped(
                server.url,
                lambda now: (
                    now.sum("quickim_sends_total", outcome="committed") == 40
                    and now.sum("quickim_deliveries_total") == 240
                    and now.sum("quickim_connections") == 6
                    # The second may still be starting.
                    and now.sum("quickim_workers") == 2
                ),
            )
            assert now.sum("quickim_layer_up") == 1

        files = list(shared.glob("quickim-metrics-*/*-*.json"))
        assert len(files) == 2
        # One may have all the connections: that one is to die.
        victim = max(files, key=connections_in)
        os.kill(int(victim.name.partition("-")[0]), signal.SIGKILL)
        after = await scraped(
            server.url,
            lambda now: now.sum("quickim_workers") == 2 and now.sum("quickim_connections") < 6,
            seconds=60,
        )
        assert after.sum("quickim_sends_total", outcome="committed") == 40
        assert after.sum("quickim_deliveries_total") >= 240
        for listener in listeners:
            await listener.close()
    assert server.terminate(40) == 0
    assert not [name for name in os.listdir(shared) if name.startswith("quickim-metrics-")]
