"""Refusals that no application writes: of what is no request of ours, and of handshakes that are none.

Law: they say what every refusal says: the envelope, its status and headers, and an id of the request.
"""

import uuid

from django.http import HttpResponse
from websockets.datastructures import Headers
from websockets.http11 import Response

from quickim.errors import InternalError, InvalidParameter, MethodNotAllowed, NotAllowed, QuickimError
from quickim.observability import tracing
from quickim.rest.answers import failure

_NO_HANDSHAKE = InvalidParameter.field("handshake", "is none of a WebSocket, version 13")
_OF_HANDSHAKES: dict[int, QuickimError] = {403: NotAllowed(), 405: MethodNotAllowed(), 500: InternalError()}


def refusal(error: QuickimError) -> bytes:
    """All that is written before the connection is closed because of ``error``."""
    answer, headers = _told(error)
    lines = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.content


def handshake_refusal(status: int) -> Response:
    """What is said instead of the ``status`` that the library of WebSockets would answer a handshake with."""
    answer, headers = _told(_OF_HANDSHAKES.get(status, _NO_HANDSHAKE))
    if answer.status_code == 405:
        headers["allow"] = "GET"
    headers["sec-websocket-version"] = "13"
    return Response(answer.status_code, answer.reason_phrase, Headers(headers), answer.content)


def _told(error: QuickimError) -> tuple[HttpResponse, dict[str, str]]:
    answer = failure(error)
    headers = {"connection": "close"} | {name.lower(): value for name, value in answer.items()}
    headers["x-request-id"] = uuid.uuid4().hex
    if (spans := tracing.spans()) is not None:
        headers["traceparent"] = spans.traceparent(headers["x-request-id"])
    headers["content-length"] = str(len(answer.content))
    return answer, headers
