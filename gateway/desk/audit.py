"""The admin log: who did what, and why. Contents of messages never go in there.

Law: a change and its line are one transaction; the line is written first, so that the change's time stays the last
thing before the commit (quickim.database.timely).
"""

import time
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.http import HttpRequest

from gateway.desk.models import DeskConversation
from quickim.database import write_transaction

VIEWING_SECONDS = 1_800
"""One viewing of a transcript: paging, jumping and coming back within this are no further one."""
_VIEWINGS = "desk_viewings"
_VIEWINGS_KEPT = 200


def record(user: Any, target: str, what: str, reason: str = "") -> None:
    """Write a line about ``target``, a conversation's id or a session."""
    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(DeskConversation, for_concrete_model=False),
        object_id=target,
        object_repr=target[:200],
        action_flag=CHANGE,
        change_message=f"{what} Reason: {reason}" if reason else what,
    )


def record_viewing(request: HttpRequest, conversation_id: str) -> None:
    """Write that a transcript is looked at, once for each viewing."""
    now = int(time.time())
    viewings: dict[str, int] = request.session.get(_VIEWINGS, {})
    if viewings.get(conversation_id, 0) > now:
        return
    kept = {name: until for name, until in viewings.items() if until > now}
    for name in sorted(kept, key=lambda name: kept[name])[: max(0, len(kept) - _VIEWINGS_KEPT + 1)]:
        del kept[name]
    with write_transaction():
        record(request.user, conversation_id, "Read the transcript.")
    request.session[_VIEWINGS] = kept | {conversation_id: now + VIEWING_SECONDS}


def is_viewing(session: SessionBase, conversation_id: str) -> bool:
    """Whether ``session`` (a login's) is viewing that transcript now, so that a line about it stands in the log."""
    until: int = session.get(_VIEWINGS, {}).get(conversation_id, 0)
    return until > time.time()


def go_on_viewing(session: SessionBase, conversation_id: str) -> None:
    """The transcript is looked at all along, on an open page: that is the same viewing for another while. Who logged
    out stays so, and no login lives longer for it."""
    now = int(time.time())
    viewings: dict[str, int] = session.get(_VIEWINGS, {})
    if viewings.get(conversation_id, 0) > now + VIEWING_SECONDS // 2:
        return
    session[_VIEWINGS] = viewings | {conversation_id: now + VIEWING_SECONDS}
    with write_transaction():
        # Not save(), which would move the end of the login.
        Session.objects.filter(pk=session.session_key).update(session_data=session.encode(dict(session.items())))
