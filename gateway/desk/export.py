"""A transcript as a file: JSON Lines with the wire's own ``Msg``, or CSV for spreadsheets.

Laws: it is streamed, a page of some hundred messages in memory at a time, and no database connection is held between
two pages; no cell of the CSV is taken for a formula by a spreadsheet.
"""

import csv
import io
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from conversations.models import Conversation
from gateway.desk.actions import Reason
from gateway.desk.answers import conversation_of, desk_page, page, refused
from gateway.desk.audit import record
from gateway.desk.models import EXPORT, READ, VIEW
from gateway.desk.transcript import seq_at_moment
from messaging.history import COLUMNS, MsgObject, msg_objects
from messaging.models import Message
from quickim.database import in_database, write_transaction
from quickim.rest.strict_json import encode

ROWS = 200
AT_ONCE = 3
"""Exports that run at a time in one process."""
CSV_COLUMNS = ("Seq", "MsgId", "Time", "FromSession", "Type", "Status", "Content", "Redacted")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000
_running = 0


class ExportForm(Reason):
    """What is exported, and as what."""

    form = forms.ChoiceField(label="Format", choices=[("jsonl", "JSON Lines"), ("csv", "CSV")])
    since = forms.DateField(label="First day (UTC)", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="Last day (UTC)", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    field_order = ("form", "since", "until", "reason")


@desk_page(VIEW, READ, EXPORT)
def export(request: HttpRequest, public_id: uuid.UUID) -> HttpResponseBase:
    """The question, then the file."""
    conversation = conversation_of(public_id)
    form = ExportForm(request.POST) if request.method == "POST" else ExportForm()
    if request.method != "POST" or not form.is_valid():
        status = 400 if form.errors else 200
        return page(request, "export", "Export the transcript", status, conversation=conversation, form=form)
    if _running >= AT_ONCE:
        return refused(request, 503, "Busy", f"{AT_ONCE} exports run at the moment: try again when one is through.")
    wanted = form.cleaned_data
    low, high = _bounds(conversation, wanted["since"], wanted["until"])
    with write_transaction():
        what = f"Exported the messages {low} to {high} as {wanted['form']}."
        record(request.user, str(public_id), what, wanted["reason"])
    kind, encoded = _KINDS[wanted["form"]]
    response = StreamingHttpResponse(_stream(conversation, low, high, encoded), content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{public_id}.{wanted["form"]}"'
    response["X-Accel-Buffering"] = "no"
    return response


def safe_cell(text: str) -> str:
    """``text``, with an apostrophe before it where a spreadsheet would calculate it."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) or text.startswith(_FORMULA_STARTS) else text


def json_lines(messages: Sequence[MsgObject], is_first: bool) -> bytes:
    """One ``Msg`` a line."""
    return b"".join(encode(message) + b"\n" for message in messages)


def csv_lines(messages: Sequence[MsgObject], is_first: bool) -> bytes:
    """A line for each message, after a head before the first; times in UTC."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    if is_first:
        writer.writerow(CSV_COLUMNS)
    for message in messages:
        at = (_EPOCH + timedelta(microseconds=message["SendTime"])).isoformat(timespec="milliseconds")
        cells = {**message, "Time": at, "Redacted": "yes" if message.get("Redacted") else ""}
        writer.writerow([safe_cell(value) if isinstance(value := cells[name], str) else value for name in CSV_COLUMNS])
    # Excel takes a file without this mark for one in an older encoding.
    return ("\ufeff" if is_first else "").encode() + out.getvalue().encode()


async def _stream(
    conversation: Conversation, low: int, high: int, encoded: Callable[[Sequence[MsgObject], bool], bytes]
) -> AsyncIterator[bytes]:
    global _running
    _running += 1
    try:
        is_first = True
        while low <= high or is_first:
            messages = await in_database(_read, conversation, low, high)
            yield encoded(messages, is_first)
            is_first = False
            if not messages:
                return
            low = messages[-1]["Seq"] + 1
    finally:
        _running -= 1


def _read(conversation: Conversation, low: int, high: int) -> list[MsgObject]:
    rows = Message.objects.filter(conversation=conversation, seq__gte=low, seq__lte=high).order_by("seq")
    return msg_objects(str(conversation.public_id), list(rows.values_list(*COLUMNS)[:ROWS]))


def _bounds(conversation: Conversation, since: Any, until: Any) -> tuple[int, int]:
    """The first and the last Seq of these days."""
    low, high = conversation.first_seq, conversation.last_seq
    if since:
        low = max(low, seq_at_moment(conversation, _microseconds(since)))
    if until:
        high = min(high, seq_at_moment(conversation, _microseconds(until) + _DAY) - 1)
    return low, high


def _microseconds(day: Any) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


_KINDS: dict[str, tuple[str, Callable[[Sequence[MsgObject], bool], bytes]]] = {
    "jsonl": ("application/jsonl; charset=utf-8", json_lines),
    "csv": ("text/csv; charset=utf-8", csv_lines),
}
