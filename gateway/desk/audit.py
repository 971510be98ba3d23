"""The admin log: who did what, and why. Contents of messages never go in there.

Law: a change and its line are one transaction; the line is written first, so that the change's time stays the last
thing before the commit (quickim.database.timely).
"""

import time
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.base import SessionBase
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


def may_go_on_viewing(session: SessionBase, conversation_id: str) -> bool:
    """Whether ``session`` (a login's) is viewing that transcript, so that a line about it stands in the log."""
    return conversation_id in session.get(_VIEWINGS, {})
