"""The list of conversations: filters, order, pages that are found by their place and not by counting up to them.

Laws: a page costs a constant number of queries. How many there are is an estimate, or counted up to a bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Greatest

from conversations.access import parse_conversation_id
from conversations.models import Conversation
from quickim.database import database_clock
from quickim.errors import ConversationNotFound

PAGE = 50
COUNTED = 1_000
SIZES = {"2": (0, 2), "10": (3, 10), "100": (11, 100), "1000": (101, 1_000), "more": (1_001, None)}
PERIODS = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400}
_EITHER = [("", "either"), ("1", "yes"), ("0", "no")]


class Filters(forms.Form):
    """What the list is narrowed to; an empty field narrows nothing."""

    q = forms.CharField(
        label="Conversation id or session",
        required=False,
        strip=False,
        max_length=128,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Conversation id, or a session"}),
    )
    type = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
    archived = forms.ChoiceField(required=False, choices=_EITHER)
    deleted = forms.ChoiceField(required=False, choices=_EITHER)
    active = forms.ChoiceField(
        label="Last message",
        required=False,
        choices=[
            ("", "any time"),
            ("hour", "in the last hour"),
            ("day", "in the last day"),
            ("week", "in the last week"),
        ],
    )
    size = forms.ChoiceField(
        label="Members",
        required=False,
        choices=[
            ("", "any number"),
            ("2", "up to 2"),
            ("10", "3 to 10"),
            ("100", "11 to 100"),
            ("1000", "101 to 1,000"),
            ("more", "more than 1,000"),
        ],
    )
    order = forms.ChoiceField(required=False, choices=[("", "latest activity"), ("created", "newest")])


@dataclass(frozen=True, slots=True)
class ListPage:
    """Some conversations, and the places from which the neighbouring pages start ("" at an end)."""

    rows: Sequence[Conversation]
    newer: str
    older: str


def conversations(wanted: dict[str, Any]) -> QuerySet[Conversation]:
    """Those that the cleaned ``Filters`` ask for."""
    rows = Conversation.objects.all()
    if text := wanted["q"].strip():
        try:
            rows = rows.filter(public_id=parse_conversation_id(text.lower()))
        except ConversationNotFound:
            # A space around a session is part of it.
            rows = rows.filter(memberships__session=wanted["q"])
    if wanted["type"] is not None:
        rows = rows.filter(type=wanted["type"])
    for field, name in (("is_archived", "archived"), ("is_deleted", "deleted")):
        if wanted[name]:
            rows = rows.filter(**{field: wanted[name] == "1"})
    if wanted["active"]:
        rows = rows.filter(last_send_time__gte=database_clock() - PERIODS[wanted["active"]] * 1_000_000)
    if wanted["size"]:
        low, high = SIZES[wanted["size"]]
        rows = rows.filter(member_count__gte=low)
        if high is not None:
            rows = rows.filter(member_count__lte=high)
    return rows


def page(rows: QuerySet[Conversation], order: str, older_than: str = "", newer_than: str = "") -> ListPage:
    """The page next to a place; without one, the first. A place that is none counts as absent."""
    is_by_id = order == "created"
    ranked = rows.annotate(rank=F("id") if is_by_id else Greatest("last_send_time", "created_at"))
    above, below = _place(newer_than), _place(older_than)
    if above is not None:
        # By id alone the primary key finds the place.
        further = Q(id__gt=above[1]) if is_by_id else Q(rank__gt=above[0]) | Q(rank=above[0], id__gt=above[1])
        found = list(ranked.filter(further).order_by("rank", "id")[: PAGE + 1])
        shown = found[:PAGE][::-1]
        return ListPage(shown, _text(shown, 0) if len(found) > PAGE else "", _text(shown, -1))
    if below is not None:
        ranked = ranked.filter(
            Q(id__lt=below[1]) if is_by_id else Q(rank__lt=below[0]) | Q(rank=below[0], id__lt=below[1])
        )
    found = list(ranked.order_by("-rank", "-id")[: PAGE + 1])
    shown = found[:PAGE]
    return ListPage(shown, "" if below is None else _text(shown, 0), _text(shown, -1) if len(found) > PAGE else "")


def how_many(rows: QuerySet[Conversation], *, is_narrowed: bool) -> str:
    """In words: counted up to a bound, or estimated."""
    if not is_narrowed and (estimate := _estimate()) > COUNTED:
        return f"about {estimate:,} conversations"
    counted = rows.order_by()[: COUNTED + 1].count()
    if counted > COUNTED:
        return f"more than {COUNTED:,} conversations"
    return "1 conversation" if counted == 1 else f"{counted:,} conversations"


def _estimate() -> int:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [_TABLE])
        else:
            # Conversations are never removed, only marked as deleted.
            cursor.execute(f"SELECT max(id) FROM {_TABLE}")  # noqa: S608  # a constant
        return int(cursor.fetchone()[0] or 0)


_TABLE = Conversation._meta.db_table


def _place(text: str) -> tuple[int, int] | None:
    rank, _, number = text.partition(".")
    if rank.isdecimal() and number.isdecimal() and len(text) < 40:
        place = int(rank), int(number)
        return place if max(place) < 2**63 else None
    return None


def _text(rows: Sequence[Any], position: int) -> str:
    return f"{rows[position].rank}.{rows[position].id}" if rows else ""
