"""What the desk can do to a conversation: for each deed its permission, its question, its fields, and the domain
service that does it.

Law: a deed either happens, with its line in the admin log, or raises and leaves neither.
"""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms

from conversations import services
from conversations.models import Conversation
from gateway.desk import models as may
from gateway.desk.audit import record
from messaging.models import Draft, Message
from messaging.msgid import is_well_formed
from messaging.redaction import redact_message
from messaging.services import post_message
from quickim.database import locked, write_transaction
from quickim.rest.fields import MAX_CLIENT_MSG_ID_CHARACTERS, MAX_SESSION_CHARACTERS, SESSION_PATTERN

MAX_SESSIONS = 200
NO_SESSION = "A session has 1 to 128 characters and no control characters."
Cleaned = dict[str, Any]


class NothingToDo(Exception):
    """It is so already, or there is nobody and nothing to do it to; its text says which."""


class AlreadyDone(Exception):
    """The same form came a second time, and what it asks for was done by the first; its text says so."""


class Reason(forms.Form):
    """Every deed is given a reason, which goes into the admin log."""

    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "For the log: a ticket, a request, a rule"}),
    )


def _check_session(text: str) -> None:
    if SESSION_PATTERN.fullmatch(text) is None:
        raise forms.ValidationError(NO_SESSION)


class OneSession(Reason):
    """Somebody."""

    session = forms.CharField(max_length=MAX_SESSION_CHARACTERS, strip=False, validators=[_check_session])
    field_order = ("session", "reason")


class SomeSessions(Reason):
    """Several people, a line each."""

    sessions = forms.CharField(
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=f"One session a line, exactly as it is, at most {MAX_SESSIONS}. Blank lines are left out.",
    )
    field_order = ("sessions", "reason")

    def clean_sessions(self) -> list[str]:
        """The sessions, without doubles."""
        # Not splitlines(), which ends a line at characters that may stand in a name.
        lines = [line for line in re.split(r"\r?\n", self.cleaned_data["sessions"]) if line.strip()]
        sessions = list(dict.fromkeys(lines))
        if not sessions:
            raise forms.ValidationError("Name somebody.")
        for session in sessions:
            _check_session(session)
        if len(sessions) > MAX_SESSIONS:
            raise forms.ValidationError(f"At most {MAX_SESSIONS} at a time.")
        return sessions


class OneMessage(Reason):
    """A message."""

    msg_id = forms.CharField(label="MsgId", max_length=19)
    field_order = ("msg_id", "reason")

    def clean_msg_id(self) -> str:
        """The MsgId, well-formed."""
        msg_id = str(self.cleaned_data["msg_id"]).upper()
        if not is_well_formed(msg_id):
            raise forms.ValidationError("A MsgId looks like EDCZL-SY32-243Y-VWQ.")
        return msg_id


class SystemMessage(Reason):
    """What the system shall say."""

    content = forms.CharField(strip=False, widget=forms.Textarea(attrs={"rows": 4}))
    type = forms.IntegerField(required=False, min_value=-(2**31), max_value=2**31 - 1, help_text="0 when empty.")
    status = forms.IntegerField(required=False, min_value=-(2**31), max_value=2**31 - 1, help_text="0 when empty.")
    client_msg_id = forms.CharField(
        required=False,
        max_length=MAX_CLIENT_MSG_ID_CHARACTERS,
        widget=forms.HiddenInput,
        initial=lambda: uuid.uuid4().hex,
    )
    """Of this form as it was opened: sent twice, it is one message."""
    field_order = ("content", "type", "status", "reason")

    def clean_content(self) -> str:
        """The content; browsers send line ends as CRLF."""
        return str(self.cleaned_data["content"]).replace("\r\n", "\n")


