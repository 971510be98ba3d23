"""A node's picture of the revocations: read before anybody comes in, kept current, forgotten in the end."""

import time

import pytest
from django.conf import settings

from conversations import announcements
from gateway.claims import Identity
from gateway.cursor import Cursor
from gateway.entrance import enter, load
from gateway.models import ConnectTicket, TokenRevocation
from gateway.node import is_ready
from gateway.revocation import ANY_PLATFORM, EVERYBODY, SLACK_MICROSECONDS, Revocation, Revocations, revocations, revoke
from gateway.revocation_watch import RevocationWatch
from gateway.tickets import TICKET_SECONDS, issue_ticket, redeem_ticket
from gateway.tokens import issue_token, verify_token
from quickim.database import in_database
from quickim.errors import InvalidToken, TokenRevoked, Unavailable
from quickim.rest.callers import Caller
from tests.gateway.in_process import InProcess, Reader

ALICE, ELSEWHERE = Caller("alice", 1), Caller("alice", 2)
FAR_FUTURE = 2**40


def known(*heard: Revocation) -> Revocations:
    """A picture that was read, with these."""
    picture = Revocations()
    picture.is_known = True
    picture.add(heard)
    return picture


async def at_the_real_time(world: InProcess) -> None:
    """The database's clock shows what the node's own does."""
    world.clock.now = time.time_ns() // 1_000
    await world.sweep()


def test_nobody_is_let_in_before_the_first_reading() -> None:
    with pytest.raises(Unavailable):
        Revocations().check(ALICE, FAR_FUTURE)


def test_it_does_not_matter_in_which_order_revocations_are_heard_of() -> None:
    heard = [
        Revocation("alice", ANY_PLATFORM, 50, 50),
        Revocation("alice", 1, 70, 60),
        Revocation("alice", 1, 20, 80),
        Revocation(EVERYBODY, ANY_PLATFORM, 10, 90),
    ]
    for order in (heard, heard[::-1], heard * 2):
        picture = known(*order)
        assert [picture.is_revoked(ALICE, at) for at in (70, 71)] == [True, False]
        assert [picture.is_revoked(ELSEWHERE, at) for at in (50, 51)] == [True, False]
        assert [picture.is_revoked(Caller("bob", 1), at) for at in (0, 10, 11)] == [True, True, False]
        assert picture.revoked_before(ALICE) == 70
        assert picture.add(order) == []


def test_what_concerns_no_token_any_more_is_forgotten() -> None:
    picture = known(Revocation("a", 1, 5, 5), Revocation("b", 1, 6, 6), Revocation(EVERYBODY, ANY_PLATFORM, 1, 7))
    picture.add([Revocation("a", 2, 8, 8)])
    picture.forget(8)
    assert picture.is_revoked(Caller("a", 1), 5), "its session was revoked again since"
    assert not picture.is_revoked(Caller("b", 1), 0)
    picture.forget(9)
    assert not picture.is_revoked(Caller("a", 2), 0)


async def test_a_node_that_could_not_read_them_is_not_ready(world: InProcess) -> None:
    await at_the_real_time(world)
    assert "revocations" not in await is_ready()
    token = issue_token("alice", 1)
    RevocationWatch(world.hub)
    assert await is_ready() == {"revocations": "were not read yet"}
    with pytest.raises(Unavailable):
        verify_token(token)
    await world.sweep()
    assert await is_ready() == {}


async def test_what_no_announcement_told_the_sweep_tells(world: InProcess) -> None:
    reader, other = await world.connect("alice"), await world.connect("bob")
    with world.unheard():
        await in_database(revoke, "alice", None, None)
    assert not reader.ended
    await world.sweep()
    assert reader.farewell is not None
    assert reader.farewell.code == 4503
    assert other.farewell is None


