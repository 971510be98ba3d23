"""Log lines: their configuration for the standard library's logging, and the two formats.

Laws:
- One event is one line in JSON, and on the console one line plus indented ones for an exception, so that nothing a
  client sends can forge a line. It carries the id of its request (over a WebSocket the handshake's, and the call's)
  and of its trace.
- No token, no key, no password, no session and no content is in it. Callers log none; what looks like a secret is
  masked in the finished text, where no caller can forget it; and exceptions are told by their kinds and places, since
  their texts quote what a statement or a parser was given (with QUICKIM_DEBUG they are shown).
- However often something goes wrong, it is written a few times a minute (`quickim.observability.logs_limit`).
"""

import json
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from quickim.observability.logs_limit import NOTE, Limit

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being served (header X-Request-Id); empty outside of one."""
call_id: ContextVar[str] = ContextVar("call_id", default="")
"""The id that a client gave to the call over a WebSocket that is being served."""
trace_id: Callable[[], str] = str
"""The id of the trace that is under way, empty for none; whoever traces puts its own here."""

MASK = "[masked]"
ACCESS = "quickim.access"
"""The logger that writes a line for each HTTP answer, when it is asked to."""
_MAX_FRAMES = 40
_MAX_CAUSES = 5
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}")

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A query string's token=… or ticket=…, percent-encoded once, several times or not at all.
    (re.compile(r"(?i)((?:token|ticket)(?:=|%(?:25)*3D))[^&\s\"'<>#;]+"), rf"\1{MASK}"),
    # The same as a member of an object.
    (re.compile(r"(?i)([\"'](?:token|ticket)[\"']\s*:\s*[\"'])[^\"']+"), rf"\1{MASK}"),
    # The Authorization header's "Bearer …" and the WebSocket subprotocol "bearer.…".
    (re.compile(r"(?i)\b(bearer(?:\s+|\.|%20|\+))[^\s\"',;<>]+"), rf"\1{MASK}"),
    # A JWT wherever it stands: its header is the base64url of '{"'.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"(?i)(x-(?:api-key|[a-z-]*signature)\W{1,6})[^\s\"',;<>]+"), rf"\1{MASK}"),
    # scheme://user:password@host
    (re.compile(r"(://[^/\s:@]*:)[^/\s]+@"), rf"\1{MASK}@"),
)

# C0 with CR, LF and ESC, DEL, C1, line separators, the marks that reorder a line on a terminal, surrogates.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def mask_secrets(text: str) -> str:
    """`text` without the tokens, keys and passwords in it."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def escape_controls(text: str) -> str:
    """`text` on one line, control characters written as `\\n`, `\\x1b`, `\\u2028`."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def request_id_of(header: bytes) -> str:
    """The id of a request: its header's X-Request-Id when that is well-formed, else a new one."""
    given = header.decode("latin-1")
    return given if _WELL_FORMED_ID.fullmatch(given) else os.urandom(16).hex()


def call_id_of(given: object) -> str:
    """How the ``id`` of a call is written down: a number, or a well-formed text; anything else is not."""
    text = str(given) if type(given) in (int, str) else ""
    return text if _WELL_FORMED_ID.fullmatch(text) else ""


