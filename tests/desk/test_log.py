"""The log at the desk: the latest first, found by what it is about, at a constant price, in time."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from conversations.models import Conversation
from gateway.desk import registry
from gateway.desk.audit import record
from gateway.desk.limits import TookTooLong
from tests.desk.conftest import address

LOG = "/admin/admin/logentry/"


def lines(client: Client, **query: str) -> list[str]:
    """What the page lists, in its order."""
    answer = client.get(LOG, query)
    assert answer.status_code == 200
    return re.findall(r'<td class="field-change_message">([^<]*)</td>', answer.text)


def write(*targets: str, name: str = "ada") -> None:
    """A line about each."""
    user = User.objects.get_or_create(username=name)[0]
    for number, target in enumerate(targets):
        record(user, target, f"deed {number}")


def test_the_latest_come_first_and_nothing_else_orders_them(administrator: Client) -> None:
    write("alice", "bob", "charlie")
    assert lines(administrator) == ["deed 2", "deed 1", "deed 0"]
    assert "?o=" not in administrator.get(LOG).text


def test_it_is_found_by_what_it_is_about_and_by_who_did_it(administrator: Client, room: Conversation) -> None:
    write("alice", "alice cooper", str(room.public_id))
    write("bob", name="eve")
    assert lines(administrator, q="alice") == ["deed 0"]
    assert lines(administrator, q="alice cooper") == ["deed 1"]
    assert lines(administrator, q=str(room.public_id)) == ["deed 2"]
    assert lines(administrator, q="ada") == ["deed 2", "deed 1", "deed 0"]
    assert lines(administrator, q="eve") == ["deed 0"]
    assert lines(administrator, q="nobody") == []


def test_times_say_their_zone(administrator: Client, room: Conversation) -> None:
    administrator.get(address(room))
    entry = f"{LOG}{LogEntry.objects.get().pk}/change/"
    for page in (LOG, entry):
        assert re.search(
            r'<time datetime="[\d-]+T[\d:.]+Z"[^>]*>[\d-]+ [\d:]+ UTC</time>', administrator.get(page).text
        )


def test_a_page_makes_as_many_queries_with_many_as_with_few(administrator: Client) -> None:
    counts = []
    for more in (2, 60, 60):
        write(*["alice"] * more)
        with CaptureQueriesContext(connection) as queries:
            lines(administrator, q="alice")
        counts.append(len(queries))
    assert len(set(counts)) == 1, counts


def test_what_it_is_found_by_has_an_index(db: None) -> None:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, LogEntry._meta.db_table)
    columns = [one["columns"] for one in found.values() if one["index"]]
    assert ["object_id", "id"] in columns
    assert ["action_time"] in columns


def test_what_takes_too_long_is_stopped(administrator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object) -> int:
        raise TookTooLong

    monkeypatch.setattr(registry.BoundedPaginator, "count", property(give_up))
    answer = administrator.get(LOG)
    assert answer.status_code == 503
    assert "Narrow it down" in answer.text
