"""A transcript that grows while it is looked at: server-sent events for the desk's own page.

Laws: it runs on the event loop and holds neither a thread nor a database connection; it is let in by the login of the
admin and by nothing else, and ends within ``RIGHTS_SECONDS`` of a logout or a lost permission; nothing is kept for a
reader: what he has not taken is read when he takes it, and when much is said he is told so instead.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django_eventstream.utils import sse_encode_event

from conversations.models import Conversation
from gateway.desk.audit import go_on_viewing, is_viewing
from gateway.desk.models import READ, REDACT, VIEW, permission
from gateway.desk.transcript import after, before
from gateway.node import node
from gateway.watchers import Watcher
from messaging.models import Redaction
from quickim.database import in_database
from quickim.errors import ConversationNotFound, InvalidParameter, MethodNotAllowed, NotAllowed, Unavailable
from quickim.rest.answers import failure
from quickim.rest.strict_json import encode

LOOK_SECONDS = 5.0
"""How often it looks without having been woken: what no announcement told is shown then."""
RIGHTS_SECONDS = 10.0
PAUSE_SECONDS = 0.2
"""Between two looks at least."""
MAX_BEHIND = 200
"""More messages than these are left out, but for the last page of them."""
LOOK_BACK_MICROSECONDS = 60_000_000
MAX_REDACTIONS = 500


@dataclass(slots=True)
class _Place:
    """How far a stream has come in its conversation."""

    public_id: uuid.UUID
    session_key: str
    seq: int
    redaction: int
    version: int
    since: int
    checked: float = 0.0
    may_redact: bool = False
    has_more: bool = False
    """Whether a look found more than a page."""


async def live(request: HttpRequest) -> HttpResponseBase:
    """``GET /admin/live?conversation=…&after=<Seq>&version=<member_version>&since=<microseconds>``."""
    try:
        if request.method != "GET":
            raise MethodNotAllowed
        place = _Place(
            public_id=_conversation(request.GET.get("conversation", "")),
            session_key=request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""),
            seq=_number(request, "after"),
            redaction=0,
            version=_number(request, "version"),
            since=_number(request, "since") - LOOK_BACK_MICROSECONDS,
        )
        number = await in_database(_enter, place)
        watcher = node().watchers.open(number, place.session_key)
    except Exception as error:  # noqa: BLE001  # the law of quickim.rest.answers: every failure is an envelope
        return failure(error)
    response = StreamingHttpResponse(_events(watcher, place), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    # Otherwise nginx collects a stream before it passes it on.
    response["X-Accel-Buffering"] = "no"
    return response


# Served on the event loop, and ended when the client goes (quickim.rest.edge).
live.lean = True  # type: ignore[attr-defined]
live.waits = True  # type: ignore[attr-defined]


async def _events(watcher: Watcher, place: _Place) -> AsyncIterator[bytes]:
    try:
        yield b": desk\nretry: 3000\n\n"
        while not watcher.is_over:
            try:
                events = await in_database(_look, place)
            except (NotAllowed, ConversationNotFound):
                yield _event("end", {"reason": "Your login or your permission has ended. Reload the page."})
                return
            except (Unavailable, DatabaseError, InterfaceError):
                events = []
            for name, body in events:
                yield _event(name, body)
            if not events:
                # Also tells a client that is gone from a silent conversation.
                yield b": still here\n\n"
            if not place.has_more:
                await watcher.wait(LOOK_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        node().watchers.close(watcher)


def _event(name: str, body: dict[str, Any]) -> bytes:
    return str(sse_encode_event(name, encode(body).decode())).encode()


def _enter(place: _Place) -> int:
    """The conversation's number. Raises NotAllowed or ConversationNotFound. Synchronous."""
    _check_rights(place)
    number = Conversation.objects.filter(public_id=place.public_id).values_list("pk", flat=True).first()
    if number is None:
        raise ConversationNotFound
    return number


def _check_rights(place: _Place) -> None:
    """Whether the login behind the stream still stands, and may still read. Raises NotAllowed."""
    request = HttpRequest()
    request.session = SessionStore(place.session_key or None)
    user = get_user(request)
    may_read = user.has_perms([permission(VIEW), permission(READ)]) if user.is_active else False
    if not may_read or not getattr(user, "is_staff", False):
        raise NotAllowed
    # What is looked at stands in the log: the page saw to that, and a stream without a break is the same viewing.
    if not place.checked and not is_viewing(request.session, str(place.public_id)):
        raise NotAllowed
    go_on_viewing(request.session, str(place.public_id))
    place.may_redact = user.has_perm(permission(REDACT))
    place.checked = time.monotonic()


def _look(place: _Place) -> list[tuple[str, dict[str, Any]]]:
    """The events since the last look. Raises NotAllowed or ConversationNotFound. Synchronous."""
    if time.monotonic() - place.checked > RIGHTS_SECONDS:
        _check_rights(place)
    conversation = Conversation.objects.filter(public_id=place.public_id).first()
    if conversation is None:
        raise ConversationNotFound
    events: list[tuple[str, dict[str, Any]]] = []
    if conversation.last_seq > place.seq:
        is_behind = conversation.last_seq - place.seq > MAX_BEHIND
        shown = before(conversation, conversation.last_seq + 1) if is_behind else after(conversation, place.seq)
        if shown.lines:
            place.seq = shown.last
            context = {"lines": shown.lines, "conversation": conversation, "may_redact": place.may_redact}
            # A plain string: Django's marked one is none of JSON's.
            html = render_to_string("admin/desk/lines.html", context).encode().decode()
            events.append(("lines", {"html": html, "last": shown.last, "left_out": is_behind}))
    rows = Redaction.objects.filter(conversation=conversation, at__gt=place.since, pk__gt=place.redaction)
    redacted = list(rows.order_by("pk").values_list("pk", "seq")[:MAX_REDACTIONS])
    if redacted:
        place.redaction = redacted[-1][0]
        events.append(("redacted", {"seqs": [seq for _, seq in redacted]}))
    if conversation.member_version != place.version:
        place.version = conversation.member_version
        events.append(("changed", {"archived": conversation.is_archived, "deleted": conversation.is_deleted}))
    place.has_more = conversation.last_seq > place.seq
    return events


def _conversation(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ConversationNotFound from None


def _number(request: HttpRequest, name: str) -> int:
    text = request.GET.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InvalidParameter.field(name, "must be an integer")
    return int(text)
