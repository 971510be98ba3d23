"""The guard of /inner/*: an allow list of addresses, no page of another site, and an API key when any is configured.

Whether a request is signed is asked after it, by gateway.signatures.
"""

import secrets

from django.conf import settings
from django.http import HttpRequest

from gateway.tokens import bearer_token
from quickim.errors import NotAllowed
from quickim.rest.addresses import client_address, is_trusted_proxy, parse_address, visitor_of

__all__ = ["client_address", "guard_inner", "is_address_allowed", "is_trusted_peer"]


def guard_inner(request: HttpRequest) -> None:
    """Let the product's back end pass. Raises NotAllowed for everybody else."""
    if not is_address_allowed(request) or is_foreign_page(request):
        raise NotAllowed
    keys: tuple[str, ...] = settings.QUICKIM.inner_api_keys
    if keys:
        given = request.META.get("HTTP_X_API_KEY") or bearer_token(request.META.get("HTTP_AUTHORIZATION", ""))
        # Every key is compared, each in constant time: the answer's time tells nothing.
        matches = [secrets.compare_digest(given.encode(errors="replace"), key.encode()) for key in keys]
        if not any(matches):
            raise NotAllowed


def is_address_allowed(request: HttpRequest) -> bool:
    """Whether the client's address is on the list."""
    scope = getattr(request, "scope", None)
    if scope is not None:
        return visitor_of(scope).may_call_inner
    address = client_address(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))
    return address is not None and any(address in network for network in settings.QUICKIM.inner_allow)


def is_foreign_page(request: HttpRequest) -> bool:
    """Whether a page of another site has a browser ask, which may well stand at an allowed address.

    It needs no leave to send a body as text, though it may not read the answer. Back ends send no ``Origin``.
    """
    if request.META.get("HTTP_SEC_FETCH_SITE", "same-origin") not in ("same-origin", "none"):
        return True
    origin = request.META.get("HTTP_ORIGIN")
    return origin is not None and origin != f"{request.scheme}://{request.META.get('HTTP_HOST', '')}"


def is_trusted_peer(request: HttpRequest) -> bool:
    """Whether the request came straight from a trusted proxy."""
    peer = parse_address(request.META.get("REMOTE_ADDR", ""))
    return peer is not None and is_trusted_proxy(peer)
