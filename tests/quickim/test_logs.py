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

from quickim.observability.logs import ConsoleFormatter, JsonFormatter, logging_configuration, request_id

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
    line = JsonFormatter().format(record("failed", error=raised("first\nsecond")))
    assert len(line.splitlines()) == 1
    event = json.loads(line)
    assert event["message"] == "failed"
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("RuntimeError: first\nsecond")


def test_the_console_indents_every_line_of_an_exception() -> None:
    forged = "first\n2025-01-01 ERROR forged\rcarriage"
    lines = ConsoleFormatter().format(record("failed", error=raised(forged))).splitlines()
    assert lines[0].endswith("failed")
    assert all(line.startswith("    | ") for line in lines[1:])
    assert lines[-1] == "    | 2025-01-01 ERROR forged\\rcarriage"


@each_format
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"GET /notify?token={JWT}&protoc=ws", "protoc=ws"),
        ("GET /notify?protoc=sse&token=opaque-hush-hush HTTP/1.1", "HTTP/1.1"),
        ("path %2Fnotify%3Ftoken%3Dhush-hush end", "end"),
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
    for event in (record(text), record("%s", text), record("failed", error=raised(text))):
        line = formatter.format(event)
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
    logging.getLogger(name).warning("started at %s", "noon")
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
