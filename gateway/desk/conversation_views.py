"""Pages to look at: the list, one conversation with its transcript, its members, one message, and searching."""

import uuid
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode

from conversations.models import Conversation, Membership
from gateway.desk import listing, search, transcript
from gateway.desk.actions import ACTIONS, Action
from gateway.desk.answers import conversation_of, desk_page, page, refused
from gateway.desk.audit import record, record_viewing
from gateway.desk.limits import time_limit
from gateway.desk.models import READ, REDACT, VIEW, permission
from messaging.models import Message
from messaging.msgid import is_well_formed
from quickim.database import database_clock, write_transaction

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
    kept = _kept(request, "older", "newer")
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
    asked = conversation_of(public_id)
    with time_limit():
        found = _members(asked, request.GET.get("after", ""), MEMBERS)
    shown = found[:MEMBERS]
    return page(
        request,
        "members",
        "Members",
        conversation=asked,
        members=shown,
        following=urlencode({"after": shown[-1].session}) if len(found) > MEMBERS else "",
        is_first="after" not in request.GET,
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


@desk_page(VIEW, READ)
def search_messages(request: HttpRequest) -> HttpResponse:
    """Words in the messages of one conversation, or of all in a stretch of time."""
    word, name = request.GET.get("word", "").strip(), request.GET.get("conversation", "").strip()
    asked = None
    problem = ""
    if name:
        try:
            asked = conversation_of(uuid.UUID(name))
        except ValueError:
            problem = "That is no conversation's id."
    since, until = _day(request.GET.get("since", "")), _day(request.GET.get("until", ""), days=1)
    found = None
    if word and "\0" not in word and len(word) <= 200 and not problem:
        if asked is None and (since is None or until is None):
            problem = "Without a conversation, give the first and the last day to look at."
        else:
            _record_search(request, asked, since, until)
            with time_limit():
                found = _search(word, asked, since, until, request.GET.get("below", ""))
    kept = _kept(request, "below")
    return page(
        request,
        "search",
        "Search messages",
        word=word,
        conversation=asked,
        since=request.GET.get("since", ""),
        until=request.GET.get("until", ""),
        found=found,
        problem=problem,
        go_on=urlencode(kept | {"below": found.go_on}) if found and found.go_on else "",
        has_gone_on="below" in request.GET,
    )


def _allowed(request: HttpRequest) -> list[Action]:
    return [action for action in ACTIONS.values() if request.user.has_perm(permission(action.permission))]


def _to_message(request: HttpRequest, msg_id: str) -> HttpResponse:
    row = Message.objects.filter(pk=msg_id).values_list("conversation__public_id", flat=True).first()
    if row is None:
        return refused(request, 404, "No such message", f"No message with the MsgId {msg_id} is kept.")
    target = reverse("admin:gateway_deskconversation_change", args=[row])
    return HttpResponseRedirect(f"{target}?{urlencode({'at': msg_id})}")


def _transcript_page(request: HttpRequest, asked: Conversation) -> transcript.TranscriptPage:
    """By ``before`` or ``after`` a Seq, ``at`` a MsgId or Seq, ``day`` (a moment); the end without any of them."""
    query = request.GET
    if (seq := _number(query.get("before", ""))) is not None:
        return transcript.before(asked, seq)
    if (seq := _number(query.get("after", ""))) is not None:
        return transcript.after(asked, seq)
    at = query.get("at", "").strip().upper()
    if is_well_formed(at):
        return transcript.around(asked, transcript.seq_of(asked, at))
    if (seq := _number(at)) is not None:
        return transcript.around(asked, seq)
    if (moment := _day(query.get("day", ""), offset_minutes=query.get("offset", ""))) is not None:
        return transcript.around(asked, transcript.seq_at_moment(asked, moment))
    return transcript.last_page(asked)


def _members(asked: Conversation, after: str, limit: int) -> list[Membership]:
    rows = Membership.objects.filter(conversation=asked)
    if after:
        rows = rows.filter(session__gt=after)
    return list(rows.order_by("session")[: limit + 1])


def _search(
    word: str, asked: Conversation | None, since: int | None, until: int | None, below: str
) -> search.Found | None:
    if asked is not None:
        return search.in_conversation(asked, word, _number(below))
    if since is None or until is None:
        return None
    return search.in_time(word, since, until, below if is_well_formed(below) else "")


def _record_search(request: HttpRequest, asked: Conversation | None, since: int | None, until: int | None) -> None:
    """Once for each search, whose pages that go on are none of their own; not what was searched for."""
    if "below" in request.GET:
        return
    if asked is not None:
        record_viewing(request, str(asked.public_id))
        return
    days = f"{request.GET.get('since', '')} to {request.GET.get('until', '')}"
    with write_transaction():
        record(request.user, "all conversations", f"Searched messages of {days}.")


def _kept(request: HttpRequest, *but: str) -> dict[str, str]:
    """What the next page is asked with again."""
    return {name: str(value) for name, value in request.GET.items() if name not in but and value}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _day(text: str, *, days: int = 0, offset_minutes: str = "") -> int | None:
    """Microseconds of a day or moment as browsers send them, ``days`` later; ``offset_minutes`` (west is positive, as
    browsers count) says in which zone, UTC if absent. None for anything else."""
    try:
        at = datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)
        shift = max(-1_440, min(1_440, int(offset_minutes or 0)))
    except ValueError:
        return None
    return int(at.timestamp() + days * 86_400 + shift * 60) * 1_000_000
