"""The guard of /inner/*: an allow list of addresses, and an API key as well when any is configured.

Law: X-Forwarded-For counts only when the peer itself is a configured trusted proxy, and is walked from the right: what
stands left of the first address that is no trusted proxy was written by whoever sits there.
"""

import secrets
from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest

from gateway.tokens import bearer_token
from quickim.errors import NotAllowed

Address = IPv4Address | IPv6Address


def guard_inner(request: HttpRequest) -> None:
    """Let the product's back end pass. Raises NotAllowed for everybody else."""
    address = client_address(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))
    if address is None or not any(address in network for network in settings.QUICKIM.inner_allow):
        raise NotAllowed
    keys: tuple[str, ...] = settings.QUICKIM.inner_api_keys
    if keys:
        given = request.META.get("HTTP_X_API_KEY") or bearer_token(request.META.get("HTTP_AUTHORIZATION", ""))
        # Every key is compared, each in constant time: the answer's time tells nothing.
        matches = [secrets.compare_digest(given.encode(errors="replace"), key.encode()) for key in keys]
        if not any(matches):
            raise NotAllowed


def client_address(peer: str, forwarded_for: str) -> Address | None:
    """The address of the client behind ``peer``; None when it cannot be told."""
    address = _parse(peer)
    hops = [hop.strip() for hop in forwarded_for.split(",")] if forwarded_for else []
    while address is not None and hops and _is_trusted_proxy(address):
        address = _parse(hops.pop())
    return address


def _is_trusted_proxy(address: Address) -> bool:
    return any(address in network for network in settings.QUICKIM.trusted_proxies)


def _parse(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d, which no IPv4 network would contain.
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
