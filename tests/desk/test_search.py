"""Words in messages: found wherever they stand, in bounded steps, and not by those who may not read."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from conversations import services
from conversations.models import Conversation
from gateway.desk import search
from gateway.desk.limits import TookTooLong, time_limit
from tests.desk.conftest import logged, login, say

SEARCH = "/admin/search/"
DAYS = {
    "since": f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}",
    "until": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}",
}


def found(client: Client, **query: str) -> list[str]:
    """The MsgIds that a page of hits leads to."""
    answer = client.get(SEARCH, query)
    assert answer.status_code == 200
    return re.findall(r"\?at=([2-9A-Z-]{19})", answer.text)


def test_words_are_found_in_one_conversation_or_in_all(support: Client, room: Conversation) -> None:
    other = services.create_conversation(1, ["alice"])
    first, _, third = say(room, "My Parcel is lost"), say(room, "Which one?"), say(other, "a parcel for you")
    assert found(support, word="parcel", conversation=str(room.public_id)) == [first]
    assert found(support, word="PARCEL", **DAYS) == [third, first]
    assert found(support, word="parcel", since="2020-01-01", until="2020-01-02") == []
    assert found(support, word="parcel.", **DAYS) == []


@pytest.mark.parametrize("word", ["100%", "a_b", "back\\slash", "o'clock", '"quoted"', "你好", "<b>"])
def test_a_word_is_taken_as_it_is(word: str, support: Client, room: Conversation) -> None:
    msg_id = say(room, f"before {word} after")
    say(room, "before 100x aXb backslash oclock quoted 您好 b after")
    assert found(support, word=word, conversation=str(room.public_id)) == [msg_id]
    assert found(support, word=word, **DAYS) == [msg_id]


def test_a_hit_shows_what_stands_around_it(support: Client, room: Conversation) -> None:
    say(room, "x" * 500 + " the needle here " + "y" * 500)
    page = support.get(SEARCH, {"word": "Needle", "conversation": str(room.public_id)}).text
    assert re.search(r"…x{70,80} the <mark>needle</mark> here y{70,80}…", page)


def test_one_request_looks_at_so_many_and_the_next_goes_on(
    support: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 4)
    monkeypatch.setattr(search, "FOUND", 2)
    wanted = [say(room, f"message {number}" + " needle" * (number in (0, 1, 5, 6, 7, 8))) for number in range(10)]
    for query in ({"conversation": str(room.public_id)}, DAYS):
        hits, following = [], "go on"
        address: str = f"{SEARCH}?word=needle&" + "&".join(f"{name}={value}" for name, value in query.items())
        steps = 0
        while following:
            page = support.get(address).text
            hits += re.findall(r"\?at=([2-9A-Z-]{19})", page)
            match = re.search(r'rel="next" href="\?([^"]+)"', page)
            following = match[1].replace("&amp;", "&") if match else ""
            address = f"{SEARCH}?{following}"
            steps += 1
        assert hits == [wanted[number] for number in (8, 7, 6, 5, 1, 0)]
        assert 3 <= steps <= 6


def test_it_says_what_is_missing(support: Client, room: Conversation) -> None:
    assert "first and the last day" in support.get(SEARCH, {"word": "x"}).text
    assert "first and the last day" in support.get(SEARCH, {"word": "x", "since": DAYS["since"]}).text
    assert "no conversation" in support.get(SEARCH, {"word": "x", "conversation": "y"}).text
    unknown = {"word": "x", "conversation": "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52"}
    assert support.get(SEARCH, unknown).status_code == 404
    assert "at most 200 characters" in support.get(SEARCH, {"word": "x" * 201, **DAYS}).text
    assert logged() == []


def test_a_search_over_all_is_logged_without_the_word(support: Client, room: Conversation) -> None:
    found(support, word="needle", **DAYS)
    ((who, _, what),) = logged()
    assert who == "ada"
    assert DAYS["since"] in what
    assert "needle" not in what


def following(client: Client, **query: str) -> str:
    """The place from which the page's link goes on."""
    match = re.search(r'rel="next" href="\?([^"]+)"', client.get(SEARCH, query).text)
    assert match is not None
    return str(parse_qs(match[1].replace("&amp;", "&"))["below"][0])


def test_what_goes_on_is_one_search_and_whatever_does_not_is_logged(
    support: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 2)
    first, *_ = [say(room, "pineapple") for _ in range(4)]
    place = following(support, word="pineapple", **DAYS)
    assert len(logged()) == 1
    assert first in found(support, word="pineapple", below=place, **DAYS)
    assert len(logged()) == 1
    earlier = f"{datetime.now(UTC) - timedelta(days=5):%Y-%m-%d}"
    for asked in (
        {"word": "pineapple", "below": "x", **DAYS},
        {"word": "pineapple", "below": "22222-2222-2222-222", **DAYS},
        {"word": "pine", "below": place, **DAYS},
        {"word": "pineapple", "below": place, **DAYS, "since": earlier},
    ):
        before = len(logged())
        assert "begins anew" in support.get(SEARCH, asked).text
        assert len(logged()) == before + 1, asked
    other = login("eve", groups=["support"])
    found(other, word="pineapple", below=place, **DAYS)
    assert logged()[-1][0] == "eve"
    monkeypatch.setattr("gateway.desk.carried.CARRIED_SECONDS", -1)
    assert "begins anew" in support.get(SEARCH, {"word": "pineapple", "below": place, **DAYS}).text


@pytest.mark.parametrize("below", ["99999", "x", ""])
def test_a_search_in_one_conversation_is_a_viewing_of_it(below: str, support: Client, room: Conversation) -> None:
    say(room, "pineapple")
    assert found(support, word="pineapple", conversation=str(room.public_id), below=below)
    assert logged() == [("ada", str(room.public_id), "Read the transcript.")]


@pytest.mark.parametrize(
    ("content", "word", "marked"),
    [
        ("Zwei ÄPFEL", "äpfel", "ÄPFEL"),
        ("привет всем", "ПРИВЕТ", "привет"),
        ("İstanbul İstanbul pineapple", "Pineapple", "pineapple"),
    ],
)
def test_upper_and_lower_case_are_one_in_every_script(
    content: str, word: str, marked: str, support: Client, room: Conversation
) -> None:
    msg_id = say(room, content)
    say(room, "Apfel")
    for query in ({"conversation": str(room.public_id)}, DAYS):
        assert found(support, word=word, **query) == [msg_id]
        assert f"<mark>{marked}</mark>" in support.get(SEARCH, {"word": word, **query}).text


@pytest.mark.parametrize("where", ["conversation", "days"])
def test_it_makes_as_many_queries_with_many_as_with_few(where: str, support: Client, room: Conversation) -> None:
    query = {"conversation": str(room.public_id)} if where == "conversation" else DAYS
    found(support, word="message", **query)
    counts = []
    for more in (2, 30):
        for number in range(more):
            say(room, f"message {number}")
        with CaptureQueriesContext(connection) as queries:
            assert found(support, word="message", **query)
        counts.append(len(queries))
    assert len(set(counts)) == 1, counts
    assert counts[0] <= 14


@pytest.mark.django_db(transaction=True)
def test_what_takes_too_long_is_stopped_in_the_database() -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(TookTooLong), time_limit(0.2), connection.cursor() as cursor:
        cursor.execute(endless)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_a_page_that_takes_too_long_says_so(support: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object) -> None:
        raise TookTooLong

    monkeypatch.setattr(search, "in_time", give_up)
    answer = support.get(SEARCH, {"word": "x", **DAYS})
    assert answer.status_code == 503
    assert "Narrow it down" in answer.text
