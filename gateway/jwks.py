"""A JWKS file: the public keys with which tokens of a product's own are verified (RFC 7517). Pure, no Django.

Law: loud. One key that is not exactly what may stand there refuses the whole file, with a reason that repeats no key.
An algorithm belongs to a key, never to a token: RSA keys verify RS256, keys on P-256 verify ES256, others are refused.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_BYTES = 262_144
MAX_KEYS = 32
"""A token without a ``kid`` is tried with all of them."""
MAX_KID_CHARACTERS = 200
LEAST_RSA_BITS, MOST_RSA_BITS = 2_048, 8_192
RSA, EC = "RSA", "EC"
ALGORITHMS = {RSA: "RS256", EC: "ES256"}
"""By a key's type."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key of the file: its ``kid``, the one algorithm it verifies, and the key itself."""

    kid: str
    algorithm: str
    key: Any = field(repr=False)


def read_jwks(path: Path) -> tuple[bytes, tuple[PublicKey, ...]]:
    """What the file at ``path`` holds, as bytes and as keys. Raises ValueError with the reason, or OSError."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    return content, parse_jwks(content)


def parse_jwks(content: bytes) -> tuple[PublicKey, ...]:
    """The keys of a JWKS document, at least one. Raises ValueError with the reason."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("must be JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_KEYS:
        raise ValueError(f'must be an object with "keys", a list of 1 to {MAX_KEYS}')
    keys = []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(_public_key(entry))
        except ValueError as reason:
            raise ValueError(f"key {number} of it {reason}") from None
    if len({key.kid for key in keys}) < len(keys):
        raise ValueError("must name every key by a kid of its own")
    return tuple(keys)


def _public_key(entry: Any) -> PublicKey:
    if not isinstance(entry, dict):
        raise ValueError("must be an object")
    kid, kind = entry.get("kid"), entry.get("kty")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID_CHARACTERS or not kid.isprintable():
        raise ValueError(f"must have a kid of 1 to {MAX_KID_CHARACTERS} printable characters")
    algorithm = ALGORITHMS.get(kind) if isinstance(kind, str) else None
    if not isinstance(kind, str) or algorithm is None:
        raise ValueError("must be of kty RSA or EC: a shared key has no place in a file of public ones")
    if "d" in entry:
        raise ValueError("is a private key: it belongs to whoever signs, and to nobody else")
    if entry.get("alg", algorithm) != algorithm:
        raise ValueError(f"must have the alg {algorithm}, or none")
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("is not for verifying signatures, by its use or key_ops")
    try:
        key = jwt.PyJWK({"kty": kind, **{name: entry.get(name) for name in _MEMBERS[kind]}}, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        raise ValueError(f"cannot be read as {kind}") from None
    if isinstance(key, RSAPublicKey) and not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
        raise ValueError(f"must have {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits")
    if isinstance(key, EllipticCurvePublicKey) and not isinstance(key.curve, SECP256R1):
        raise ValueError("must be on the curve P-256")
    return PublicKey(kid, algorithm, key)


_MEMBERS = {RSA: ("n", "e"), EC: ("crv", "x", "y")}