class _Formatter(logging.Formatter):
    def __init__(self, *, with_texts: bool = False) -> None:
        super().__init__()
        self._with_texts = with_texts

    def message(self, record: logging.LogRecord) -> str:
        """What happened."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # the library would print template and arguments to stderr as they are
            message = f"A line of {record.filename}:{record.lineno} could not be built; report this as a bug."
        if record.name == "asyncio" and not self._with_texts:
            # What follows shows tasks and exceptions as their repr, texts included.
            message = message.partition("\n")[0]
        return mask_secrets(message + getattr(record, NOTE, ""))

    def exception(self, record: logging.LogRecord) -> str:
        """What was raised, and where; `""` for nothing."""
        parts = []
        if record.exc_info and record.exc_info[1] is not None:
            parts.append("\n".join(_told(record.exc_info[1], with_text=self._with_texts)))
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return mask_secrets("\n".join(parts))

    def ids(self) -> dict[str, str]:
        """Of the request, the call and the trace; empty ones too."""
        ids = {"request_id": request_id.get(), "call_id": call_id.get(), "trace_id": trace_id()}
        return {name: mask_secrets(value) if value else "" for name, value in ids.items()}


class ConsoleFormatter(_Formatter):
    """For people: time, level, logger, ids, message; an exception on lines after `    | `."""

    def format(self, record: logging.LogRecord) -> str:
        """One event; every line after the first is indented."""
        shown = " ".join(filter(None, self.ids().values()))
        shown_ids = f" [{escape_controls(shown)}]" if shown else ""
        time = datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(" ", "milliseconds")
        message = escape_controls(self.message(record))
        lines = [f"{time} {record.levelname:<7} {record.name}{shown_ids} {message}"]
        lines += [f"    | {escape_controls(line)}" for line in self.exception(record).split("\n") if line]
        return "\n".join(lines)


class JsonFormatter(_Formatter):
    """For machines: an object with `time`, `level`, `logger`, `message`, maybe the ids, maybe `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """One event on one line of ASCII."""
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self.message(record),
            **self.ids(),
            "exception": self.exception(record),
        }
        # ensure_ascii also escapes what JSON itself would let through: DEL, C1, separators, lone surrogates.
        return json.dumps({key: value for key, value in event.items() if value or key == "message"})


def _told(error: BaseException, *, with_text: bool) -> Iterator[str]:
    """The lines of an exception and its causes, the first cause first."""
    chain = [error]
    while len(chain) < _MAX_CAUSES:
        last = chain[-1]
        before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if before is None or before in chain:
            break
        chain.append(before)
    for link in reversed(chain):
        yield "Traceback (most recent call last):"
        yield from "".join(traceback.format_tb(link.__traceback__, limit=-_MAX_FRAMES)).splitlines()
        yield f"{_kind(link)}: {link}" if with_text else _kind(link)
        if isinstance(link, BaseExceptionGroup):
            yield from (f"  of {_kind(part)}" for part in link.exceptions[:_MAX_CAUSES])


def _kind(error: BaseException) -> str:
    """The exception's class, with what libraries say about it in codes."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return f"{name} ({os.strerror(error.errno)})"
    code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    return f"{name} ({code})" if isinstance(code, str) else name


def logging_configuration(
    log_format: Literal["console", "json"], *, access_log: bool = False, debug: bool = False
) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig`: everything to stderr, in `log_format`."""
    formatter = ConsoleFormatter if log_format == "console" else JsonFormatter
    routed: dict[str, Any] = {"handlers": [], "level": "INFO", "propagate": True}
    warnings, errors, silent = ({**routed, "level": level} for level in ("WARNING", "ERROR", "CRITICAL"))
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"limit": {"()": Limit, "exempt": ACCESS}},
        "formatters": {"quickim": {"()": formatter, "with_texts": debug}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "quickim",
                "filters": ["limit"],
            }
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            ACCESS: routed if access_log else warnings,
            # These bring handlers of their own, which would print in another format.
            "django": routed,
            "django.server": routed,
            "uvicorn": routed,
            # Two lines for every WebSocket otherwise; `serve` says itself where it listens.
            "uvicorn.error": warnings,
            "daphne": warnings,
            # Refusals, with the address as the client wrote it; metrics count them.
            "django.request": errors,
            "django.security": silent,
            # These quote what a caller sent for a trace's context, which is passed over when it is malformed.
            "opentelemetry.trace": silent,
            # A traceback for every second of an outage; gateway.layer says that Redis is away, and when it is back.
            "channels_redis": silent,
            # Access lines, addresses with their tokens included. Without a handler in reach uvicorn does not even
            # build its own.
            "uvicorn.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
            "django.channels.server": {"handlers": [], "level": "CRITICAL", "propagate": False},
        },
    }
