"""What an environment variable of ours may look like: one `Variable` each, and the parsers they share.

Law: pure. A parser takes the text of a variable, with no white space around it, and returns a value or raises
`ValueError` with a reason that reads on after the variable's name. A reason never repeats the text itself:
`Variable.problem` quotes it, and only when it is no secret.
"""

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
Network = IPv4Network | IPv6Network

LARGEST_PLATFORM = 32767
"""Platforms are integers from 0 to this one (the wire contract, section 1)."""

SHORTEST_KEY_BYTES = 32
"""RFC 7518, section 3.2: an HS256 key has at least the 256 bits of its hash."""

LARGEST_PORT = 65535

BURST_SECONDS = 4
"""A rate of `N/s` allows a burst of this many times N."""

_QUOTED_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Variable(Generic[T]):
    """One environment variable; `default` is written as a deployment would, and read by the same `parse`."""

    name: str
    default: str
    parse: Callable[[str], T]
    example: str
    secret: bool = False

    def problem(self, text: str, reason: object) -> str:
        """One line: the variable, what is wrong with it, its value unless that is secret, and a right one."""
        quoted = "" if self.secret else f" (got {text[:_QUOTED_CHARACTERS]!r})"
        return f"{self.name} {reason}{quoted}; a right value: {self.name}={self.example}"


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `per_second` goes in every second, and at most `burst` stay."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class JwtKey:
    """A key that signs or verifies tokens, and the `kid` by which a token names it."""

    kid: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Platforms:
    """A set of platforms, or all of them: `3 in platforms`."""

    listed: frozenset[int]
    everywhere: bool

    def __contains__(self, platform: int) -> bool:
        return self.everywhere or platform in self.listed


def items(text: str) -> tuple[str, ...]:
    """The non-empty parts between commas."""
    return tuple(part for part in (raw.strip() for raw in text.split(",")) if part)


def integer(low: int, high: int) -> Callable[[str], int]:
    """A parser of decimal integers from `low` to `high`."""

    def parse(text: str) -> int:
        # int() would also take 1_000, ٣ and +1.
        if not re.fullmatch(r"-?[0-9]{1,19}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be an integer from {low} to {high}")
        return int(text)

    return parse


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """A parser for which unset is None."""
    return lambda text: parse(text) if text else None


def seconds(low: float, high: float) -> Callable[[str], float]:
    """A parser of decimal numbers of seconds from `low` to `high`."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or not low <= float(text) <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(text)

    return parse


def switch(text: str) -> bool:
    """`1` or `0`, and nothing that could be meant either way."""
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser of one word out of `choices`."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return parse


def bind(text: str) -> tuple[str, int]:
    """`address:port`, the address of IPv6 in brackets. Port 0 takes a free one."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text)
    if not match or int(match[3]) > LARGEST_PORT:
        raise ValueError("must be an address and a port, an IPv6 address in brackets")
    return match[1] or match[2], int(match[3])


def directory(text: str) -> Path:
    """A path; `~` is the home directory."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError("must be a directory; there is no such home") from None


def rate(text: str) -> Rate | None:
    """`N/s`, or `off`, which is None."""
    if text == "off":
        return None
    match = re.fullmatch(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)/s", text)
    if not match or float(match[1]) <= 0:
        raise ValueError("must be a rate above zero written N/s, or off")
    per_second = float(match[1])
    return Rate(per_second, max(1, math.ceil(per_second * BURST_SECONDS)))


def networks(text: str) -> tuple[Network, ...]:
    """Comma-separated addresses and CIDRs."""
    found: list[Network] = []
    for part in items(text):
        try:
            found.append(ip_network(part))
        except ValueError as error:
            raise ValueError(f"must be comma-separated CIDRs: {error}") from None
    return tuple(found)


def platforms(text: str) -> Platforms:
    """Comma-separated platforms, or `*` for all."""
    if text == "*":
        return Platforms(frozenset(), everywhere=True)
    try:
        return Platforms(frozenset(map(integer(0, LARGEST_PLATFORM), items(text))), everywhere=False)
    except ValueError:
        raise ValueError(f"must be comma-separated integers from 0 to {LARGEST_PLATFORM}, or *") from None


def hosts(text: str) -> tuple[str, ...]:
    """Host names as Django's ALLOWED_HOSTS takes them: no scheme, no port, `.name` with subdomains, `*`."""
    for part in items(text):
        if part != "*" and not re.fullmatch(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]", part):
            raise ValueError("must be comma-separated host names without scheme and port, IPv6 in brackets")
    return items(text)


def origins(text: str) -> tuple[str, ...]:
    """Exact origins in the form in which browsers send them, or only `*`; none means same origin."""
    if text == "*":
        return ("*",)
    return tuple(_origin(part) for part in items(text))


def _origin(text: str) -> str:
    reason = "must be comma-separated origins (scheme://host[:port], nothing after it), or only *"
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise ValueError(reason) from None
    bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc or "*" in parts.netloc)
    if scheme not in ("http", "https") or not host or not bare or not text.isascii():
        raise ValueError(reason)
    # A browser leaves the scheme's own port out, so an origin with it would never match.
    shown = "" if port in (None, {"http": 80, "https": 443}[scheme]) else f":{port}"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{shown}"


def secret_key(text: str) -> str:
    """Django's own key; empty when it is to be generated."""
    if text and len(text.encode()) < SHORTEST_KEY_BYTES:
        raise ValueError(f"must be at least {SHORTEST_KEY_BYTES} bytes long")
    return text


def jwt_keys(text: str) -> tuple[JwtKey, ...]:
    """`kid:key[,kid:key…]`; empty when one is to be generated."""
    found: list[JwtKey] = []
    for part in items(text):
        kid, colon, key = part.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", kid):
            raise ValueError("must be comma-separated kid:key pairs (kid: 1 to 64 of letters, digits, . _ -)")
        if len(key.encode()) < SHORTEST_KEY_BYTES:
            raise ValueError(
                f"must have keys of at least {SHORTEST_KEY_BYTES} bytes (HS256), unlike the one named {kid}"
            )
        found.append(JwtKey(kid, key))
    if len({key.kid for key in found}) < len(found):
        raise ValueError("must name every key by a kid of its own")
    return tuple(found)


def names(text: str) -> tuple[str, ...]:
    """Comma-separated names without white space, as claims carry them."""
    if any(not re.fullmatch(r"[!-~]{1,200}", part) for part in items(text)):
        raise ValueError("must be comma-separated names of at most 200 visible ASCII characters")
    return items(text)


def jwks_file(text: str) -> Path:
    """A JWKS file that is there and good."""
    from gateway.jwks import read_jwks  # noqa: PLC0415  # costs a moment, and few use it

    path = Path(text).expanduser().absolute()
    try:
        read_jwks(path)
    except OSError as error:
        raise ValueError(f"must be a file that can be read ({error.strerror})") from None
    return path


def layer_keys(text: str) -> tuple[str, ...]:
    """Comma-separated keys that are long enough to encrypt with."""
    if any(len(key.encode()) < SHORTEST_KEY_BYTES for key in items(text)):
        raise ValueError(f"must be comma-separated keys of at least {SHORTEST_KEY_BYTES} bytes")
    return items(text)


def api_keys(text: str) -> tuple[str, ...]:
    """Comma-separated keys that fit an HTTP header and cannot be guessed."""
    for key in items(text):
        if not re.fullmatch(r"[!-~]{16,}", key):
            raise ValueError("must be comma-separated keys of at least 16 visible ASCII characters")
    return items(text)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to ``host``."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that was probably meant by `name`."""
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.6)), None)
