"""Reading: pages both ways, jumps, text that stays text, and who looked."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from conversations import services
from conversations.models import Conversation
from gateway.desk import audit, transcript
from messaging.models import Message
from messaging.redaction import redact_message
from messaging.retention import Pruned, prune, select
from tests.desk.conftest import address, logged, say

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7|add:7 }}{% now 'Y' %}",
    "javascript:alert(1)",
    "</p></article><iframe src=//evil.example></iframe>",
]


def seqs(client: Client, room: Conversation, query: str = "") -> list[int]:
    """The messages on a page, in its order."""
    answer = client.get(address(room, query))
    assert answer.status_code == 200, answer.text
    return [int(seq) for seq in re.findall(r'data-seq="(\d+)"', answer.text)]


def test_pages_go_both_ways(support: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "PAGE", 4)
    for number in range(10):
        say(room, f"message {number}")
    assert seqs(support, room) == [7, 8, 9, 10]
    assert seqs(support, room, "?before=7") == [3, 4, 5, 6]
    assert seqs(support, room, "?before=3") == [1, 2]
    assert seqs(support, room, "?after=2") == [3, 4, 5, 6]
    for beyond in ("?after=10", "?after=999999999999999999"):
        assert seqs(support, room, beyond) == [7, 8, 9, 10], "the end"
    for beyond in ("?before=1", "?before=0"):
        assert seqs(support, room, beyond) == [1, 2, 3, 4], "the beginning"
        assert "data-live" not in support.get(address(room, beyond)).text
    assert seqs(support, room, "?before=nonsense") == [7, 8, 9, 10]
    assert "?before=7" in support.get(address(room)).text
    assert "The beginning." in support.get(address(room, "?before=3")).text


def test_jumps_show_the_place_amid_what_was_said_before(
    support: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "PAGE", 6)
    monkeypatch.setattr(transcript, "CONTEXT", 2)
    msg_ids = [say(room, f"message {number}") for number in range(20)]
    for query in (f"?at={msg_ids[9]}", f"?at={msg_ids[9].lower()}", "?at=10"):
        assert seqs(support, room, query) == [8, 9, 10, 11, 12, 13]
        assert re.search(r'line target" id="m10"', support.get(address(room, query)).text)
    assert seqs(support, room, "?at=999")[-1] == 20
    assert seqs(support, room, "?at=22222-2222-2222-222")[0] == 1


def test_a_moment_is_one_of_the_viewers_zone(support: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    sent = datetime.fromtimestamp(Message.objects.get(pk=msg_id).send_time / 1_000_000, UTC)
    for zone, offset in ((0, ""), (0, "0"), (8, "-480"), (-5, "300")):
        local = sent + timedelta(hours=zone)
        earlier = f"{local - timedelta(hours=1):%Y-%m-%dT%H:%M}"
        page = support.get(address(room), {"day": earlier, "offset": offset}).text
        assert 'line target" id="m1"' in page, (zone, offset)
    assert seqs(support, room, "?day=yesterday&offset=x") == [1]


@pytest.mark.parametrize("content", HOSTILE)
def test_what_people_wrote_is_text(content: str, support: Client) -> None:
    session = f"eve {content}"[:128]
    room = services.create_conversation(1, [session])
    msg_id = say(room, content, session)
    for path in (
        address(room),
        address(room, "members/"),
        address(room, f"messages/{msg_id}/"),
        address(room, f"trace/?session=alice&msg_id={msg_id}"),
        f"/admin/search/?conversation={room.public_id}&word={content[:3]}",
        "/admin/conversations/",
    ):
        page = support.get(path).text
        assert "<script>" not in page
        assert "<img src=x" not in page
        assert "<iframe" not in page
    for path in (address(room), address(room, f"messages/{msg_id}/")):
        assert f'<p class="said" dir="auto">{escape(content)}</p>' in support.get(path).text


def test_our_pages_hold_no_inline_script_and_no_outside_address(administrator: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    for path in (
        "/admin/",
        "/admin/conversations/",
        "/admin/search/",
        "/admin/erase/",
        "/admin/admin/logentry/",
        address(room),
        address(room, "members/"),
        address(room, "kick/"),
        address(room, "export/"),
        address(room, "trace/"),
        address(room, f"messages/{msg_id}/"),
    ):
        answer = administrator.get(path)
        assert answer.status_code == 200
        assert answer["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert re.findall(r"<script(?![^>]*\bsrc=)", answer.text) == []
        assert re.findall(r"\son[a-z]+=|\sstyle=|<style", answer.text) == []
        assert set(re.findall(r'(?:src|href|action)="(?:https?:)?//([^"/]+)', answer.text)) == set()


def test_what_was_taken_back_is_not_shown(support: Client, room: Conversation) -> None:
    msg_id = say(room, "a secret")
    redact_message(str(room.public_id), msg_id)
    for path in (address(room), address(room, f"messages/{msg_id}/")):
        page = support.get(path).text
        assert "a secret" not in page
        assert "Its content was taken back." in page


def test_a_long_content_is_cut_in_the_transcript_and_whole_on_its_page(support: Client, room: Conversation) -> None:
    msg_id = say(room, "x" * 10_000 + "end")
    page = support.get(address(room)).text
    assert "end" not in re.findall(r'class="said"[^>]*>([^<]*)<', page)[0]
    assert "6,003 more characters" in page
    assert "x" * 10_000 + "end" in support.get(address(room, f"messages/{msg_id}/")).text


def test_what_is_pruned_is_said_to_be(support: Client, room: Conversation) -> None:
    for number in range(3):
        say(room, f"message {number}")
    for _ in prune(select(-60_000_000), Pruned()):
        pass
    later = say(room, "later")
    assert seqs(support, room) == [4]
    assert "not kept any more" in support.get(address(room)).text
    assert seqs(support, room, f"?at={later}") == [4]


def test_an_empty_conversation_says_so(support: Client, room: Conversation) -> None:
    assert "Nothing was said yet" in support.get(address(room)).text


def test_a_deleted_one_can_be_read(support: Client, room: Conversation) -> None:
    say(room, "hello")
    services.set_deleted([str(room.public_id)], True)
    page = support.get(address(room)).text
    assert "hello" in page
    assert '<span class="badge bad">deleted</span>' in page


def test_unknown_ones_are_a_page_that_says_so(support: Client, room: Conversation) -> None:
    assert support.get("/admin/conversations/0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52/").status_code == 404
    assert support.get(address(room, "messages/EDCZL-SY32-243Y-VWQ/")).status_code == 404
    other = services.create_conversation(1, ["alice"])
    assert support.get(address(other, f"messages/{say(room, 'hello')}/")).status_code == 404


def test_members_show_since_when_and_until_when(support: Client, room: Conversation) -> None:
    services.join_conversation(str(room.public_id), ["charlie"])
    services.leave_conversation(str(room.public_id), "bob")
    services.kick_out(str(room.public_id), ["charlie"])
    page = support.get(address(room, "members/")).text
    states = re.findall(r'<li class="state(\d)"><strong class="tone\d">(\w+)</strong>', page)
    assert states == [("1", "alice"), ("2", "bob"), ("3", "charlie")]
    assert re.search(r"since <time datetime=", page)
    assert re.search(r"joined <time.*?, left <time", page, re.DOTALL)
    assert re.search(r"joined <time.*?, removed <time", page, re.DOTALL)


def test_many_members_are_turned_page_by_page(support: Client) -> None:
    names = [f"user-{number:03}" for number in range(250)]
    room = services.create_conversation(1, names)
    found, query = [], "members/"
    while query:
        page = support.get(address(room, query)).text
        found += re.findall(r'<strong class="tone\d">(user-\d+)</strong>', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        query = f"members/{following[1]}" if following else ""
    assert found == names


def test_a_viewing_is_logged_once(support: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    msg_id = say(room, "hello")
    for path in ("", "?before=2", "?at=1", f"messages/{msg_id}/", f"trace/?session=bob&msg_id={msg_id}"):
        support.get(address(room, path))
    support.get(f"/admin/search/?conversation={room.public_id}&word=hello")
    assert logged() == [("ada", str(room.public_id), "Read the transcript.")]
    other = services.create_conversation(1, ["alice"])
    support.get(address(other))
    assert len(logged()) == 2
    monkeypatch.setattr(
        "gateway.desk.audit.time.time", lambda: datetime.now(UTC).timestamp() + audit.VIEWING_SECONDS + 1
    )
    support.get(address(room))
    assert len(logged()) == 3


def test_many_viewings_are_remembered_in_bounded_memory(
    support: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_VIEWINGS_KEPT", 3)
    for _ in range(6):
        support.get(address(services.create_conversation(1, ["alice"])))
    assert len(support.session["desk_viewings"]) == 3
    assert len(logged()) == 6


@pytest.mark.parametrize("query", ["", "?before=30", "?at=5", "members/", "trace/?session=alice&msg_id={last}"])
def test_a_page_makes_as_many_queries_with_many_as_with_few(query: str, support: Client) -> None:
    counts = []
    last = ""
    for size in (2, 20, 70):
        room = services.create_conversation(1, ["alice", *(f"user-{number}" for number in range(size))])
        for number in range(size):
            last = say(room, f"message {number}")
        support.get(address(room))
        with CaptureQueriesContext(connection) as queries:
            assert support.get(address(room, query.format(last=last))).status_code == 200
        counts.append(len(queries))
    assert len(set(counts)) == 1, counts
    assert counts[0] <= 14
