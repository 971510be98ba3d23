"""Cookies of a request that came over TLS go back over TLS only."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware


def _secured(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    # A setting could not tell: the same node is asked over loopback without TLS and through a proxy with it.
    if request.is_secure():
        for cookie in response.cookies.values():
            cookie["secure"] = True
    return response


@sync_and_async_middleware
def secure_cookies(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Marks every cookie of an answer over TLS as secure."""
    if iscoroutinefunction(get_response):
        answer_later = cast(Callable[[HttpRequest], Awaitable[HttpResponseBase]], get_response)

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            return _secured(request, await answer_later(request))

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        return _secured(request, get_response(request))

    return synchronous
