"""The gateway's own endpoints: issuing tokens (inner) and the HTTP side of ``/notify``."""

from typing import Any, ClassVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import serializers

from gateway import entrance
from gateway.tokens import issue_token
from gateway.transports.poll import answer_poll
from gateway.transports.sse import open_stream
from quickim.errors import MethodNotAllowed, UnsupportedDriver
from quickim.rest.answers import failure
from quickim.rest.callers import Caller
from quickim.rest.endpoint import Endpoint, InnerEndpoint
from quickim.rest.fields import PlatformField, SessionField


class SessionOnPlatform(serializers.Serializer[Any]):
    """Whom a token is for."""

    session = SessionField()
    platform = PlatformField()


class InnerGetToken(InnerEndpoint):
    """A token for one session on one platform, to be handed to that user's app."""

    name, body = "inner/get_token", SessionOnPlatform
    answer_example: ClassVar[Any] = "eyJhbGciOiJIUzI1NiJ9.eyJzaWQiOiJhbGljZSJ9.c2lnbmF0dXJl"

    async def call(self, caller: Caller, params: dict[str, Any]) -> Any:
        """The token itself."""
        return issue_token(params["session"], params["platform"])


async def notify(request: HttpRequest) -> HttpResponseBase:
    """``GET /notify?protoc=sse|poll``; a WebSocket comes in by gateway.transports.websocket."""
    try:
        if request.method != "GET":
            raise MethodNotAllowed
        protocol = request.GET.get("protoc")
        if protocol not in ("sse", "poll"):
            raise UnsupportedDriver
        identity = entrance.identify(request.META.get("HTTP_AUTHORIZATION", ""), request.GET)
        # The browser's own header is newer than the address it once opened.
        cursor = entrance.parse_cursor(request.META.get("HTTP_LAST_EVENT_ID") or request.GET.get("since"))
        if protocol == "sse":
            return await open_stream(request, identity, cursor)
        return await answer_poll(identity, cursor)
    except Exception as error:  # noqa: BLE001  # the law of quickim.rest.answers: every failure is an envelope
        response = failure(error)
        if isinstance(error, MethodNotAllowed):
            response["Allow"] = "GET"
        return response


# Served on the event loop, and ended when the client goes (quickim.rest.edge).
notify.lean = True  # type: ignore[attr-defined]
notify.waits = True  # type: ignore[attr-defined]

INNER: tuple[type[Endpoint], ...] = (InnerGetToken,)
