"""Tokens: who a user of the product is, signed with keys of our own (never Django's SECRET_KEY).

Laws: several keys are valid at once, told apart by ``kid``; the first signs. A product that holds a key may mint tokens
with only ``sid``, ``platform`` and ``exp``. Whatever is wrong with a token is one error, InvalidToken. None is logged.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.tokens import Token

from quickim.errors import InvalidToken
from quickim.rest.callers import Caller
from quickim.rest.fields import MAX_PLATFORM, SESSION_PATTERN

ALGORITHM = "HS256"
ISSUER = "quick-im"
LEEWAY_SECONDS = 10
MAX_TOKEN_CHARACTERS = 4_096
MAX_EXPIRY = 253_402_300_799
"""The end of the year 9999."""
_CACHE_SIZE = 50_000


@dataclass(frozen=True, slots=True)
class Identity:
    """What a token says: the caller, and when (Unix seconds) it ends."""

    caller: Caller
    expires_at: int

    def ends_at(self, now: float) -> float:
        """When a connection opened at ``now`` with this token ends: at its expiry, within the leeway after that."""
        return float(self.expires_at if self.expires_at > now else self.expires_at + LEEWAY_SECONDS)


class _KeyBackend(TokenBackend):
    """simplejwt's backend for one of our keys, with its ``kid`` in the header."""

    def __init__(self, kid: str, key: str) -> None:
        super().__init__(ALGORITHM, signing_key=key, leeway=LEEWAY_SECONDS)
        self.kid = kid

    def encode(self, payload: dict[str, Any]) -> str:
        """The signed token."""
        return jwt.encode(payload, self.prepared_signing_key, algorithm=ALGORITHM, headers={"kid": self.kid})

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """The signed claims, not expired. Raises jwt.InvalidTokenError.

        A future ``iat`` is only another node's clock. simplejwt's own decode would refuse it and takes no options.
        """
        return jwt.decode(
            token,
            self.prepared_signing_key,
            algorithms=[ALGORITHM],
            leeway=LEEWAY_SECONDS,
            options={"verify_iat": False, "verify_aud": False},
        )


class SessionToken(Token):
    """A token for one session on one platform, for as long as ``QUICKIM_TOKEN_TTL_SECONDS`` says."""

    token_type = "session"  # noqa: S105  # a name, no secret
    lifetime = timedelta(seconds=settings.QUICKIM.token_ttl_seconds)

    def get_token_backend(self) -> TokenBackend:
        """The first key signs."""
        return _signer


_backends = {key.kid: _KeyBackend(key.kid, key.key) for key in settings.QUICKIM.jwt_keys}
_signer = next(iter(_backends.values()))
_verified: dict[str, Identity] = {}


def issue_token(session: str, platform: int, ttl_seconds: int | None = None) -> str:
    """A signed token for ``session`` on ``platform``, valid for ``ttl_seconds`` (default: as configured)."""
    token = SessionToken()
    if ttl_seconds is not None:
        token.set_exp(lifetime=timedelta(seconds=ttl_seconds))
    token.payload.pop("token_type", None)
    token["sid"], token["platform"], token["iss"] = session, platform, ISSUER
    return str(token)


def verify_token(token: str) -> Identity:
    """What ``token`` says, if it is signed with one of our keys and has not ended. Raises InvalidToken."""
    now = time.time()
    known = _verified.get(token)
    if known is not None:
        if known.expires_at + LEEWAY_SECONDS > now:
            return known
        del _verified[token]
        raise InvalidToken
    identity = _identity(_signed_payload(token))
    if len(_verified) >= _CACHE_SIZE:
        # Oldest first; a dict keeps the order of insertion.
        del _verified[next(iter(_verified))]
    _verified[token] = identity
    return identity


def _signed_payload(token: str) -> dict[str, Any]:
    if not token or len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.InvalidTokenError, UnicodeError, RecursionError):
        raise InvalidToken from None
    if kid is None:
        candidates = list(_backends.values())
    elif isinstance(kid, str) and kid in _backends:
        candidates = [_backends[kid]]
    else:
        raise InvalidToken
    for backend in candidates:
        try:
            return backend.decode(token)
        except jwt.InvalidTokenError:
            continue
        except (TypeError, ValueError, OverflowError, RecursionError):
            # PyJWT raises these for signed claims of odd types, such as an expiry of 1e30.
            raise InvalidToken from None
    raise InvalidToken


def _identity(payload: dict[str, Any]) -> Identity:
    session, platform, expires_at = payload.get("sid"), payload.get("platform"), payload.get("exp")
    if payload.get("iss", ISSUER) != ISSUER:
        raise InvalidToken
    if (
        type(expires_at) is not int
        or expires_at > MAX_EXPIRY
        or type(platform) is not int
        or not 0 <= platform <= MAX_PLATFORM
    ):
        raise InvalidToken
    if type(session) is not str or SESSION_PATTERN.fullmatch(session) is None or not _is_text(session):
        raise InvalidToken
    return Identity(Caller(session, platform), expires_at)


def _is_text(session: str) -> bool:
    """JSON escapes can spell lone surrogates, which no database takes."""
    try:
        session.encode()
    except UnicodeEncodeError:
        return False
    return True


def bearer_token(authorization: str) -> str:
    """The token of an Authorization header, ``""`` when it holds none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class TokenAuthentication(BaseAuthentication):
    """Django REST framework's way in: ``Authorization: Bearer <token>``."""

    def authenticate(self, request: HttpRequest) -> tuple[Caller, Identity]:
        """The caller and his identity. Raises InvalidToken."""
        identity = verify_token(bearer_token(request.META.get("HTTP_AUTHORIZATION", "")))
        return identity.caller, identity
