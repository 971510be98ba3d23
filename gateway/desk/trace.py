"""Why somebody did, or did not, get a message: what the database and this node know of it, in plain words.

Law: only what is known is said. Clients do not confirm what they show, earlier memberships are not kept, and other
nodes are not asked: where that matters, the page says so.
"""

import concurrent.futures
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

from conversations.models import Conversation, Membership
from gateway.desk import query, transcript
from gateway.desk.actions import NO_SESSION
from gateway.desk.answers import conversation_of, desk_page, page
from gateway.desk.audit import record_viewing
from gateway.desk.models import READ, VIEW
from gateway.desk.transcript import Line
from gateway.node import Node, is_node, node
from messaging.msgid import is_well_formed

NODE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence; ``at``: a moment (microseconds) that belongs to it, 0 for none. ``is_obstacle``: it alone explains
    why the message was not brought."""

    text: str
    at: int = 0
    is_obstacle: bool = False


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection of the session to this node; ``given``: the Seq up to which it was handed the conversation."""

    protocol: str
    platform: int
    given: int
    is_replaying: bool
    pending: int
    is_given: bool


@desk_page(VIEW, READ)
def trace(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """The question, and what is known."""
    asked = conversation_of(public_id)
    session, msg_id = request.GET.get("session", ""), request.GET.get("msg_id", "").strip().upper()
    line = None
    findings: list[Finding] = []
    connected: Sequence[Connected] | None = None
    problem = ""
    if session and msg_id:
        record_viewing(request, str(public_id))
        if not query.session(session):
            problem = NO_SESSION
        elif not is_well_formed(msg_id):
            problem = "That is no MsgId: one looks like EDCZL-SY32-243Y-VWQ."
        elif (line := transcript.whole(asked, msg_id)) is None:
            problem = _missing(asked, msg_id)
        else:
            membership = Membership.objects.filter(conversation=asked, session=session).first()
            findings = about(asked, membership, session, line)
            connected = connections_here(session, asked.pk, line.seq)
    return page(
        request,
        "trace",
        "Trace a delivery",
        conversation=asked,
        session=session,
        msg_id=msg_id,
        line=line,
        findings=findings,
        connected=connected,
        problem=problem,
    )


def about(conversation: Conversation, membership: Membership | None, session: str, line: Line) -> list[Finding]:
    """What the database knows of ``session`` and the message ``line``."""
    found = [Finding(f"The message is stored as number {line.seq} of the conversation, sent", line.send_time)]
    if line.is_redacted:
        found.append(Finding("Its content was taken back since: whoever reads it now gets an empty one."))
    found += _about_membership(membership, session, line)
    if conversation.is_deleted:
        text = "The conversation is deleted now: its members get and read nothing of it until it is restored."
        found.append(Finding(text, conversation.changed_at, is_obstacle=True))
    elif conversation.is_archived:
        found.append(Finding("The conversation is archived now. Members still read it, and get what the system sends."))
    if line.session == session:
        found.append(Finding("He sent it himself; his other connections get it like everybody's."))
    return found


def _about_membership(membership: Membership | None, session: str, line: Line) -> list[Finding]:
    if membership is None:
        return [Finding(f"{session} is no member and never was.", is_obstacle=True)]
    found = []
    if membership.joined_seq >= line.seq:
        found.append(Finding("His latest joining came after this message:", membership.joined_at))
        text = "Push brings what is sent after the latest joining, so it was not pushed for this membership."
        found.append(Finding(text, is_obstacle=True))
        found.append(Finding("Whether he was a member before is not kept: only the latest membership is."))
    else:
        found.append(Finding("His latest joining came before this message:", membership.joined_at))
    ended = "removed" if membership.state == Membership.State.KICKED else "gone by himself"
    if membership.state == Membership.State.ACTIVE:
        found.append(Finding("He is a member now, so he can read it in the history."))
        if membership.joined_seq < line.seq:
            found.append(Finding("So he was a member when it was sent, and every connection of his is brought it."))
    elif membership.ended_at <= line.send_time:
        found.append(Finding(f"He was {ended} before it was sent:", membership.ended_at, is_obstacle=True))
    else:
        if membership.joined_seq < line.seq:
            found.append(Finding("He was a member when it was sent."))
        text = f"He has been {ended} since, and reads it no more; a client that had not taken it by then never got it:"
        found.append(Finding(text, membership.ended_at, is_obstacle=True))
    return found


def connections_here(session: str, number: int, seq: int) -> Sequence[Connected] | None:
    """The connections of ``session`` to this node; None when this process serves none, or does not answer."""
    if not is_node():
        return None
    answer: concurrent.futures.Future[list[Connected]] = concurrent.futures.Future()
    serving = node()

    def look() -> None:
        answer.set_result(_connections(serving, session, number, seq))

    try:
        serving.loop.call_soon_threadsafe(look)
        return answer.result(NODE_SECONDS)
    except (RuntimeError, TimeoutError):
        return None


def _connections(serving: Node, session: str, number: int, seq: int) -> list[Connected]:
    """On the node's event loop."""
    room = serving.hub.rooms.get(number)
    delivered = room.delivered if room is not None and session in room.members else 0
    found = []
    for connection in serving.hub.sessions.get(session, ()):
        if connection.is_kept:
            continue
        given = connection.behind.get(number, delivered)
        found.append(
            Connected(
                protocol=connection.protocol,
                platform=connection.caller.platform,
                given=given,
                is_replaying=bool(connection.behind),
                pending=connection.pending,
                is_given=given >= seq,
            )
        )
    return found


def _missing(conversation: Conversation, msg_id: str) -> str:
    if conversation.pruned_msg_id and msg_id <= conversation.pruned_msg_id:
        return "Messages as old as this one are not kept any more (pruned)."
    return "This conversation has no message with this MsgId: then it was never committed here."
