"""What the signed claims of a token say: an identity, or nothing at all.

Laws: a claim is taken as it stands or the token is refused; none is converted. A life is bounded, so that a revocation
may be forgotten once all tokens that it concerns have ended.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from gateway.keys import LEEWAY_SECONDS
from gateway.revocation import revocations
from quickim.errors import InvalidToken
from quickim.rest.callers import Caller
from quickim.rest.fields import MAX_PLATFORM, SESSION_PATTERN

ISSUER = "quick-im"
MAX_AUDIENCES = 100


@dataclass(frozen=True, slots=True)
class Identity:
    """What a token says: the caller, when (Unix seconds) it ends, and when (microseconds) it was issued; 0, the oldest
    of all, when it does not tell."""

    caller: Caller
    expires_at: int
    issued_at: int = 0

    def ends_at(self, now: float) -> float:
        """When a connection opened at ``now`` with this token ends: at its expiry, within the leeway after that."""
        return float(self.expires_at if self.expires_at > now else self.expires_at + LEEWAY_SECONDS)


def identity_of(claims: dict[str, Any], now: float, *, is_shared: bool) -> Identity:
    """The identity that ``claims`` describe at ``now`` (Unix seconds); ``is_shared``: a shared key signed them.
    Raises InvalidToken."""
    session, platform = claims.get("sid"), claims.get("platform")
    if type(platform) is not int or not 0 <= platform <= MAX_PLATFORM:
        raise InvalidToken
    if type(session) is not str or SESSION_PATTERN.fullmatch(session) is None or not _is_text(session):
        raise InvalidToken
    _check_issuer_and_audience(claims, is_shared=is_shared)
    expires_at, issued_at = _life(claims, now)
    return Identity(Caller(session, platform), expires_at, issued_at)


def _check_issuer_and_audience(claims: dict[str, Any], *, is_shared: bool) -> None:
    issuer = claims.get("iss", None if "iss" in claims else "")
    if is_shared and issuer == ISSUER:
        # One of ours: nobody else is meant.
        return
    issuers, audiences = settings.QUICKIM.jwt_issuers, settings.QUICKIM.jwt_audiences
    if type(issuer) is not str or issuer not in (issuers or ("", ISSUER)):
        raise InvalidToken
    if audiences:
        meant = claims.get("aud")
        named = meant if type(meant) is list else [meant]
        if len(named) > MAX_AUDIENCES or not any(type(name) is str and name in audiences for name in named):
            raise InvalidToken


def _life(claims: dict[str, Any], now: float) -> tuple[int, int]:
    """When it ends (Unix seconds), and when it was issued (microseconds)."""
    expires_at, issued_at = claims.get("exp"), claims.get("iat", 0)
    longest = settings.QUICKIM.token_max_life_seconds
    if type(expires_at) is not int or expires_at > now + longest + LEEWAY_SECONDS:
        raise InvalidToken
    if type(issued_at) not in (int, float) or not 0 <= issued_at < float("inf"):
        raise InvalidToken
    # Whoever signs longer lives than are allowed has them refused all the time, not only at first.
    if "iat" in claims and expires_at - issued_at > longest:
        raise InvalidToken
    # A clock that is that far ahead cannot say whether it was before a revocation or after it.
    is_credible = issued_at <= revocations.now() / 1_000_000 + LEEWAY_SECONDS
    return expires_at, round(issued_at * 1_000_000) if is_credible else 0


def _is_text(session: str) -> bool:
    """JSON escapes can spell lone surrogates, which no database takes."""
    try:
        session.encode()
    except UnicodeEncodeError:
        return False
    return True
