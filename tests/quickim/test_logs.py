"""Log lines: one event a line, nothing forged, nothing secret."""

import json
import logging
import logging.config
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickim.observability import logs
from quickim.observability.logs import (
    ConsoleFormatter,
    JsonFormatter,
    call_id,
    call_id_of,
    logging_configuration,
    request_id,
    request_id_of,
)
from quickim.observability.logs_limit import SAME_A_MINUTE, Limit

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzaWQiOiJhbGljZSJ9.c2lnbmF0dXJl"

FORMATTERS: list[logging.Formatter] = [ConsoleFormatter(), JsonFormatter()]
each_format = pytest.mark.parametrize("formatter", FORMATTERS, ids=["console", "json"])


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    """A record as a logger would make it."""
    exc_info: Any = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("quickim.test", logging.WARNING, __file__, 1, message, args, exc_info)


def raised(text: str) -> Exception:
    """An exception that went through a frame."""
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        return error


@pytest.fixture
def within_request() -> Iterator[str]:
    token = request_id.set("7f3a")
    yield "7f3a"
    request_id.reset(token)


def test_a_json_line_is_one_object_with_the_event(within_request: str) -> None:
    event = json.loads(JsonFormatter().format(record("%s sent %d", "alice", 3)))
    assert event.pop("time").endswith("+00:00")
    assert event == {
        "level": "WARNING",
        "logger": "quickim.test",
        "message": "alice sent 3",
        "request_id": within_request,
    }


def test_a_console_line_shows_the_request_id(within_request: str) -> None:
    line = ConsoleFormatter().format(record("sent"))
    assert line.endswith(f"WARNING quickim.test [{within_request}] sent")


def test_outside_of_a_request_no_id_is_shown() -> None:
    assert "request_id" not in json.loads(JsonFormatter().format(record("sent")))
    assert ConsoleFormatter().format(record("sent")).endswith("WARNING quickim.test sent")


@each_format
@given(text=st.text())
def test_no_text_can_forge_a_line_or_steer_a_terminal(formatter: logging.Formatter, text: str) -> None:
    line = formatter.format(record("%s", text))
    assert len(line.splitlines()) == 1
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in line)
    line.encode()


@each_format
@pytest.mark.parametrize("text", ["a\r\nb", "\x1b[2J", "\x9b", "\u2028", "\u202e", "\ud800", "\x00", "\x7f"])
def test_control_characters_are_written_out(formatter: logging.Formatter, text: str) -> None:
    line = formatter.format(record("%s", text))
    assert text not in line
    assert "\\" in line


def test_a_request_id_cannot_forge_a_line_either() -> None:
    token = request_id.set("x\nERROR all is lost")
    try:
        assert all(len(formatter.format(record("sent")).splitlines()) == 1 for formatter in FORMATTERS)
    finally:
        request_id.reset(token)


def test_json_keeps_an_exception_in_one_field() -> None:
    line = JsonFormatter(with_texts=True).format(record("failed", error=raised("first\nsecond")))
    assert len(line.splitlines()) == 1
    event = json.loads(line)
    assert event["message"] == "failed"
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("RuntimeError: first\nsecond")


def test_the_console_indents_every_line_of_an_exception() -> None:
    forged = "first\n2025-01-01 ERROR forged\rcarriage"
    lines = ConsoleFormatter(with_texts=True).format(record("failed", error=raised(forged))).splitlines()
    assert lines[0].endswith("failed")
    assert all(line.startswith("    | ") for line in lines[1:])
    assert lines[-1] == "    | 2025-01-01 ERROR forged\\rcarriage"


@each_format
def test_an_exception_is_told_by_its_kinds_and_places_not_by_its_text(formatter: logging.Formatter) -> None:
    try:
        try:
            raise ValueError("hush-hush is no number")
        except ValueError as cause:
            raise KeyError("hush-hush") from cause
    except KeyError as error:
        line = formatter.format(record("failed", error=error))
    assert "hush" not in line.replace('raise ValueError("hush-hush is no number")', "").replace(
        'raise KeyError("hush-hush")', ""
    ).replace(r"raise ValueError(\"hush-hush is no number\")", "").replace(r"raise KeyError(\"hush-hush\")", "")
    assert "ValueError" in line
    assert "KeyError" in line
    assert "test_logs.py" in line


def test_an_exception_says_the_codes_of_systems_and_databases() -> None:
    line = JsonFormatter().format(record("failed", error=FileNotFoundError(2, "hush", "hush")))
    assert "FileNotFoundError (No such file or directory)" in line
    assert "hush" not in line


