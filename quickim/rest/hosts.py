"""Under which names this server is asked: ``QUICKIM_ALLOWED_HOSTS``, for HTTP and WebSockets alike.

Law: only names of ours are served: a page whose own name pointed here would reach /inner, or a user's connection, from
a browser. A request has one Host.
"""

from collections.abc import Collection

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from quickim.errors import InvalidParameter

_MAX_KNOWN = 1_000
_known: set[bytes] = set()


def check_one_host(headers: Collection[tuple[bytes, bytes]]) -> None:
    """Raises InvalidParameter for a request with several: one server would heed the first, another one the last."""
    if sum(name == b"host" for name, _ in headers) > 1:
        raise InvalidParameter.field("Host", "is given more than once")


def check_host(host: bytes) -> None:
    """Raises InvalidParameter when ``host`` is no name of ours."""
    if host in _known:
        return
    domain, _ = split_domain_port(host.decode("latin-1"))
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        raise InvalidParameter.field("Host", "is not one of QUICKIM_ALLOWED_HOSTS")
    if len(_known) < _MAX_KNOWN:
        _known.add(host)