async def test_whoever_comes_in_while_he_is_revoked_is_cut(world: InProcess) -> None:
    loaded = await load("alice", None)
    await in_database(revoke, "alice", None, None)
    await world.settled()
    reader = Reader("alice")
    await enter(reader, Identity(reader.caller, FAR_FUTURE), loaded, Cursor(0))
    assert reader.farewell is not None
    assert reader.farewell.code == 4503
    world.hub.detach(reader)


async def test_everybody_is_cut_however_many_they_are(world: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.revocation_watch.CUT_AT_ONCE", 2)
    readers = [await world.connect(f"alice {number}") for number in range(7)]
    await in_database(revoke, EVERYBODY, None, world.clock.now - 5)
    await world.settled()
    await world.settled()
    assert [reader.farewell.code for reader in readers if reader.farewell] == [4503] * 7


async def test_one_row_is_kept_for_a_session_and_a_platform(world: InProcess) -> None:
    for platform in (None, 1, None, 1, 2):
        world.clock.advance(1)
        await in_database(revoke, "alice", platform, None)
    rows = await in_database(lambda: sorted(TokenRevocation.objects.values_list("session", "platform")))
    assert rows == [("alice", -1), ("alice", 1), ("alice", 2)]


async def test_they_are_deleted_when_all_their_tokens_have_ended(
    world: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_database(revoke, "alice", None, None)
    await world.settled()
    assert revocations.is_revoked(ALICE, 0)
    world.clock.advance(settings.QUICKIM.token_max_life_seconds + SLACK_MICROSECONDS / 1_000_000 + 10)
    await in_database(revoke, "bob", None, None)
    monkeypatch.setattr("gateway.revocation_watch.HOUSEKEEPING_SECONDS", -1.0)
    await world.sweep()
    assert not revocations.is_revoked(ALICE, 0)
    assert revocations.is_revoked(Caller("bob", 1), 0)
    assert await in_database(lambda: list(TokenRevocation.objects.values_list("session", flat=True))) == ["bob"]


async def test_a_token_is_issued_by_the_clock_of_the_database_and_after_what_was_revoked(world: InProcess) -> None:
    await at_the_real_time(world)
    await in_database(revoke, "alice", None, world.clock.now + 3_000_000)
    await world.settled()
    await world.sweep()
    assert verify_token(issue_token("bob", 1)).issued_at <= revocations.now()
    assert verify_token(issue_token("alice", 1)).issued_at > world.clock.now + 3_000_000
    with pytest.raises(TokenRevoked):
        revocations.check(ALICE, world.clock.now)


async def test_a_ticket_ends_after_thirty_seconds_and_is_not_kept(
    world: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity(ALICE, int(time.time()) + 600, 5)
    ticket, late, unused = [await issue_ticket(identity) for _ in range(3)]
    world.clock.advance(TICKET_SECONDS - 1)
    assert await redeem_ticket(ticket) == identity
    world.clock.advance(2)
    with pytest.raises(InvalidToken):
        await redeem_ticket(late)
    monkeypatch.setattr("gateway.revocation_watch.HOUSEKEEPING_SECONDS", -1.0)
    assert await in_database(ConnectTicket.objects.count) == 1
    await world.sweep()
    assert await in_database(ConnectTicket.objects.count) == 0
    with pytest.raises(InvalidToken):
        await redeem_ticket(unused)


async def test_a_ticket_made_elsewhere_is_not_looked_for(world: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def stands_still(*_: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr("gateway.tickets._spend", stands_still)
    with pytest.raises(InvalidToken):
        await redeem_ticket("A" * 44)


async def test_the_fact_is_told_only_after_its_commit(world: InProcess) -> None:
    with world.held_facts() as facts:
        await in_database(revoke, "alice", 3, None)
    (fact,) = facts
    assert [(one.session, one.platform) for one in fact.revocations] == [("alice", 3)]
    announcements.announce(fact)
    await world.settled()
    assert revocations.is_revoked(Caller("alice", 3), 0)
    assert not revocations.is_revoked(ALICE, 0)