@each_format
def test_what_asyncio_shows_of_a_task_is_not_written(formatter: logging.Formatter) -> None:
    event = record("Task exception was never retrieved\nfuture: <Task exception=ValueError('hush')>")
    event.name = "asyncio"
    line = formatter.format(event)
    assert "Task exception was never retrieved" in line
    assert "hush" not in line


@each_format
def test_a_line_that_cannot_be_built_shows_nothing_of_its_arguments(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%d messages", "hush"))
    assert "hush" not in line
    assert "could not be built" in line


@each_format
def test_ids_of_call_and_trace_are_on_the_line(
    formatter: logging.Formatter, within_request: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "trace_id", lambda: "4bf92f3577b34da6")
    token = call_id.set("c-17")
    line = formatter.format(record("sent"))
    call_id.reset(token)
    assert all(name in line for name in (within_request, "c-17", "4bf92f3577b34da6"))


@pytest.mark.parametrize("given", [b"", b"a b", b"a\r\nb", b"\x1b[2J", b"a" * 129, "é".encode(), b"a\n"])
def test_an_ill_formed_request_id_is_replaced(given: bytes) -> None:
    assert len(request_id_of(given)) == 32


@pytest.mark.parametrize(
    ("given", "shown"), [(7, "7"), ("c-1", "c-1"), ("a\nb", ""), (True, ""), ([1], ""), (None, "")]
)
def test_only_a_well_formed_id_of_a_call_is_written_down(given: object, shown: str) -> None:
    assert call_id_of(given) == shown


def test_a_storm_of_the_same_line_is_cut_and_other_lines_are_not() -> None:
    limit = Limit(exempt="quickim.access")
    same = [record("%s was refused", number) for number in range(1_000)]
    written = [event for event in same if limit.filter(event)]
    assert len(written) == SAME_A_MINUTE
    assert "More like this" in ConsoleFormatter().format(written[-1])
    assert limit.filter(record("something else"))
    accesses = [record("%s", number) for number in range(100)]
    for event in accesses:
        event.name = "quickim.access"
    assert all(map(limit.filter, accesses))


@each_format
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"GET /notify?token={JWT}&protoc=ws", "protoc=ws"),
        ("GET /notify?protoc=sse&token=opaque-hush-hush HTTP/1.1", "HTTP/1.1"),
        ("path %2Fnotify%3Ftoken%3Dhush-hush end", "end"),
        ("GET /notify?ticket=hush-hush&protoc=ws", "protoc=ws"),
        ("path %252Fnotify%253Fticket%253Dhush-hush end", "end"),
        ('{"id": 1, "token": "hush-hush"}', "id"),
        ("Authorization: Bearer hush-hush, next", "next"),
        ("authorization: bearer  hush-hush", "authorization"),
        ("subprotocols quickim, bearer.hush-hush", "quickim"),
        ('{"token": "' + JWT + '"}', '"}'.replace('"', "")),
        ("X-Api-Key: hush-hush", "X-Api-Key"),
        ("{'x-api-key': 'hush-hush'}", "x-api-key"),
        ("cannot reach redis://:hush-hush@cache:6379/0", "cache:6379/0"),
        ("cannot reach postgres://user:hush-hush@db/quickim", "user"),
    ],
)
def test_secrets_are_masked_in_messages_arguments_and_exceptions(
    formatter: logging.Formatter, text: str, kept: str
) -> None:
    showing = type(formatter)(with_texts=True)  # type: ignore[call-arg]
    for event in (record(text), record("%s", text), record("failed", error=raised(text))):
        line = showing.format(event)
        assert "hush" not in line
        assert "eyJ" not in line
        assert "[masked]" in line
        assert kept in line


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    names = ["", "django", "django.server", "uvicorn", "uvicorn.error", "uvicorn.access"]
    loggers = [logging.getLogger(name) for name in names]
    kept = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in kept:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.usefixtures("_logging_restored")
@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize("name", ["gateway.hub", "django.request", "django.server", "uvicorn.error", "uvicorn"])
def test_every_logger_writes_one_line_in_the_chosen_format(
    capsys: pytest.CaptureFixture[str], log_format: Literal["console", "json"], name: str
) -> None:
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(sys.stderr))
    logging.config.dictConfig(logging_configuration(log_format))
    logging.getLogger(name).error("started at %s", "noon")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("{") == (log_format == "json")
    assert "started at noon" in line


@pytest.mark.usefixtures("_logging_restored")
def test_access_lines_of_uvicorn_are_off(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logging_configuration("console"))
    logger = logging.getLogger("uvicorn.access")
    logger.info("GET /notify?token=hush-hush")
    assert capsys.readouterr().err == ""
    assert not logger.hasHandlers(), "uvicorn asks this before it builds the line"
