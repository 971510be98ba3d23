"""A request as endpoints see it: what they read of it, and Django's own request for whoever asks for more.

Law: ``META`` says of every header, the method and the query what Django's says.
"""

from collections.abc import MutableMapping, Sequence
from functools import cached_property
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest

_MAX_NAMES = 1_000
_names: dict[bytes, str] = {}
"""Names of headers as ``META`` spells them; clients send the same ones again and again."""


class LeanRequest:
    """The request of ``scope`` with its whole ``body``. Raises UnicodeDecodeError for a query that is no UTF-8."""

    def __init__(self, scope: MutableMapping[str, Any], body: bytes) -> None:
        self.scope = scope
        self.body = body
        self.method: str = scope["method"]
        if not scope.get("query_string", b"").isascii():
            _ = self.whole

    @cached_property
    def META(self) -> dict[str, Any]:  # noqa: N802  # Django's name
        """What Django's would say of the headers and of the peer."""
        if _is_odd(self.scope["headers"]):
            return self.whole.META
        meta: dict[str, Any] = {_name_of(name): value.decode("latin-1") for name, value in self.scope["headers"]}
        meta["REQUEST_METHOD"] = self.method
        meta["QUERY_STRING"] = self.scope.get("query_string", b"").decode()
        client = self.scope.get("client")
        if client:
            meta["REMOTE_ADDR"] = meta["REMOTE_HOST"] = client[0]
            meta["REMOTE_PORT"] = client[1]
        return meta

    @cached_property
    def whole(self) -> ASGIRequest:
        """Django's own."""
        request = ASGIRequest(self.scope, BytesIO(self.body))
        request._body = self.body  # already read and counted: spares the stream machinery
        return request

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)


def _is_odd(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a header comes twice, or has a name with an underscore, which Django leaves out."""
    return len(dict(headers)) < len(headers) or any(b"_" in name for name, _ in headers)


def _name_of(header: bytes) -> str:
    name = _names.get(header)
    if name is None:
        name = header.decode("latin-1").upper().replace("-", "_")
        if name not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            name = f"HTTP_{name}"
        if len(_names) < _MAX_NAMES:
            _names[header] = name
    return name
