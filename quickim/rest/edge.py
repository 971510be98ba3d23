"""The first piece of our code that an HTTP request meets, whatever serves it: id, size, origin, then a handler.

Laws: a body is counted before anything is done with it; every answer carries ``X-Request-Id``; views that declare
themselves ``lean`` run inline on the event loop, everything else goes to Django's own handler.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from io import BytesIO
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.request import split_domain_port, validate_host
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from quickim.errors import BodyTooLarge, InvalidParameter, UnknownInterface
from quickim.observability.logs import request_id
from quickim.rest.answers import failure
from quickim.tasks import cancel, spawn

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
View = Callable[..., Awaitable[HttpResponseBase]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,128}")
_PREFLIGHT_SECONDS = "600"
_KNOWN_HOSTS = 1_000
ANY_HOST_PATHS = frozenset({"/healthz", "/readyz"})
"""Orchestrators and load balancers ask for these by an address; they tell nothing worth protecting."""
_LINGER_SECONDS = 5.0
_LINGER_FACTOR = 8
"""A body over the limit is read on, up to that many times the limit: a client reads our answer only when it has sent
all of its own."""


class ClientGone(Exception):
    """The client closed its connection before the request was read."""


class Edge:
    """The ASGI application in front of all HTTP; ``django`` serves what is not lean."""

    def __init__(self, django: Application) -> None:
        self.django = django
        self._lean_views: dict[str, View] = {}
        self._known_hosts: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])
        identity = headers.get(b"x-request-id", b"")
        if _REQUEST_ID.fullmatch(identity) is None:
            identity = uuid.uuid4().hex.encode()
        request_id.set(identity.decode())
        _believe_proxy(scope, headers)
        extra = [(b"x-request-id", identity), *_cross_origin(headers)]

        async def send_with_headers(event: Event) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event.get("headers", ()), *extra]
            await send(event)

        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _respond(_preflight(extra), send)
            return
        try:
            if scope["path"] not in ANY_HOST_PATHS:
                self._check_host(headers.get(b"host", b""))
            body = await _read_body(receive, headers)
        except ClientGone:
            return
        except (InvalidParameter, BodyTooLarge) as error:
            refusal = failure(error)
            refusal["Connection"] = "close"
            await _respond(refusal, send_with_headers)
            return
        try:
            view = self._lean_view(scope["path"])
        except UnknownInterface as error:
            await _respond(failure(error), send_with_headers)
            return
        if view is not None:
            await _serve_lean(view, scope, body, receive, send_with_headers)
        else:
            await self.django(scope, _replayed(body, receive), send_with_headers)

    def _check_host(self, host: bytes) -> None:
        """Only names of ours are served: a page that had its own name point here would reach /inner from a browser."""
        if host in self._known_hosts:
            return
        domain, _ = split_domain_port(host.decode("latin-1"))
        if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
            raise InvalidParameter.field("Host", "is not one of QUICKIM_ALLOWED_HOSTS")
        if len(self._known_hosts) < _KNOWN_HOSTS:
            self._known_hosts.add(host)

    def _lean_view(self, path: str) -> View | None:
        view = self._lean_views.get(path)
        if view is None:
            try:
                match = resolve(path)
            except (Resolver404, UnicodeError):
                if path.startswith(settings.STATIC_URL):
                    return None
                # Answered here: Django would take a thread for it and log a warning for every passing scanner.
                raise UnknownInterface from None
            # Only routes without arguments are lean, so the table stays as small as the URL configuration.
            if getattr(match.func, "lean", False) or getattr(getattr(match.func, "cls", None), "lean", False):
                view = self._lean_views[path] = match.func
        return view


async def _read_body(receive: Receive, headers: dict[bytes, bytes]) -> bytes:
    limit = settings.QUICKIM.max_body_bytes
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > limit:
        if b"expect" not in headers and int(declared[:20]) <= limit * _LINGER_FACTOR:
            await _discard(receive, limit * _LINGER_FACTOR)
        raise BodyTooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > limit:
            if event.get("more_body"):
                await _discard(receive, limit * (_LINGER_FACTOR - 1))
            raise BodyTooLarge
        chunks.append(chunk)
        if not event.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _discard(receive: Receive, at_most: int) -> None:
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while at_most > 0:
                event = await receive()
                at_most -= len(event.get("body", b""))
                if not event.get("more_body"):
                    return
    except TimeoutError:
        return


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending: list[Event] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Event:
        return pending.pop() if pending else await receive()

    return replay


async def _serve_lean(view: View, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    try:
        request = ASGIRequest(scope, BytesIO(body))
    except UnicodeDecodeError:
        await _respond(failure(InvalidParameter.field("url", "is not valid UTF-8")), send)
        return
    request._body = body  # already read and counted: spares the stream machinery
    if not getattr(view, "waits", False):
        await _respond(await view(request), send)
        return
    # A view that waits or streams is ended when its client goes: the task that watches for that cancels ours.
    me = asyncio.current_task()
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        if me is not None:
            me.cancel()

    watcher = spawn(watch(), "client watcher")
    try:
        await _respond(await view(request), send)
    except asyncio.CancelledError:
        if not left or me is None or me.uncancel() > 0:
            raise
    finally:
        await cancel([watcher])


async def _respond(response: HttpResponseBase, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
    headers.extend((b"set-cookie", cookie.output(header="").strip().encode()) for cookie in response.cookies.values())
    if isinstance(response, StreamingHttpResponse):
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        async with aclosing(aiter(response.streaming_content)) as chunks:  # type: ignore[arg-type,type-var]
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        content: bytes = getattr(response, "content", b"")
        headers.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": False})


def origin_allowed(origin: str) -> bool:
    """Whether ``QUICKIM_ALLOWED_ORIGINS`` names ``origin``; same origin is the caller's to know."""
    allowed: tuple[str, ...] = settings.QUICKIM.allowed_origins
    return origin != "null" and ("*" in allowed or origin in allowed)


def _cross_origin(headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    origin = headers.get(b"origin")
    if origin is None or not settings.QUICKIM.allowed_origins:
        return []
    vary = (b"vary", b"Origin")
    if not origin_allowed(origin.decode("latin-1")):
        return [vary]
    exposed = b"X-Request-Id, Retry-After"
    return [vary, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", exposed)]


def _preflight(extra: list[tuple[bytes, bytes]]) -> HttpResponseBase:
    response = HttpResponse(status=204)
    del response["Content-Type"]
    for name, value in extra:
        response[name.decode()] = value.decode("latin-1")
    if "Access-Control-Allow-Origin" in response:
        response["Access-Control-Allow-Methods"] = "GET, POST"
        response["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Last-Event-ID, X-Request-Id, X-Api-Key"
        response["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
    return response


def _believe_proxy(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """A configured trusted proxy may say that its client spoke TLS; nobody else may."""
    client = scope.get("client")
    if b"x-forwarded-proto" not in headers or not client or not settings.QUICKIM.trusted_proxies:
        return
    try:
        peer = ip_address(client[0])
    except ValueError:
        return
    if any(peer in network for network in settings.QUICKIM.trusted_proxies):
        scope["scheme"] = "https" if headers[b"x-forwarded-proto"].strip().lower() == b"https" else "http"
