"""Who sees the playground, and whose browser may use its door.

The door hands out tokens and acts as the product's back end, so it must let nobody in whom ``/inner/*`` keeps out:

1. Switched off, the door is no path at all (quickim.urls).
2. Whoever is let in here passes the very guard of ``/inner/*``, its API keys included. The playground is never the
   easier way in; it is the harder one, because of what follows.
3. On by default (``local``) it serves people at this machine only: the name in the address must be one of the
   loopback, which a page that had its own name point here cannot have. Switched on, other names of
   ``QUICKIM_ALLOWED_HOSTS`` will do, but not any name, whatever stands there.
4. What comes through a proxy that is not trusted is refused: all its visitors would seem to come from its address,
   and it may keep the world from ``/inner/*`` without knowing of this door.
5. A browser that is at home here also shows other sites' pages. Those cannot use the door: a POST must carry an
   ``Origin``, which browsers write themselves and pages cannot, and it must be this server's own. Origins of
   ``QUICKIM_ALLOWED_ORIGINS`` may call the public endpoints, and not this.
6. There are no cookies, so there is nothing that a forged request would bring along by itself.
"""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from gateway.guard import guard_inner, is_address_allowed, is_trusted_peer
from quickim.errors import NotAllowed
from quickim.rest.edge import is_private_listener

_SIGNS_OF_A_PROXY = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


def is_shown(request: HttpRequest) -> bool:
    """Whether this visitor gets the playground at ``/``; an API key is asked for only at the door."""
    # The page cannot sign what it asks at the door, so it would be of no use.
    return _is_at_home(request) and is_address_allowed(request) and not settings.QUICKIM.inner_hmac_keys


def guard_door(request: HttpRequest) -> None:
    """Let the playground's own page pass. Raises NotAllowed for everybody else."""
    if not _is_at_home(request) or not _is_own_page(request):
        raise NotAllowed
    guard_inner(request)


def _is_at_home(request: HttpRequest) -> bool:
    if not is_private_listener(getattr(request, "scope", {})):
        return False
    domain, _ = split_domain_port(request.get_host())
    if any(sign in request.META for sign in _SIGNS_OF_A_PROXY) and not is_trusted_peer(request):
        return False
    match settings.QUICKIM.playground:
        case "local":
            return _is_loopback(domain)
        case "on":
            named = [name for name in settings.ALLOWED_HOSTS if name != "*"]
            return _is_loopback(domain) or validate_host(domain, named)
    return False


def _is_own_page(request: HttpRequest) -> bool:
    own = f"{request.scheme}://{request.get_host()}"
    # Older browsers do not send the second; where it is, a page can write it as little as the first.
    return (
        request.META.get("HTTP_ORIGIN") == own
        and request.META.get("HTTP_SEC_FETCH_SITE", "same-origin") == "same-origin"
    )


def _is_loopback(domain: str) -> bool:
    try:
        return ip_address(domain.strip("[]")).is_loopback
    except ValueError:
        return domain == "localhost"
