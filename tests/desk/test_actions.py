"""Acting: each deed asks first, does what the API does, and stands in the log with who, what and why."""

import re
from typing import Any

import pytest
from django.test import Client

from conversations import announcements, services
from conversations.models import Conversation, Membership
from gateway.desk import action_views, actions
from messaging.models import Draft, Message
from quickim.errors import Unavailable
from tests.desk.conftest import WHY, address, logged, login, say

ACTIVE, KICKED = Membership.State.ACTIVE, Membership.State.KICKED


def do(client: Client, room: Conversation, name: str, **fields: Any) -> str:
    """Does it and returns the page that the browser is led to; fails when it was refused."""
    answer = client.post(address(room, f"{name}/"), {"reason": WHY, **fields}, follow=True)
    assert answer.redirect_chain == [(address(room), 302)], answer.text
    return str(answer.text)


def refusal(client: Client, room: Conversation, name: str, **fields: Any) -> str:
    """What a page that did nothing says."""
    answer = client.post(address(room, f"{name}/"), {"reason": WHY, **fields})
    assert answer.status_code == 400
    return " ".join(re.findall(r'class="errornote">([^<]*)<', answer.text))


def state(room: Conversation) -> dict[str, Any]:
    """The conversation's row and its members, as they are now."""
    members = dict(Membership.objects.filter(conversation=room).values_list("session", "state"))
    return {**Conversation.objects.values().get(pk=room.pk), "members": members}


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is announced while committing is part of the test."""
    facts: list[Any] = []
    monkeypatch.setattr(announcements, "_listeners", [facts.append])
    return facts


@pytest.mark.parametrize("name", list(actions.ACTIONS))
def test_asking_does_nothing(name: str, administrator: Client, room: Conversation) -> None:
    before = state(room)
    page = administrator.get(address(room, f"{name}/"))
    assert page.status_code == 200
    assert 'name="reason"' in page.text
    assert actions.ACTIONS[name].warning[:30] in page.text
    assert state(room) == before
    assert logged() == []


@pytest.mark.parametrize("name", list(actions.ACTIONS))
def test_without_a_reason_nothing_is_done(name: str, administrator: Client, room: Conversation) -> None:
    msg_id, before = say(room, "hello"), state(room)
    fields = {"session": "bob", "sessions": "charlie", "msg_id": msg_id, "content": "hi", "reason": "  "}
    assert administrator.post(address(room, f"{name}/"), fields).status_code == 400
    assert state(room)["members"] == before["members"]
    assert not Conversation.objects.get().is_archived
    assert Message.objects.values_list("content", flat=True).get() == "hello"
    assert Draft.objects.count() == 0
    assert logged() == []


def test_archive_and_unarchive(support: Client, room: Conversation) -> None:
    assert "Archived." in do(support, room, "archive")
    assert Conversation.objects.get().is_archived
    assert "archived already" in refusal(support, room, "archive")
    assert "Unarchived." in do(support, room, "unarchive")
    assert not Conversation.objects.get().is_archived
    assert "not archived" in refusal(support, room, "unarchive")
    target = str(room.public_id)
    assert [line for line in logged() if "transcript" not in line[2]] == [
        ("ada", target, f"Archive. Reason: {WHY}"),
        ("ada", target, f"Unarchive. Reason: {WHY}"),
    ]


def test_remove_and_add_members(administrator: Client, room: Conversation) -> None:
    do(administrator, room, "kick", session="bob")
    assert state(room)["members"] == {"alice": ACTIVE, "bob": KICKED}
    assert "no member" in refusal(administrator, room, "kick", session="bob")
    assert "2 joined." in do(administrator, room, "add", sessions="bob\r\n\r\ncharlie\ncharlie\nalice")
    assert state(room)["members"] == {"alice": ACTIVE, "bob": ACTIVE, "charlie": ACTIVE}
    assert "members already" in refusal(administrator, room, "add", sessions="bob")
    assert "at most" in refusal(administrator, room, "add", sessions="\n".join(map(str, range(300)))).lower()
    assert "control" in refusal(administrator, room, "add", sessions="a\tb")
    whats = [what for _, _, what in logged() if "transcript" not in what]
    assert whats == [f"Remove a member: bob. Reason: {WHY}", f"Add members: bob, charlie, alice. Reason: {WHY}"]


def test_delete_and_restore(administrator: Client, room: Conversation) -> None:
    do(administrator, room, "delete")
    assert Conversation.objects.get().is_deleted
    for name, fields in {
        "archive": {},
        "kick": {"session": "bob"},
        "add": {"sessions": "x"},
        "send": {"content": "x"},
    }.items():
        assert refusal(administrator, room, name, **fields)
    do(administrator, room, "restore")
    assert not Conversation.objects.get().is_deleted
    assert "not deleted" in refusal(administrator, room, "restore")
    assert len([what for _, _, what in logged() if "transcript" not in what]) == 2


def test_redact_a_message(administrator: Client, room: Conversation) -> None:
    msg_id = say(room, "a secret")
    assert msg_id in administrator.get(address(room, f"redact/?msg_id={msg_id}")).text
    assert "a secret" not in do(administrator, room, "redact", msg_id=msg_id.lower())
    assert Message.objects.get(pk=msg_id).content == ""
    assert "redacted already" in refusal(administrator, room, "redact", msg_id=msg_id)
    assert "looks like" in refusal(administrator, room, "redact", msg_id="nonsense")
    assert "no message of this conversation" in refusal(administrator, room, "redact", msg_id="EDCZL-SY32-243Y-VWQ")
    assert [what for _, _, what in logged() if "secret" in what] == []
    assert f"Redact a message: {msg_id}. Reason: {WHY}" in [what for _, _, what in logged()]


def test_send_as_the_system(administrator: Client, room: Conversation) -> None:
    services.set_archived([str(room.public_id)], True)
    do(administrator, room, "send", content=" Two\r\nlines ", type="3", status="-4")
    draft = Draft.objects.get()
    assert (draft.session, draft.content, draft.type, draft.status) == ("", " Two\nlines ", 3, -4)
    assert "Two" not in " ".join(what for _, _, what in logged())
    assert refusal(administrator, room, "send", content="x" * 70_000)
    assert Draft.objects.count() == 1


def hidden(client: Client, room: Conversation) -> str:
    """The id of a form that sends, as it is opened."""
    match = re.search(r'type="hidden" name="client_msg_id" value="(\w+)"', client.get(address(room, "send/")).text)
    assert match is not None
    return match[1]


def test_a_form_that_is_sent_twice_sends_one_message(administrator: Client, room: Conversation) -> None:
    form = hidden(administrator, room)
    for _ in range(2):
        do(administrator, room, "send", content="Two\r\nlines", client_msg_id=form)
    (draft,) = Draft.objects.all()
    assert (draft.content, draft.client_msg_id) == ("Two\nlines", form)
    assert len([what for _, _, what in logged() if "Send" in what]) == 1
    assert "open it anew" in refusal(administrator, room, "send", content="other words", client_msg_id=form)
    do(administrator, room, "send", content="Two\r\nlines", client_msg_id=hidden(administrator, room))
    assert Draft.objects.count() == 2


def test_members_are_added_under_exactly_their_names(administrator: Client, room: Conversation) -> None:
    names = [" outer ", "line\u2028separator", "trailing\u3000"]
    do(administrator, room, "add", sessions="\r\n".join(["", names[0], "  ", *names[1:], ""]))
    assert set(state(room)["members"]) == {"alice", "bob", *names}
    assert "control" in refusal(administrator, room, "add", sessions="next\x85line")
    assert "Name somebody" in refusal(administrator, room, "add", sessions=" \n ")


def test_a_refusal_by_the_database_leaves_no_line(
    administrator: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable

    monkeypatch.setattr(services, "kick_out", fail)
    assert "Refused" in refusal(administrator, room, "kick", session="bob")
    assert logged() == []


@pytest.mark.django_db(transaction=True)
def test_what_is_done_is_announced_and_what_is_refused_is_not(facts: list[Any], room: Conversation) -> None:
    grace = login("grace", is_administrator=True)
    facts.clear()
    do(grace, room, "kick", session="bob")
    refusal(grace, room, "kick", session="bob")
    do(grace, room, "archive")
    assert [fact.event for fact in facts] == ["conversation.left", "conversation.archived"]


def test_many_at_once_are_asked_about_then_done(support: Client) -> None:
    rooms = [services.create_conversation(1, ["alice"]) for _ in range(3)]
    services.set_archived([str(rooms[1].public_id)], True)
    ids = [str(room.public_id) for room in rooms]
    asked = support.post("/admin/conversations/archive/", {"id": [*ids, "nonsense", ids[0]]})
    assert asked.status_code == 200
    assert "3 conversations" in asked.text
    assert Conversation.objects.filter(is_archived=True).count() == 1
    assert support.post("/admin/conversations/archive/", {"id": ids, "confirmed": "1", "reason": ""}).status_code == 400
    done = support.post("/admin/conversations/archive/", {"id": ids, "confirmed": "1", "reason": WHY}, follow=True)
    assert "done in 2 of 3" in done.text
    assert "archived already" in done.text
    assert Conversation.objects.filter(is_archived=True).count() == 3
    assert sorted(logged()) == sorted(("ada", ids[number], f"Archive. Reason: {WHY}") for number in (0, 2))


def test_none_chosen_is_said_to_be_so(support: Client, room: Conversation) -> None:
    answer = support.post("/admin/conversations/archive/", {"confirmed": "1", "reason": WHY}, follow=True)
    assert "No conversation was chosen" in answer.text
    assert support.get("/admin/conversations/archive/", follow=True).status_code == 200
    assert support.post("/admin/conversations/kick/", {"id": str(room.public_id)}).status_code == 404


def test_a_person_is_erased(administrator: Client, room: Conversation) -> None:
    say(room, "a secret")
    say(room, "bob's", "bob")
    assert administrator.get("/admin/erase/?session=alice").status_code == 200
    assert administrator.post("/admin/erase/", {"session": "alice", "reason": ""}).status_code == 400
    assert Message.objects.filter(content="a secret").exists()
    page = administrator.post("/admin/erase/", {"session": "alice", "reason": WHY}).text
    assert "1 message of alice erased. That was all." in page
    assert list(Message.objects.order_by("seq").values_list("content", flat=True)) == ["", "bob's"]
    assert logged() == [
        ("grace", "alice", f"Erase all that this person wrote: begun. Reason: {WHY}"),
        ("grace", "alice", f"Erased 1 messages. Reason: {WHY}"),
    ]


def test_a_long_erasure_goes_on_with_the_next_request(administrator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = [services.create_conversation(1, ["alice"]) for _ in range(3)]
    for room in rooms:
        say(room, "a secret")
    monkeypatch.setattr(action_views, "ERASE_SECONDS", -1.0)
    fields: dict[str, str] = {"session": "alice", "reason": WHY}
    page = ""
    for _ in range(20):
        page = administrator.post("/admin/erase/", fields).text
        if "That was all" in page:
            break
        assert "data-go-on" in page
        fields |= dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.partition("data-go-on")[2]))
    assert "3 messages of alice erased. That was all." in page
    assert not Message.objects.exclude(content="").exists()
    assert [what.partition(" Reason")[0] for _, _, what in logged()] == [
        "Erase all that this person wrote: begun.",
        "Erased 3 messages.",
    ]


@pytest.mark.parametrize(
    "forged",
    [
        {"number": "1", "seq": "0", "messages": "777"},
        {"progress": '{"messages": 777, "number": 1}'},
        {"progress": "of somebody else"},
        {"progress": "of another reason"},
        {"progress": "of another login"},
    ],
)
def test_an_erasure_cannot_be_said_to_have_begun(
    forged: dict[str, str], administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("alice", "bob"):
        say(services.create_conversation(1, [name]), "a secret", name)
    monkeypatch.setattr(action_views, "ERASE_SECONDS", -1.0)
    fields = {
        "of somebody else": {"session": "bob", "reason": WHY},
        "of another reason": {"session": "alice", "reason": "another"},
    }.get(forged.get("progress", ""), {"session": "alice", "reason": WHY})
    who = login("mallory", is_administrator=True) if "another login" in str(forged) else administrator
    page = who.post("/admin/erase/", fields).text
    carried = re.findall(r'name="progress" value="([^"]*)"', page)[0]
    lines = len(logged())
    monkeypatch.setattr(action_views, "ERASE_SECONDS", 5.0)
    given = {"progress": carried} if forged.get("progress", "").startswith("of ") else forged
    page = administrator.post("/admin/erase/", {"session": "alice", "reason": WHY, **given}).text
    assert "That was all" in page
    assert "777" not in page
    whats = [what.partition(" Reason")[0] for name, _, what in logged()[lines:] if name == "grace"]
    assert whats[0] == "Erase all that this person wrote: begun."
    assert "777" not in " ".join(whats)
