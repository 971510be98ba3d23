"""Log lines: their configuration for the standard library's logging, and the two formats.

Laws: one event is one line in JSON, and on the console one line plus indented ones for an exception, so that
nothing a client sends can forge a line. Tokens, keys and passwords are masked in the finished text, where no
caller can forget it: in messages, their arguments and exceptions alike.
"""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being served (header X-Request-Id); empty outside of one."""

MASK = "[masked]"

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A query string's token=…, percent-encoded or not.
    (re.compile(r"(?i)(token(?:=|%3D))[^&\s\"'<>#;]+"), rf"\1{MASK}"),
    # The Authorization header's "Bearer …" and the WebSocket subprotocol "bearer.…".
    (re.compile(r"(?i)\b(bearer(?:\s+|\.|%20|\+))[^\s\"',;<>]+"), rf"\1{MASK}"),
    # A JWT wherever it stands: its header is the base64url of '{"'.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"(?i)(x-api-key\W{1,6})[^\s\"',;<>]+"), rf"\1{MASK}"),
    # scheme://user:password@host
    (re.compile(r"(://[^/\s:@]*:)[^/\s]+@"), rf"\1{MASK}@"),
)

# C0 with CR, LF and ESC, DEL, C1, line separators, the marks that reorder a line on a terminal, surrogates.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def mask_secrets(text: str) -> str:
    """`text` without the tokens, keys and passwords in it."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def escape_controls(text: str) -> str:
    """`text` on one line, control characters written as `\\n`, `\\x1b`, `\\u2028`."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class ConsoleFormatter(logging.Formatter):
    """For people: time, level, logger, request id, message; an exception on lines after `    | `."""

    def format(self, record: logging.LogRecord) -> str:
        """One event; every line after the first is indented."""
        shown_id = f" [{escape_controls(request_id.get())}]" if request_id.get() else ""
        time = datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(" ", "milliseconds")
        message = escape_controls(mask_secrets(record.getMessage()))
        lines = [f"{time} {record.levelname:<7} {record.name}{shown_id} {message}"]
        lines += [f"    | {escape_controls(line)}" for line in _exception(self, record).split("\n") if line]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """For machines: an object with `time`, `level`, `logger`, `message`, maybe `request_id`, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """One event on one line of ASCII."""
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": mask_secrets(record.getMessage()),
            "request_id": request_id.get(),
            "exception": _exception(self, record),
        }
        # ensure_ascii also escapes what JSON itself would let through: DEL, C1, separators, lone surrogates.
        return json.dumps({key: value for key, value in event.items() if value or key == "message"})


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return mask_secrets("\n".join(parts))


def logging_configuration(log_format: Literal["console", "json"]) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig`: everything to stderr, in `log_format`."""
    formatter = ConsoleFormatter if log_format == "console" else JsonFormatter
    routed = {"handlers": [], "level": "INFO", "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"quickim": {"()": formatter}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "quickim"}
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            # These bring handlers of their own, which would print in another format.
            "django": routed,
            "django.server": routed,
            "uvicorn": routed,
            # Two lines for every WebSocket otherwise; `serve` says itself where it listens.
            "uvicorn.error": {**routed, "level": "WARNING"},
            # A traceback for every second of an outage; gateway.layer says that Redis is away, and when it is back.
            "channels_redis": {**routed, "level": "CRITICAL"},
            # Without a handler in reach uvicorn does not even build its access lines.
            "uvicorn.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
        },
    }
