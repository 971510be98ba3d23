"""Signed requests to /inner/*: where keys for it are configured, every call names one and bears its signature.

Laws: what is signed is all that decides what a call does: method, path, query and body, a time and a nonce. A nonce is
good for one call on all nodes together: it is kept in the database, the one store that all nodes have, that no restart
empties, and without which a call would do nothing anyway; so a replay is never let pass for want of a store. Nothing is
stored for who does not hold a key.
"""

import hashlib
import hmac
import re
import time
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest

from gateway.models import Nonce
from quickim.database import in_database, write_transaction
from quickim.errors import NotAllowed

SCHEME = "QUICKIM-HMAC-SHA256"
WINDOW_SECONDS = 60
"""How far a request's time may lie from this node's clock, before or after."""
_FORGET_SECONDS = 30.0
_FORMS = {
    "TIMESTAMP": re.compile(r"[0-9]{1,12}"),
    "NONCE": re.compile(r"[A-Za-z0-9._~-]{16,64}"),
    "SIGNATURE": re.compile(r"[0-9a-f]{64}"),
}


def string_to_sign(timestamp: str, nonce: str, method: str, target: str, body: bytes) -> str:
    """The six lines that are signed; ``target`` is path and query as the request line has them."""
    return "\n".join((SCHEME, timestamp, nonce, method, target, hashlib.sha256(body).hexdigest()))


def sign(key: str, timestamp: str, nonce: str, method: str, target: str, body: bytes) -> str:
    """The signature, in hexadecimal."""
    text = string_to_sign(timestamp, nonce, method, target, body)
    return hmac.new(key.encode(), text.encode("latin-1"), hashlib.sha256).hexdigest()


async def guard_signature(request: HttpRequest) -> None:
    """Let a signed request pass, once. Raises NotAllowed, or Unavailable and the database's errors."""
    keys: tuple[Any, ...] = settings.QUICKIM.inner_hmac_keys
    if not keys:
        return
    now = time.time()
    key_id, nonce, timestamp = _checked(request, keys, now)
    digest = hashlib.sha256(f"{key_id}:{nonce}".encode()).hexdigest()
    # Beyond that its time refuses it, by any node's clock that is no further off than a request's may be.
    if not await in_database(_is_first, digest, int(now), max(int(now), timestamp) + 2 * WINDOW_SECONDS):
        raise NotAllowed


def _checked(request: HttpRequest, keys: tuple[Any, ...], now: float) -> tuple[str, str, int]:
    """(key's id, nonce, time) of a request that one of ``keys`` (each with ``kid`` and ``key``) signed. Raises
    NotAllowed."""
    given = {name: request.META.get(f"HTTP_X_QUICKIM_{name}", "") for name in ("KEY", *_FORMS)}
    if not all(form.fullmatch(given[name]) for name, form in _FORMS.items()):
        raise NotAllowed
    target = _target(request)
    signed = (given["TIMESTAMP"], given["NONCE"], request.method or "", target, request.body)
    # Every key is tried, each in constant time: the answer's time tells neither keys nor their names.
    matches = [_is_equal(sign(key.key, *signed), given["SIGNATURE"]) & _is_equal(key.kid, given["KEY"]) for key in keys]
    timestamp = int(given["TIMESTAMP"])
    if not any(matches) or abs(now - timestamp) > WINDOW_SECONDS:
        raise NotAllowed
    return given["KEY"], given["NONCE"], timestamp


def _is_equal(ours: str, given: str) -> bool:
    """Whether both are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(ours.encode(), given.encode(errors="replace"))


def _target(request: HttpRequest) -> str:
    scope = getattr(request, "scope", {})
    path: str = (scope.get("raw_path") or request.path.encode()).decode("latin-1")
    query: str = request.META.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path


_forgot_at = float("-inf")


def _is_first(digest: str, now: int, expires_at: int) -> bool:
    """Whether this nonce was never used before; from now on it was. Synchronous."""
    global _forgot_at
    with write_transaction():
        if time.monotonic() - _forgot_at > _FORGET_SECONDS:
            _forgot_at = time.monotonic()
            Nonce.objects.filter(expires_at__lt=now).delete()
        with connection.cursor() as cursor:
            # Waits for a transaction that stores the same one, and then finds it.
            cursor.execute(
                "INSERT INTO gateway_nonce (digest, expires_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [digest, expires_at],
            )
            return bool(cursor.rowcount == 1)
