"""Pages to look at: the list, one conversation with its transcript, its members, and one message."""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode

from conversations.models import Conversation, Membership
from gateway.desk import listing, query, transcript
from gateway.desk.actions import ACTIONS, Action
from gateway.desk.answers import conversation_of, desk_page, page, refused
from gateway.desk.audit import record_viewing
from gateway.desk.limits import time_limit
from gateway.desk.models import READ, REDACT, VIEW, permission
from messaging.models import Message
from messaging.msgid import is_well_formed
from quickim.database import database_clock

SOME_MEMBERS = 20
MEMBERS = 100


@desk_page(VIEW)
def conversations(request: HttpRequest) -> HttpResponse:
    """The list, or straight to what was asked for by a MsgId."""
    if is_well_formed(msg_id := request.GET.get("q", "").strip().upper()):
        return _to_message(request, msg_id)
    form = listing.Filters(request.GET)
    if not form.is_valid():
        return page(request, "list", "Conversations", 400, form=form)
    wanted = form.cleaned_data
    with time_limit():
        rows = listing.conversations(wanted)
        shown = listing.page(rows, wanted["order"], request.GET.get("older", ""), request.GET.get("newer", ""))
        is_narrowed = any(value for name, value in wanted.items() if name != "order") or wanted["type"] == 0
        count = listing.how_many(rows, is_narrowed=is_narrowed)
    kept = query.kept(request, "older", "newer")
    return page(
        request,
        "list",
        "Conversations",
        form=form,
        rows=shown.rows,
        count=count,
        older=urlencode(kept | {"older": shown.older}) if shown.older else "",
        newer=urlencode(kept | {"newer": shown.newer}) if shown.newer else "",
        is_narrowed=is_narrowed,
        actions=[action for action in _allowed(request) if action.many],
    )


@desk_page(VIEW)
def conversation(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """One conversation: its state, some members, what can be done, and for readers its transcript."""
    asked = conversation_of(public_id)
    may_read = request.user.has_perm(permission(READ))
    context: dict[str, Any] = {}
    if may_read:
        record_viewing(request, str(public_id))
        with time_limit():
            shown = _transcript_page(request, asked)
        context = {"transcript": shown, "lines": shown.lines, "target": shown.target, "is_end": not shown.has_newer}
    with time_limit():
        members = _members(asked, "", SOME_MEMBERS)
    return page(
        request,
        "conversation",
        f"Conversation {str(public_id)[:8]}",
        conversation=asked,
        kept=asked.last_seq - asked.first_seq + 1,
        members=members[:SOME_MEMBERS],
        has_more_members=len(members) > SOME_MEMBERS,
        actions=[action for action in _allowed(request) if action.suits(asked) and action.name != "redact"],
        may_read=may_read,
        may_redact=request.user.has_perm(permission(REDACT)),
        now=database_clock(),
        **context,
    )


@desk_page(VIEW)
def members(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """All who are or were members, by name."""
    asked, after = conversation_of(public_id), query.session(request.GET.get("after", ""))
    with time_limit():
        found = _members(asked, after, MEMBERS)
    shown = found[:MEMBERS]
    return page(
        request,
        "members",
        "Members",
        conversation=asked,
        members=shown,
        following=urlencode({"after": shown[-1].session}) if len(found) > MEMBERS else "",
        is_first=not after,
    )


@desk_page(VIEW, READ)
def message(request: HttpRequest, public_id: uuid.UUID, msg_id: str) -> HttpResponse:
    """One message, whole."""
    asked = conversation_of(public_id)
    with time_limit():
        line = transcript.whole(asked, msg_id)
    if line is None:
        text = "This conversation keeps no message with this MsgId. It may be another's, or old and pruned."
        return refused(request, 404, "No such message", text)
    record_viewing(request, str(public_id))
    may_redact = request.user.has_perm(permission(REDACT))
    return page(request, "message", f"Message {msg_id}", conversation=asked, line=line, may_redact=may_redact)


def _allowed(request: HttpRequest) -> list[Action]:
    return [action for action in ACTIONS.values() if request.user.has_perm(permission(action.permission))]


def _to_message(request: HttpRequest, msg_id: str) -> HttpResponse:
    row = Message.objects.filter(pk=msg_id).values_list("conversation__public_id", flat=True).first()
    if row is None:
        return refused(request, 404, "No such message", f"No message with the MsgId {msg_id} is kept.")
    target = reverse("admin:gateway_deskconversation_change", args=[row])
    return HttpResponseRedirect(f"{target}?{urlencode({'at': msg_id})}")


def _transcript_page(request: HttpRequest, asked: Conversation) -> transcript.TranscriptPage:
    """By ``before`` or ``after`` a Seq, ``at`` a MsgId or Seq, ``day`` (a moment); the end without any of them. Beyond
    the beginning is the beginning, beyond the end the end."""
    given = request.GET
    if (seq := query.number(given.get("before", ""))) is not None:
        first = asked.first_seq
        return transcript.before(asked, seq) if seq > first else transcript.after(asked, first - 1)
    if (seq := query.number(given.get("after", ""))) is not None:
        return transcript.after(asked, seq) if seq < asked.last_seq else transcript.last_page(asked)
    at = given.get("at", "").strip().upper()
    if is_well_formed(at):
        return transcript.around(asked, transcript.seq_of(asked, at))
    if (seq := query.number(at)) is not None:
        return transcript.around(asked, seq)
    if (moment := query.moment(given.get("day", ""), offset_minutes=given.get("offset", ""))) is not None:
        return transcript.around(asked, transcript.seq_at_moment(asked, moment))
    return transcript.last_page(asked)


def _members(asked: Conversation, after: str, limit: int) -> list[Membership]:
    rows = Membership.objects.filter(conversation=asked)
    if after:
        rows = rows.filter(session__gt=after)
    return list(rows.order_by("session")[: limit + 1])
