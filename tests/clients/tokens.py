"""Mints tokens the way a product does that holds the signing keys. The keys are the tests' own."""

import time
from typing import Any, Final

import jwt

JWT_KEYS: Final = {
    "new": "contract-tests-signing-key-of-this-year-that-is-long-enough-for-HS512",
    "old": "contract-tests-signing-key-of-last-year-that-is-long-enough-for-HS512",
}
"""kid → key, as QUICKIM_JWT_KEYS: the first signs, all verify."""


def mint(
    session: str, platform: int = 1, *, lifetime_seconds: int = 3600, kid: str | None = None, **claims: Any
) -> str:
    """A token with only sid, platform and exp, signed with the newest key; ``claims`` are laid over these."""
    payload = {"sid": session, "platform": platform, "exp": int(time.time()) + lifetime_seconds, **claims}
    headers = {"kid": kid} if kid else None
    return jwt.encode(payload, JWT_KEYS[kid or "new"], algorithm="HS256", headers=headers)
