"""Addresses that nobody's link leads to: answered as a page that says what is wrong, never as a crash."""

import re

import pytest
from django.test import Client

from conversations import services
from conversations.models import Conversation
from tests.desk.conftest import address, login, say

FIELDS = ("older", "newer", "q", "type", "order", "active", "size", "archived", "deleted")


@pytest.mark.parametrize(
    "path",
    [
        *(f"/admin/conversations/?{name}=%00" for name in FIELDS),
        *(f"{{room}}?{name}=%00" for name in ("before", "after", "at", "day", "offset")),
        "{room}members/?after=%00",
        "{room}members/?after=a%00b",
        "{room}trace/?session=%00&msg_id={msg_id}",
        "{room}trace/?session=alice&msg_id=%00",
        "{room}kick/?session=%00",
        *(f"/admin/search/?word=x&{name}=%00" for name in ("conversation", "since", "until", "below")),
        "/admin/search/?word=%00&conversation={id}",
        "/admin/erase/?session=%00",
        "/admin/admin/logentry/?q=%00",
        "/admin/admin/logentry/?object_id=%00",
        "/admin/auth/user/?username=%00",
    ],
)
def test_a_nul_is_said_to_be_none_of_a_texts(path: str, administrator: Client, room: Conversation) -> None:
    path = path.format(room=address(room), msg_id=say(room, "hello"), id=room.public_id)
    answer = administrator.get(path)
    assert answer.status_code == 400
    assert "<h1" in answer.text


@pytest.mark.parametrize("name", ["%01", "%C2%85", "x" * 129, "%ED%A0%80", "%F0%9F%98%80"])
def test_what_can_be_no_session_is_nobody(name: str, support: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    assert support.get(address(room, f"members/?after={name}")).status_code == 200
    page = support.get(address(room, f"trace/?session={name}&msg_id={msg_id}")).text
    assert "1 to 128 characters" in page or "never was" in page


def test_members_pages_go_on_after_any_name(support: Client) -> None:
    room = services.create_conversation(1, ["alice", " 你好 "])
    page = support.get(address(room, "members/?after=bob")).text
    assert re.findall(r'class="tone\d">([^<]*)<', page) == []
    assert "First page" in page


@pytest.mark.parametrize(
    ("path", "status"),
    [("auth/user/", 403), ("admin/logentry/", 403), ("nonsense/", 404), ("conversations/nonsense/", 404)],
)
def test_a_refusal_is_a_page(path: str, status: int, support: Client) -> None:
    answer = support.get(f"/admin/{path}")
    assert answer.status_code == status
    assert answer["Content-Type"].startswith("text/html")
    assert answer["Content-Security-Policy"].startswith("default-src 'self'")
    assert "<h1" in answer.text
    assert Client().get(f"/admin/{path}").status_code == 302


def test_an_unknown_page_is_one_for_administrators_too(db: None) -> None:
    answer = login("grace", is_administrator=True).get("/admin/auth/user/12345678/change/", follow=True)
    assert "<h1" in answer.text
