"""The envelope of every answer and the one place where a failure becomes a code, a status and headers.

Law: whatever happens, a caller gets ``{"code": N, "error": …}`` with the status of the contract's table; what went
wrong inside is logged here and never shown.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework import exceptions as drf

from quickim.errors import (
    BodyTooLarge,
    InternalError,
    InvalidParameter,
    InvalidToken,
    MethodNotAllowed,
    NotAllowed,
    QuickimError,
    TooManyRequests,
    Unavailable,
    UnknownInterface,
)
from quickim.rest.strict_json import encode

logger = logging.getLogger(__name__)

_DRF_ERRORS: tuple[tuple[type[drf.APIException], type[QuickimError]], ...] = (
    (drf.AuthenticationFailed, InvalidToken),
    (drf.NotAuthenticated, InvalidToken),
    (drf.PermissionDenied, NotAllowed),
    (drf.NotFound, UnknownInterface),
    (drf.MethodNotAllowed, MethodNotAllowed),
    (drf.Throttled, TooManyRequests),
)


def known_error(error: BaseException) -> QuickimError:
    """The row of the code table that ``error`` stands for; anything unexpected is logged and is InternalError."""
    if isinstance(error, QuickimError):
        return error
    if isinstance(error, drf.ValidationError):
        return InvalidParameter(_plain_detail(error.detail))
    for kind, ours in _DRF_ERRORS:
        if isinstance(error, kind):
            return ours()
    if isinstance(error, RequestDataTooBig):
        return BodyTooLarge()
    if isinstance(error, SuspiciousOperation):
        # Django's name for a request that nobody sends in good faith, such as one with thousands of fields.
        return InvalidParameter()
    if isinstance(error, OperationalError | InterfaceError):
        # The driver's text may quote data of the statement: only its kind is logged.
        logger.warning("The database did not answer (%s): check /readyz and the database server.", _kind(error))
        return Unavailable()
    if isinstance(error, DatabaseError):
        logger.error(
            "The database refused a statement (%s): is it migrated? Otherwise report this as a bug.", _kind(error)
        )
        return InternalError()
    logger.error("Unexpected failure. Report this as a bug, with its lines.", exc_info=error)
    return InternalError()


def failure_object(error: QuickimError) -> dict[str, Any]:
    """The envelope of a failure, as HTTP bodies and answers over WebSocket carry it."""
    answer: dict[str, Any] = {"code": error.code, "error": error.text()}
    if error.detail:
        answer["detail"] = error.detail
    return answer


class Answer(HttpResponse):
    """A response in JSON whose headers and cookies Django makes when somebody asks for them; mostly nobody does."""

    def __init__(self, body: bytes, status: int, more: Mapping[str, str] | None = None) -> None:
        self.status_code = status
        self.body = body
        self._more = more or {}

    def __getattr__(self, name: str) -> Any:
        if "headers" in self.__dict__ or name.startswith("__"):
            raise AttributeError(name)
        super().__init__(self.body, status=self.status_code, headers={**_HEADERS, **self._more})
        return getattr(self, name)

    @property
    def plain_headers(self) -> list[tuple[bytes, bytes]] | None:
        """As ASGI wants them, with the length; None when Django's were asked for, and may have been changed."""
        if "headers" in self.__dict__:
            return None
        headers = [*_PLAIN_HEADERS, (b"content-length", b"%d" % len(self.body))]
        if self._more:
            headers.extend((name.lower().encode(), value.encode()) for name, value in self._more.items())
        return headers


_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    # Whatever somebody wrote into a message is no page.
    "X-Content-Type-Options": "nosniff",
}
_PLAIN_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


def success(payload: Any) -> HttpResponse:
    """``{"code": 0, "data": payload}`` with status 200."""
    return Answer(encode({"code": 0, "data": payload}), 200)


def failure(error: BaseException) -> HttpResponse:
    """The envelope, status and headers that ``error`` is answered with."""
    known = known_error(error)
    response = Answer(encode(failure_object(known)), 200 if settings.QUICKIM.legacy else known.status)
    if known.retry_after_seconds is not None:
        response["Retry-After"] = str(max(1, math.ceil(known.retry_after_seconds)))
    if isinstance(known, InvalidToken):
        response["WWW-Authenticate"] = "Bearer"
    return response


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Django REST framework's hook, for any view of it that is no Endpoint."""
    return failure(error)


def _kind(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__


def _plain_detail(detail: Any) -> dict[str, Any]:
    if isinstance(detail, dict):
        return {
            str(name): str(problem[0]) if isinstance(problem, list) and problem else str(problem)
            for name, problem in detail.items()
        }
    return {"body": str(detail[0] if isinstance(detail, list) and detail else detail)}
