"""The base of every endpoint: one declaration serves HTTP, calls over WebSocket and the OpenAPI document.

A subclass names its ``body`` (a serializer of strict fields) and implements ``call``. It is a Django REST framework
view whose dispatch runs inline on the event loop: no thread hop, no signals, no middleware. It may therefore never
touch the ORM itself; ``quickim.database.in_database`` carries such work to a database thread.
"""

from collections.abc import Sequence
from functools import cached_property, update_wrapper
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.fields import empty
from rest_framework.views import APIView

from quickim.errors import InvalidToken, MethodNotAllowed, QuickimError
from quickim.rest.answers import failure, success
from quickim.rest.callers import Caller
from quickim.rest.rates import CALLS
from quickim.rest.strict_json import parse_object


class Empty(serializers.Serializer[Any]):
    """A body without fields."""


class Endpoint(APIView):
    """One POST endpoint at ``/<name>``; ``lean``: served without Django's request threads and middleware."""

    name: ClassVar[str]
    body: ClassVar[type[serializers.Serializer[Any]]] = Empty
    errors: ClassVar[tuple[type[QuickimError], ...]] = ()
    answer_example: ClassVar[Any] = None
    lean: ClassVar[bool] = True
    counts_as_call: ClassVar[bool] = True
    """Whether ``QUICKIM_CALL_RATE`` holds for it; sends have a rate of their own."""
    http_method_names = ("post",)

    async def call(self, caller: Caller, params: dict[str, Any]) -> Any:
        """Do the work for ``caller`` with checked ``params``; returns what goes into ``data``."""
        raise NotImplementedError

    async def run(self, caller: Caller, raw_params: dict[str, Any]) -> Any:
        """Check ``raw_params``, then ``call``: what every door ends in. Raises what the code table maps."""
        if self.counts_as_call and not caller.is_system:
            CALLS.spend(caller.session, settings.QUICKIM.call_rate)
        return await self.call(caller, self.check(raw_params))

    def check(self, raw_params: dict[str, Any]) -> dict[str, Any]:
        """The fields of ``body`` out of ``raw_params``. Raises ValidationError that names all the wrong ones, or a
        field's own code. The serializer's own validation does the same with machinery that none of ours needs."""
        params: dict[str, Any] = {}
        wrong: dict[str, Any] = {}
        for name, field in self._fields:
            try:
                params[name] = field.run_validation(raw_params.get(name, empty))
            except serializers.ValidationError as error:
                wrong[name] = error.detail
        if wrong:
            raise serializers.ValidationError(wrong)
        return params

    async def post(self, request: HttpRequest) -> HttpResponseBase:
        """The HTTP door."""
        caller = self.identify(request)
        return success(await self.run(caller, parse_object(request.body)))

    def identify(self, request: HttpRequest) -> Caller:
        """Who calls, by the first authenticator that knows. Raises InvalidToken or NotAllowed."""
        for authenticator in self._authenticators:
            identity = authenticator.authenticate(request)  # type: ignore[arg-type]  # ours read headers only
            if identity is not None:
                caller: Caller = identity[0]
                return caller
        raise InvalidToken

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Answer ``request``; every failure becomes the envelope."""
        try:
            if request.method != "POST":
                raise MethodNotAllowed
            return await self.post(request)
        except Exception as error:  # noqa: BLE001  # the law of quickim.rest.answers
            response = failure(error)
            if isinstance(error, MethodNotAllowed):
                response["Allow"] = "POST"
            return response

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Also 405 in the envelope."""
        return _not_allowed()

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """The view. One endpoint serves all requests: nothing of a request is kept in it."""
        view = super().as_view(**initkwargs)
        if not cls.lean:
            return view
        endpoint = cls(**initkwargs)

        async def lean_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return await endpoint.dispatch(request)

        update_wrapper(lean_view, view)
        lean_view.takes_lean_requests = True  # type: ignore[attr-defined]  # for quickim.rest.edge
        return lean_view

    @cached_property
    def _authenticators(self) -> Sequence[BaseAuthentication]:
        return self.get_authenticators()

    @cached_property
    def _fields(self) -> tuple[tuple[str, Any], ...]:
        kind = type(self)
        if kind not in _fields_of:
            _fields_of[kind] = tuple(kind.body().fields.items())
        return _fields_of[kind]


_fields_of: dict[type[Endpoint], tuple[tuple[str, Any], ...]] = {}
"""Building a serializer copies all its fields; validating with them keeps no state, so one set serves every request."""


def _not_allowed() -> HttpResponse:
    response = failure(MethodNotAllowed())
    response["Allow"] = "POST"
    return response


class InnerEndpoint(Endpoint):
    """An endpoint for the product's back end: no token, the guard named by ``INNER_GUARD`` in the settings instead."""

    def identify(self, request: HttpRequest) -> Caller:
        """The system. Raises NotAllowed."""
        import_string(settings.INNER_GUARD)(request)
        return Caller.SYSTEM

    async def post(self, request: HttpRequest) -> HttpResponseBase:
        """The HTTP door, of signed requests where this deployment asks for them."""
        caller = self.identify(request)
        await import_string(settings.INNER_SIGNATURE_GUARD)(request)
        return success(await self.run(caller, parse_object(request.body)))
