"""Who may see and do what: support, administrators, people with a login, people without, and the desk switched off."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from conversations.models import Conversation, Membership
from gateway.desk.actions import ACTIONS
from messaging.models import Message
from tests.desk.conftest import WHY, address, logged, login, say

MSG_ID = "EDCZL-SY32-243Y-VWQ"
OF_SUPPORT = {"", "members/", "trace/", "archive/", "unarchive/", "kick/"}
OF_ADMINISTRATORS = {"add/", "send/", "redact/", "delete/", "restore/", "export/"}


def test_the_migrations_group_may_view_read_archive_and_kick(db: None) -> None:
    permissions = Group.objects.get(name="support").permissions
    assert set(permissions.values_list("codename", flat=True)) == {
        "view_deskconversation",
        "read_transcript",
        "archive",
        "kick",
    }


@pytest.mark.parametrize("rest", sorted(OF_SUPPORT | OF_ADMINISTRATORS))
def test_pages_of_a_conversation(rest: str, support: Client, administrator: Client, room: Conversation) -> None:
    assert support.get(address(room, rest)).status_code == (200 if rest in OF_SUPPORT else 403)
    assert administrator.get(address(room, rest)).status_code == 200
    stranger = Client().get(address(room, rest))
    assert stranger.status_code == 302
    assert stranger["Location"].startswith("/admin/login/")
    assert login("nobody").get(address(room, rest)).status_code == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [("conversations/", 200), ("search/", 200), ("erase/", 403), ("admin/logentry/", 403), ("auth/user/", 403)],
)
def test_pages_of_support(path: str, status: int, support: Client, administrator: Client) -> None:
    assert support.get(f"/admin/{path}").status_code == status
    assert administrator.get(f"/admin/{path}").status_code == 200


@pytest.mark.parametrize("name", sorted(name for name in ACTIONS if f"{name}/" in OF_ADMINISTRATORS))
def test_support_cannot_do_what_is_not_its_own(name: str, support: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    fields = {"reason": WHY, "session": "bob", "sessions": "charlie", "msg_id": msg_id, "content": "hi"}
    before = Conversation.objects.values().get(pk=room.pk)
    assert support.post(address(room, f"{name}/"), fields).status_code == 403
    assert Conversation.objects.values().get(pk=room.pk) == before
    assert Message.objects.values_list("content", flat=True).get() == "hello"
    assert logged() == []


@pytest.mark.parametrize("name", ["delete", "restore"])
def test_support_cannot_do_it_to_many_either(name: str, support: Client, room: Conversation) -> None:
    fields = {"id": [str(room.public_id)], "reason": WHY, "confirmed": "yes"}
    assert support.post(f"/admin/conversations/{name}/", fields).status_code == 403
    assert not Conversation.objects.get().is_deleted


def test_one_permission_more_is_one_deed_more(support: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    User.objects.get(username="ada").user_permissions.add(Permission.objects.get(codename="redact"))
    assert support.get(address(room, "redact/")).status_code == 200
    assert support.get(address(room, "delete/")).status_code == 403
    assert "Redact…" in support.get(address(room)).text
    assert f"msg_id={msg_id}" in support.get(address(room)).text


def test_without_permission_to_read_the_page_shows_no_content(support: Client, room: Conversation) -> None:
    say(room, "a secret")
    Group.objects.get(name="support").permissions.remove(Permission.objects.get(codename="read_transcript"))
    page = support.get(address(room))
    assert page.status_code == 200
    assert "a secret" not in page.text
    assert "alice" in page.text
    assert logged() == []
    for rest in (f"messages/{MSG_ID}/", "trace/"):
        assert support.get(address(room, rest)).status_code == 403
    assert support.get("/admin/search/", {"word": "secret", "conversation": str(room.public_id)}).status_code == 403


def test_links_are_offered_only_to_those_who_may_follow_them(
    support: Client, administrator: Client, room: Conversation
) -> None:
    say(room, "hello")
    ours, theirs = support.get(address(room)).text, administrator.get(address(room)).text
    for rest in ("archive/", "kick/"):
        assert address(room, rest) in ours
        assert address(room, rest) in theirs
    for rest in ("add/", "send/", "redact/", "delete/", "export/"):
        assert address(room, rest) not in ours
        assert address(room, rest) in theirs
    assert "/admin/erase/" not in ours
    assert "/admin/erase/" in theirs


@pytest.mark.parametrize("path", ["gateway/deskconversation/add/", "admin/logentry/add/"])
def test_nothing_is_added_by_hand(path: str, administrator: Client) -> None:
    assert administrator.get(f"/admin/{path}").status_code in (302, 403, 404)


def test_the_log_cannot_be_changed(administrator: Client, room: Conversation) -> None:
    administrator.get(address(room))
    (line,) = logged()
    entry = f"/admin/admin/logentry/{LogEntry.objects.get().pk}/"
    assert administrator.post(f"{entry}change/", {"change_message": "nothing"}).status_code == 403
    assert administrator.post(f"{entry}delete/", {"post": "yes"}).status_code == 403
    assert logged() == [line]


def test_a_post_without_its_token_changes_nothing(room: Conversation) -> None:
    grace = login("grace", is_administrator=True)
    careful = Client(enforce_csrf_checks=True)
    careful.cookies = grace.cookies
    assert careful.post(address(room, "archive/"), {"reason": WHY}).status_code == 403
    assert not Conversation.objects.get().is_archived
    assert Membership.objects.count() == 2
