"""A transcript as a file: complete, in order, streamed page by page, and harmless in a spreadsheet."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from conversations.models import Conversation
from gateway.desk import export
from messaging.redaction import redact_message
from quickim.database import in_database
from tests.desk.conftest import WHY, address, logged, login, say

pytestmark = pytest.mark.django_db(transaction=True)
DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", '=HYPERLINK("http://evil.example")']


@pytest.fixture
def grace(transactional_db: None) -> Client:
    """An administrator's browser."""
    return login("grace", is_administrator=True)


async def chunks(answer: Any) -> list[bytes]:
    """What is sent, piece by piece."""
    assert isinstance(answer, StreamingHttpResponse)
    return [chunk async for chunk in answer.__aiter__()]


async def exported(client: Client, room: Conversation, **fields: str) -> list[bytes]:
    """The file, piece by piece."""
    answer = await in_database(client.post, address(room, "export/"), {"reason": WHY, **fields})
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith("attachment;")
    return await chunks(answer)


async def in_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
    """A synchronous call beside the test's event loop."""
    return await in_database(function, *args, **kwargs)


async def test_json_lines_are_what_the_api_gives_page_by_page(
    grace: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ROWS", 3)
    msg_ids = [await in_thread(say, room, f"message {number}\n😀") for number in range(8)]
    await in_thread(redact_message, str(room.public_id), msg_ids[2])
    pieces = await exported(grace, room, form="jsonl")
    assert [piece.count(b"\n") for piece in pieces] == [3, 3, 2]
    messages = [json.loads(line) for line in b"".join(pieces).decode().splitlines()]
    assert [message["Seq"] for message in messages] == list(range(1, 9))
    assert messages[1]["Content"] == "message 1\n😀"
    assert messages[1]["ConversationID"] == str(room.public_id)
    assert (messages[2]["Content"], messages[2]["Redacted"]) == ("", True)
    assert (await in_thread(logged)) == [
        ("grace", str(room.public_id), f"Exported the messages 1 to 8 as jsonl. Reason: {WHY}")
    ]


async def test_csv_is_complete_and_calculates_nothing(grace: Client, room: Conversation) -> None:
    contents = [*DANGEROUS, 'harmless, “quoted” "text"\nsecond line', "=safe?", "你好"]
    for content in contents:
        await in_thread(say, room, content)
    text = b"".join(await exported(grace, room, form="csv")).decode("utf-8-sig")
    head, *rows = list(csv.reader(io.StringIO(text, newline="")))
    assert head == list(export.CSV_COLUMNS)
    assert [int(row[0]) for row in rows] == list(range(1, len(contents) + 1))
    for content, row in zip(contents, rows, strict=True):
        assert row[6] in (content, f"'{content}")
        assert not row[6].lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
        assert datetime.fromisoformat(row[2]).tzinfo is not None


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_cell_that_would_be_calculated_is_marked_as_text(text: str) -> None:
    assert export.safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "hello", "1+1=2", "a-b", "'quoted", "你好", " space"])
def test_any_other_cell_stays_as_it_is(text: str) -> None:
    assert export.safe_cell(text) == text


async def test_days_bound_what_is_exported(grace: Client, room: Conversation) -> None:
    await in_thread(say, room, "hello")
    today = datetime.now(UTC).date()
    for since, until, count in ((0, 0, 1), (-1, 1, 1), (1, 2, 0), (-2, -1, 0)):
        fields = {
            "since": str(today + timedelta(days=since)),
            "until": str(today + timedelta(days=until)),
        }
        assert b"".join(await exported(grace, room, form="jsonl", **fields)).count(b"\n") == count


async def test_the_calendars_own_ends_are_days_like_others(grace: Client, room: Conversation) -> None:
    await in_thread(say, room, "hello")
    assert b"".join(await exported(grace, room, form="jsonl", since="0001-01-01", until="9999-12-31")).count(b"\n") == 1
    for query in ("since=9999-12-31", "until=0001-01-01"):
        name, _, day = query.partition("=")
        assert b"".join(await exported(grace, room, form="jsonl", **{name: day})) == b""


async def test_an_empty_conversation_is_an_empty_file(grace: Client, room: Conversation) -> None:
    assert b"".join(await exported(grace, room, form="jsonl")) == b""
    assert b"".join(await exported(grace, room, form="csv")).count(b"\n") == 1


def test_it_is_refused_without_a_reason_and_when_enough_run(
    grace: Client, room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grace.post(address(room, "export/"), {"form": "jsonl", "reason": ""}).status_code == 400
    assert grace.post(address(room, "export/"), {"form": "xls", "reason": WHY}).status_code == 400
    monkeypatch.setattr(export, "_running", export.AT_ONCE)
    assert grace.post(address(room, "export/"), {"form": "jsonl", "reason": WHY}).status_code == 503
    assert logged() == []
