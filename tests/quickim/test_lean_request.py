"""What endpoints read of a request is what Django's own request says."""

from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from hypothesis import given
from hypothesis import strategies as st

from quickim.rest.lean_request import LeanRequest

names = st.sampled_from(
    [b"authorization", b"x-api-key", b"content-type", b"content-length", b"cookie", b"x_api_key", b"origin", b"host"]
)
headers = st.lists(st.tuples(names, st.binary(max_size=12)), max_size=8)


def scope_of(headers: list[tuple[bytes, bytes]], query: bytes = b"") -> dict[str, Any]:
    """A POST as a server describes it."""
    return {
        "type": "http",
        "method": "POST",
        "path": "/send_msg",
        "query_string": query,
        "headers": headers,
        "client": ("192.0.2.7", 50_000),
        "server": ("127.0.0.1", 8088),
    }


@given(headers)
def test_headers_and_peer_are_what_django_makes_of_them(headers: list[tuple[bytes, bytes]]) -> None:
    lean, whole = LeanRequest(scope_of(headers), b"{}"), ASGIRequest(scope_of(headers), BytesIO(b"{}"))
    for name in [*lean.META, *(name for name in whole.META if name.startswith(("HTTP_", "CONTENT_", "REMOTE_")))]:
        assert lean.META.get(name) == whole.META.get(name), name


def test_whoever_asks_for_more_gets_djangos_request() -> None:
    request = LeanRequest(scope_of([(b"host", b"localhost")], b"token=x"), b'{"a": 1}')
    assert (request.method, request.body) == ("POST", b'{"a": 1}')
    assert (request.path, request.GET["token"], request.scheme) == ("/send_msg", "x", "http")
    assert request.whole.body == request.body


def test_a_query_that_is_no_utf_8_is_refused_as_django_refuses_it() -> None:
    with pytest.raises(UnicodeDecodeError):
        LeanRequest(scope_of([], b"token=\xff"), b"")
