"""Where a request comes from: the client's real address, and what limits count it by.

Laws: X-Forwarded-For counts only when the peer itself is a configured trusted proxy, and is walked from the right: what
stands left of the first address that is no trusted proxy was written by whoever sits there. An IPv6 client counts by
its /64, of which anybody has all addresses. An address that cannot be told is limited, together with all such.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from django.conf import settings

Address = IPv4Address | IPv6Address

UNKNOWN = "unknown"
_PREFIX_BITS = 64
_MAX_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever sent a request; ``limit_key`` names him to limits for an address and is ``""`` when they are not his."""

    address: Address | None
    limit_key: str
    may_call_inner: bool
    """Whether his address is one of ``QUICKIM_INNER_ALLOW``."""


OWN = Visitor(None, "", may_call_inner=False)
"""Of what comes from this process itself."""


def client_address(peer: str, forwarded_for: str) -> Address | None:
    """The address of the client behind ``peer``; None when it cannot be told."""
    address = parse_address(peer)
    hops = [hop.strip() for hop in forwarded_for.split(",")] if forwarded_for else []
    while address is not None and hops and is_trusted_proxy(address):
        address = parse_address(hops.pop())
    return address


def is_trusted_proxy(address: Address) -> bool:
    """Whether ``QUICKIM_TRUSTED_PROXIES`` names it."""
    return any(address in network for network in settings.QUICKIM.trusted_proxies)


def parse_address(text: str) -> Address | None:
    """The address that ``text`` is, a port and brackets left out; None when it is none."""
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


class _Known:
    """Visitors worked out before: parsing an address and asking all networks takes longer than a call's other checks.

    What is kept is bounded, and holds for one configuration.
    """

    def __init__(self) -> None:
        self._configuration: Any = None
        self._by_peer: dict[str, Visitor | None] = {}
        """None: a trusted proxy, whose clients stand in ``_behind``."""
        self._behind: dict[tuple[str, str], Visitor] = {}

    def visitor(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> Visitor:
        """Of ``peer``, or of whom it speaks for."""
        configuration = settings.QUICKIM
        if configuration is not self._configuration:
            self._configuration = configuration
            self._by_peer.clear()
            self._behind.clear()
        try:
            known = self._by_peer[peer]
        except KeyError:
            known = self._by_peer_anew(peer)
        if known is not None:
            return known
        forwarded_for = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
        found = self._behind.get((peer, forwarded_for))
        if found is None:
            _make_room(self._behind)
            found = self._behind[peer, forwarded_for] = _visitor(client_address(peer, forwarded_for))
        return found

    def _by_peer_anew(self, peer: str) -> Visitor | None:
        _make_room(self._by_peer)
        address = parse_address(peer)
        is_proxy = address is not None and is_trusted_proxy(address)
        known = self._by_peer[peer] = None if is_proxy else _visitor(address)
        return known


def _make_room(known: dict[Any, Any]) -> None:
    # All at once: who comes often is back at once, and nothing has to be kept in order for that.
    if len(known) >= _MAX_KNOWN:
        known.clear()


def _visitor(address: Address | None) -> Visitor:
    if address is None:
        return Visitor(None, UNKNOWN, may_call_inner=False)
    configuration = settings.QUICKIM
    is_exempt = any(address in network for network in configuration.limit_exempt)
    may_call_inner = any(address in network for network in configuration.inner_allow)
    return Visitor(address, "" if is_exempt else _limit_key(address), may_call_inner)


def _limit_key(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> _PREFIX_BITS << _PREFIX_BITS)}/{_PREFIX_BITS}"


_known = _Known()


def visitor_of(scope: Mapping[str, Any]) -> Visitor:
    """Who sent what the ASGI ``scope`` stands for."""
    client = scope.get("client")
    return _known.visitor(client[0] if client else "", scope["headers"])


def peer_key(peer: str) -> str:
    """By what limits count connections of ``peer`` itself; ``""`` when none is counted: a trusted proxy's carry the
    world."""
    address = parse_address(peer)
    if address is not None and is_trusted_proxy(address):
        return ""
    return _known.visitor(peer, ()).limit_key