Deed = Callable[[Conversation, Cleaned], str]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. ``deed`` does it and says in the past tense what it did; ``warning`` says what it means for the
    members, and whether it can be undone."""

    name: str
    label: str
    permission: str
    warning: str
    deed: Deed
    form: type[Reason] = Reason
    is_destructive: bool = False
    suits: Callable[[Conversation], bool] = lambda conversation: not conversation.is_deleted
    """Whether it makes sense for the conversation as it is."""
    many: bool = False
    """Whether it can be done to many at once."""


def perform(action: Action, user: Any, conversation: Conversation, cleaned: Cleaned) -> str:
    """Do it, as one transaction with its line in the log; what was done, in words. Raises NothingToDo, AlreadyDone, or
    what the domain or the database refuses."""
    with write_transaction():
        what = _intention(action, cleaned)
        record(user, str(conversation.public_id), what, cleaned["reason"])
        return action.deed(conversation, cleaned)


def _intention(action: Action, cleaned: Cleaned) -> str:
    named = cleaned.get("session") or cleaned.get("msg_id") or ", ".join(cleaned.get("sessions", ()))
    return f"{action.label}: {named}." if named else f"{action.label}."


def _archive(value: bool) -> Deed:
    def deed(conversation: Conversation, cleaned: Cleaned) -> str:
        if conversation.is_archived == value:
            raise NothingToDo("It is archived already." if value else "It is not archived.")
        if services.set_archived([str(conversation.public_id)], value):
            raise NothingToDo("It is deleted: restore it first.")
        return "Archived." if value else "Unarchived."

    return deed


def _delete(value: bool) -> Deed:
    def deed(conversation: Conversation, cleaned: Cleaned) -> str:
        if conversation.is_deleted == value:
            raise NothingToDo("It is deleted already." if value else "It is not deleted.")
        services.set_deleted([str(conversation.public_id)], value)
        return "Deleted." if value else "Restored."

    return deed


def _kick(conversation: Conversation, cleaned: Cleaned) -> str:
    _, failed = services.kick_out(str(conversation.public_id), [cleaned["session"]])
    if failed:
        raise NothingToDo(f"{cleaned['session']} is no member now.")
    return f"{cleaned['session']} was removed."


def _add(conversation: Conversation, cleaned: Cleaned) -> str:
    before = conversation.member_count
    joined = services.join_conversation(str(conversation.public_id), cleaned["sessions"])
    if joined.member_count == before:
        raise NothingToDo("All of them are members already.")
    return f"{joined.member_count - before} joined."


def _redact(conversation: Conversation, cleaned: Cleaned) -> str:
    if not redact_message(str(conversation.public_id), cleaned["msg_id"]):
        raise NothingToDo("It is redacted already.")
    return f"The content of {cleaned['msg_id']} is gone."


def _send(conversation: Conversation, cleaned: Cleaned) -> str:
    said: Cleaned = {"content": cleaned["content"], "type": cleaned["type"] or 0, "status": cleaned["status"] or 0}
    client_msg_id = cleaned["client_msg_id"]
    if client_msg_id:
        # The second click waits here for the first one.
        locked(Conversation.objects.filter(pk=conversation.pk)).get()
        # In this order: a draft that is gone has become a message.
        for sent in (Draft, Message):
            rows = sent.objects.filter(conversation=conversation, session="", client_msg_id=client_msg_id)
            if (first := rows.values(*said).first()) is None:
                continue
            if first == said:
                raise AlreadyDone("It was sent already, and is not sent again.")
            raise NothingToDo("This form has sent something else already: open it anew.")
    post_message(str(conversation.public_id), client_msg_id=client_msg_id, **said)
    return "Sent as the system."


ACTIONS = {
    action.name: action
    for action in (
        Action(
            "archive",
            "Archive",
            may.ARCHIVE,
            "Members can still read it; they cannot send any more, and nobody can join by himself. They are told at"
            " once. It can be unarchived.",
            _archive(True),
            suits=lambda conversation: not conversation.is_deleted and not conversation.is_archived,
            many=True,
        ),
        Action(
            "unarchive",
            "Unarchive",
            may.ARCHIVE,
            "Members can send again. They are told at once.",
            _archive(False),
            suits=lambda conversation: not conversation.is_deleted and conversation.is_archived,
            many=True,
        ),
        Action(
            "add",
            "Add members",
            may.ADD,
            "They can read all that was said so far, and are told at once, as are those who are there. Who was removed"
            " before can be added again.",
            _add,
            SomeSessions,
        ),
        Action(
            "kick",
            "Remove a member",
            may.KICK,
            "He can neither read nor send any more and gets nothing that is said from now on; he cannot come back by"
            " himself. He and the others are told at once. He can be added again.",
            _kick,
            OneSession,
            is_destructive=True,
        ),
        Action(
            "send",
            "Send as the system",
            may.SEND,
            "All members get it as a message of the system, without a name. It cannot be taken back from those who read"
            " it.",
            _send,
            SystemMessage,
        ),
        Action(
            "redact",
            "Redact a message",
            may.REDACT,
            "Its content is deleted for good. Its place in the conversation stays, and members are told at once to"
            " forget what it said. This cannot be undone.",
            _redact,
            OneMessage,
            is_destructive=True,
            suits=lambda conversation: True,
        ),
        Action(
            "delete",
            "Delete",
            may.DELETE,
            "For members it is as if it never was: they cannot read it, and get nothing of it. They are told at once."
            " Nothing of it is lost, and it can be restored.",
            _delete(True),
            is_destructive=True,
            many=True,
        ),
        Action(
            "restore",
            "Restore",
            may.DELETE,
            "It is there again for its members, with all that was said. They are told at once.",
            _delete(False),
            suits=lambda conversation: conversation.is_deleted,
            many=True,
        ),
    )
}
"""By name, in the order in which they are offered."""
