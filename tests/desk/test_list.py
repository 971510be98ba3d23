"""Finding conversations: what is asked for and nothing else, page by page, at a constant price."""

import re
import uuid

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from conversations import services
from conversations.models import Conversation
from gateway.desk import listing
from tests.desk.conftest import address, say

LIST = "/admin/conversations/"


def shown(client: Client, query: str = "") -> list[str]:
    """The conversations on a page, in its order."""
    answer = client.get(f"{LIST}{query}")
    assert answer.status_code == 200, answer.text
    return re.findall(r'<th scope="row"><a href="/admin/conversations/([0-9a-f-]{36})/"', answer.text)


def rooms(count: int) -> list[str]:
    """The ids of new conversations, newest first."""
    return [str(services.create_conversation(1, ["alice"]).public_id) for _ in range(count)][::-1]


@pytest.mark.parametrize("order", ["", "created"])
def test_pages_forth_and_back_show_each_once(order: str, support: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    expected = rooms(8)
    query, forth = f"?order={order}", []
    while query:
        page = support.get(f"{LIST}{query}").text
        forth.append(shown(support, query))
        found = re.search(r'rel="next" href="([^"]+)"', page)
        query = found[1].replace("&amp;", "&") if found else ""
    assert [len(page) for page in forth] == [3, 3, 2]
    assert sum(forth, []) == expected  # noqa: RUF017
    back = []
    query = f"?order={order}&newer=0.0"
    while query:
        page = support.get(f"{LIST}{query}").text
        back.append(shown(support, query))
        found = re.search(r'rel="prev" href="([^"]+)"', page)
        query = found[1].replace("&amp;", "&") if found else ""
    assert sum(back[::-1], []) == expected  # noqa: RUF017


def test_the_latest_message_comes_first(support: Client) -> None:
    newest, middle, oldest = rooms(3)
    say(Conversation.objects.get(public_id=oldest), "hello")
    assert shown(support) == [oldest, newest, middle]
    assert shown(support, "?order=created") == [newest, middle, oldest]


def test_an_id_or_a_session_finds_its_conversations(support: Client, room: Conversation) -> None:
    other = services.create_conversation(1, ["charlie"])
    services.leave_conversation(str(room.public_id), "bob")
    assert shown(support, f"?q={room.public_id}") == [str(room.public_id)]
    assert shown(support, f"?q={str(room.public_id).upper()}") == [str(room.public_id)]
    assert shown(support, "?q=bob") == [str(room.public_id)], "he was there"
    assert shown(support, "?q=charlie") == [str(other.public_id)]
    assert shown(support, "?q=char") == []
    assert shown(support, f"?q={uuid.uuid4()}") == []
    assert shown(support, "?q=%27%20OR%201%3D1") == []


def test_a_space_around_a_session_is_part_of_it(support: Client) -> None:
    spaced, plain = (services.create_conversation(1, [name]) for name in (" bob ", "bob"))
    assert shown(support, "?q=%20bob%20") == [str(spaced.public_id)]
    assert shown(support, "?q=bob") == [str(plain.public_id)]
    assert shown(support, f"?q=%20{plain.public_id}%20") == [str(plain.public_id)]


def test_a_msgid_leads_to_its_message(support: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    answer = support.get(LIST, {"q": f" {msg_id.lower()} "})
    assert answer["Location"] == f"{address(room)}?at={msg_id}"
    assert support.get(LIST, {"q": "EDCZL-SY32-243Y-VWQ"}).status_code == 404


def test_filters_narrow_the_list(support: Client) -> None:
    small = services.create_conversation(5, ["alice"])
    large = services.create_conversation(6, [f"user-{number}" for number in range(12)])
    gone = services.create_conversation(6, [])
    services.set_archived([str(small.public_id)], True)
    services.set_deleted([str(gone.public_id)], True)
    say(large, "hello", "user-1")
    names = {str(small.public_id): "small", str(large.public_id): "large", str(gone.public_id): "gone"}
    for query, expected in {
        "?type=5": {"small"},
        "?type=6": {"large", "gone"},
        "?type=7": set(),
        "?archived=1": {"small"},
        "?archived=0": {"large", "gone"},
        "?deleted=1": {"gone"},
        "?deleted=0": {"small", "large"},
        "?active=hour": {"large"},
        "?active=week": {"large"},
        "?size=2": {"small", "gone"},
        "?size=100": {"large"},
        "?size=more": set(),
        "?type=6&deleted=0": {"large"},
    }.items():
        assert {names[found] for found in shown(support, query)} == expected, query


@pytest.mark.parametrize(
    "query", ["?type=x", "?type=-1", "?archived=2", "?active=year", "?order=random", "?q=" + "x" * 129]
)
def test_a_filter_that_is_none_is_said_to_be_wrong(query: str, support: Client, room: Conversation) -> None:
    answer = support.get(f"{LIST}{query}")
    assert answer.status_code == 400
    assert "errornote" in answer.text


@pytest.mark.parametrize("place", ["x", "1", "1.x", "9" * 30 + ".1", "-1.-1"])
def test_a_place_that_is_none_is_the_beginning(place: str, support: Client, room: Conversation) -> None:
    assert shown(support, f"?older={place}") == [str(room.public_id)]


def test_many_are_not_counted(support: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms(5)
    assert "5 conversations" in support.get(LIST).text
    monkeypatch.setattr(listing, "COUNTED", 3)
    assert "more than 3 conversations" in support.get(f"{LIST}?type=1").text
    monkeypatch.setattr(listing, "_estimate", lambda: 123_456)
    assert "about 123,456 conversations" in support.get(LIST).text


@pytest.mark.parametrize("query", ["", "?type=1", "?q=alice", "?order=created", "?active=day", "?older=9.9"])
def test_a_page_makes_as_many_queries_with_many_as_with_few(query: str, support: Client) -> None:
    counts = []
    for more in (3, 40, 60):
        rooms(more)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            shown(support, query)
        counts.append(len(queries))
    assert len(set(counts)) == 1, counts
    assert counts[0] <= 12
