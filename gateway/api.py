"""The gateway's own endpoints: tokens (inner), tickets, and the HTTP side of ``/notify``."""

from typing import Any, ClassVar, cast

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import serializers

from gateway import entrance
from gateway.node import node
from gateway.revocation import EVERYBODY, revoke
from gateway.tickets import issue_ticket
from gateway.tokens import bearer_token, issue_token, verify_token
from gateway.transports.poll import answer_poll
from gateway.transports.sse import open_stream
from quickim.database import in_database
from quickim.errors import InvalidParameter, MethodNotAllowed, TooManyRequests, UnsupportedDriver
from quickim.rest.addresses import visitor_of
from quickim.rest.answers import failure, success
from quickim.rest.callers import Caller
from quickim.rest.endpoint import Endpoint, InnerEndpoint
from quickim.rest.fields import IntegerField, PlatformField, SessionField
from quickim.rest.strict_json import parse_object

LATEST_MICROSECONDS = 2**63 - 1


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


class TokensToRevoke(serializers.Serializer[Any]):
    """Which tokens: those of ``session``, or of everybody; on ``platform``, or on all of them; issued at ``before``
    (microseconds) or earlier."""

    session = SessionField(required=False, default=None)
    platform = PlatformField(required=False, default=None)
    before = IntegerField(0, LATEST_MICROSECONDS, required=False, default=None)


class InnerRevokeToken(InnerEndpoint):
    """End the tokens of a session that were issued until now, on every node at once.

    Connections with such a token are ended with 4503, and no call works with it. `platform` leaves the session's other
    platforms alone; `before` (microseconds since the Unix epoch) leaves later tokens alone. Without a `session`,
    `before` is needed, and everybody's tokens until then end. A token that does not say when it was issued counts as
    the oldest. Tokens that are issued afterwards are good.
    """

    name, body = "inner/revoke_token", TokensToRevoke
    answer_example: ClassVar[Any] = {"Before": 1_767_225_600_000_000}

    async def call(self, caller: Caller, params: dict[str, Any]) -> Any:
        """Until when tokens are revoked."""
        session, platform, before = params["session"], params["platform"], params["before"]
        if session is None and platform is not None:
            raise InvalidParameter.field("session", "is required with platform")
        if session is None and before is None:
            raise InvalidParameter({"session": "is required without before", "before": "is required without session"})
        revocation = await in_database(revoke, EVERYBODY if session is None else session, platform, before)
        # The announcement says it as well; whoever is answered may rely on it.
        node().revocation_watch.hear([revocation])
        return {"Before": revocation.before}


class Ticket(Endpoint):
    """A ticket that opens /notify once, within 30 seconds, instead of a token.

    It goes into the address: `/notify?ticket=…`.

    For clients that can put their credentials nowhere but in the address, where logs and histories keep them. The
    connection ends when the token would have ended it.
    """

    name = "ticket"
    errors = (TooManyRequests,)
    answer_example: ClassVar[Any] = {"Ticket": "q3Yb0o5v2mB1mQ7hXk4tUe9sZc6wLr8dNfGaJiPzVxTy"}

    async def post(self, request: HttpRequest) -> HttpResponseBase:
        """The HTTP door; calls over a WebSocket have their own way to the identity (gateway.calls)."""
        identity = verify_token(bearer_token(request.META.get("HTTP_AUTHORIZATION", "")))
        parse_object(request.body)
        return success({"Ticket": await issue_ticket(identity)})


async def notify(request: HttpRequest) -> HttpResponseBase:
    """``GET /notify?protoc=sse|poll``; a WebSocket comes in by gateway.transports.websocket."""
    try:
        if request.method != "GET":
            raise MethodNotAllowed
        scope = cast(ASGIRequest, request).scope
        query = entrance.query_of(scope["query_string"])
        protocol = query.get("protoc")
        if protocol not in ("sse", "poll"):
            raise UnsupportedDriver
        visitor = visitor_of(scope)
        entrance.knock(visitor)
        if protocol == "sse":
            await entrance.turn()
        identity = await entrance.identify(request.META.get("HTTP_AUTHORIZATION", ""), query)
        # The browser's own header is newer than the address it once opened.
        cursor = entrance.parse_cursor(request.META.get("HTTP_LAST_EVENT_ID") or query.get("since"))
        if protocol == "sse":
            response: HttpResponseBase = await open_stream(request, identity, cursor)
        else:
            return await answer_poll(identity, cursor, visitor)
    except Exception as error:  # noqa: BLE001  # the law of quickim.rest.answers: every failure is an envelope
        response = failure(error)
        if isinstance(error, MethodNotAllowed):
            response["Allow"] = "GET"
    # Otherwise nginx collects a stream before it passes it on.
    response["X-Accel-Buffering"] = "no"
    response["X-Content-Type-Options"] = "nosniff"
    return response


# Served on the event loop, without Django's own request, and ended when the client goes (quickim.rest.edge).
notify.lean = True  # type: ignore[attr-defined]
notify.takes_lean_requests = True  # type: ignore[attr-defined]
notify.waits = True  # type: ignore[attr-defined]

PUBLIC: tuple[type[Endpoint], ...] = (Ticket,)
INNER: tuple[type[Endpoint], ...] = (InnerGetToken, InnerRevokeToken)
