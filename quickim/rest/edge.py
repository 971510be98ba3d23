"""The first piece of our code that an HTTP request meets, whatever serves it: id, address, size, then a handler.

Laws: a request is counted before anything is done with it, and so is its body; every answer carries ``X-Request-Id``,
and ``traceparent`` where tracing is on; views that declare themselves ``lean`` run inline on the event loop, everything
else goes to Django's own handler; what either raises is answered in the envelope.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from django.conf import settings
from django.http import StreamingHttpResponse
from django.http.request import split_domain_port, validate_host
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from quickim.errors import BodyTooLarge, InvalidParameter, RateExceeded, UnknownInterface
from quickim.observability import tracing
from quickim.observability.logs import request_id, request_id_of
from quickim.rest.addresses import is_trusted_proxy, parse_address, visitor_of
from quickim.rest.answers import Answer, failure
from quickim.rest.hosts import check_host, check_one_host
from quickim.rest.lean_request import LeanRequest
from quickim.rest.origins import cross_origin_headers, preflight
from quickim.rest.rates import spend_of_address
from quickim.tasks import cancel, spawn

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
View = Callable[..., Awaitable[HttpResponseBase]]

ANY_HOST_PATHS = frozenset({"/healthz", "/readyz"})
"""Orchestrators and load balancers ask for these by an address; they tell nothing worth protecting."""
PRIVATE_LISTENER = "quickim.private"
"""Stands in the ``state`` of what comes by ``QUICKIM_INNER_BIND`` (gateway.server.serving)."""
_PRIVATE_PREFIXES = ("/inner", "/metrics", "/admin", "/playground")
"""What is not for the product's users, with all that is below it."""
_PRIVATE_PATHS = tuple(f"{prefix}/" for prefix in _PRIVATE_PREFIXES)
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_OF_PAGES = (
    # A page that has a policy of its own keeps that.
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id.set(identity := request_id_of(given))
        _believe_proxy(scope, headers)
        path = scope["path"]
        is_private = path.startswith(_PRIVATE_PREFIXES)
        extra = [(b"x-request-id", identity.encode()), *cross_origin_headers(headers, is_private=is_private)]
        if (spans := tracing.spans()) is not None:
            extra.append((b"traceparent", spans.traceparent("" if given else identity).encode()))
        has_begun = False

        async def send_with_headers(event: Event) -> None:
            nonlocal has_begun
            if event["type"] == "http.response.start":
                has_begun = True
                event["headers"] = [*event.get("headers", ()), *extra]
            await send(event)

        try:
            if len(headers) < len(scope["headers"]):
                check_one_host(scope["headers"])
            if path not in ANY_HOST_PATHS:
                _count(scope, path)
                check_host(headers.get(b"host", b""))
            if is_private:
                _check_private(scope, path, headers)
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await _respond(preflight(extra), send)
                return
            body = await _read_body(receive, headers)
        except ClientGone:
            return
        except (RateExceeded, UnknownInterface) as error:
            await _respond(failure(error), send_with_headers)
            return
        except (InvalidParameter, BodyTooLarge) as error:
            refusal = failure(error)
            refusal["Connection"] = "close"
            await _respond(refusal, send_with_headers)
            return
        try:
            if (view := self._lean_view(path)) is not None:
                await _serve_lean(view, scope, body, receive, send_with_headers)
            else:
                await self.django(scope, _replayed(body, receive), _with_page_headers(send_with_headers))
        except Exception as error:
            if has_begun:
                raise
            await _respond(failure(error), send_with_headers)

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


def is_private_listener(scope: Scope) -> bool:
    """Whether the request came by ``QUICKIM_INNER_BIND``, or that is not set and nothing is kept apart."""
    return settings.QUICKIM.inner_bind is None or PRIVATE_LISTENER in scope.get("state", ())


def _check_private(scope: Scope, path: str, headers: dict[bytes, bytes]) -> None:
    """Raises UnknownInterface for what is not there by this address, or not under this name."""
    if not path.startswith(_PRIVATE_PATHS) and path not in _PRIVATE_PREFIXES:
        return
    if not is_private_listener(scope):
        raise UnknownInterface
    hosts: tuple[str, ...] = settings.QUICKIM.admin_hosts
    if hosts and path.startswith("/admin"):
        domain, _ = split_domain_port(headers.get(b"host", b"").decode("latin-1"))
        if not domain or not validate_host(domain, list(hosts)):
            raise UnknownInterface


def _count(scope: Scope, path: str) -> None:
    """Raises RateExceeded when requests come too fast from one address; a back end of the product is not counted."""
    visitor = visitor_of(scope)
    if visitor.limit_key and not (visitor.may_call_inner and path.startswith("/inner/")):
        spend_of_address(visitor.limit_key, settings.QUICKIM.address_rate)


def _with_page_headers(send: Send) -> Send:
    """What Django serves goes out with what keeps browsers from doing more with it than show it."""

    async def send_page(event: Event) -> None:
        if event["type"] == "http.response.start":
            headers = list(event.get("headers", ()))
            present = {name.lower(): value for name, value in headers}
            wanted = [_NO_SNIFFING]
            # Django's own pages about a failure in development live on inline styles.
            if present.get(b"content-type", b"").startswith(b"text/html") and not settings.DEBUG:
                wanted.extend(_OF_PAGES)
            event["headers"] = [*headers, *(header for header in wanted if header[0] not in present)]
        await send(event)

    return send_page


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
        request: Any = LeanRequest(scope, body)
        if not getattr(view, "takes_lean_requests", False):
            request = request.whole
    except UnicodeDecodeError:
        await _respond(failure(InvalidParameter.field("url", "is not valid UTF-8")), send)
        return
    if not getattr(view, "waits", False):
        await _respond(await view(request), send)
        return
    # A view that waits or streams is ended when its client goes.
    me = asyncio.current_task()
    left = False

    def leave() -> None:
        nonlocal left
        left = True
        if me is not None:
            me.cancel()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        leave()

    # Our own server tells; of another one a task has to ask.
    when_gone = (scope.get("extensions") or {}).get("quickim.gone")
    watcher = None
    try:
        if when_gone is None:
            watcher = spawn(watch(), "client watcher")
        elif not when_gone(leave):
            return
        await _respond(await view(request), send)
    except asyncio.CancelledError:
        if not left or me is None or me.uncancel() > 0:
            raise
    finally:
        if watcher is not None:
            await cancel([watcher])
        elif when_gone is not None:
            when_gone(None)


async def _respond(response: HttpResponseBase, send: Send) -> None:
    if isinstance(response, Answer) and (plain := response.plain_headers) is not None:
        await send({"type": "http.response.start", "status": response.status_code, "headers": plain})
        await send({"type": "http.response.body", "body": response.body, "more_body": False})
        return
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


def _believe_proxy(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """A configured trusted proxy may say that its client spoke TLS; nobody else may."""
    client = scope.get("client")
    if b"x-forwarded-proto" not in headers or not client or not settings.QUICKIM.trusted_proxies:
        return
    peer = parse_address(client[0])
    if peer is not None and is_trusted_proxy(peer):
        scope["scheme"] = "https" if headers[b"x-forwarded-proto"].strip().lower() == b"https" else "http"
