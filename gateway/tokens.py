"""Tokens: who a user of the product is, signed with keys of our own (never Django's SECRET_KEY), or of the product's.

Laws: several keys are valid at once, told apart by ``kid``; the first of ours signs. A product that holds a key may
mint tokens with only ``sid``, ``platform`` and ``exp``. Whatever is wrong with a token is one error, InvalidToken.
A token that is known to be good is asked for its end and for revocations each time. None is logged.
"""

import time
from datetime import timedelta
from typing import Any

import jwt
from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.tokens import Token

from gateway.claims import ISSUER, Identity, identity_of
from gateway.jwks import PublicKey
from gateway.keys import LEEWAY_SECONDS, SHARED_ALGORITHM, JwksFile, KeyRing
from gateway.revocation import revocations
from quickim.errors import InvalidParameter, InvalidToken, TokenRevoked
from quickim.observability import metrics
from quickim.rest.callers import Caller

MAX_TOKEN_CHARACTERS = 4_096
_CACHE_SIZE = 50_000


class _Signer(TokenBackend):
    """simplejwt's backend for the key that signs, with its ``kid`` in the header."""

    def __init__(self, kid: str, key: str) -> None:
        super().__init__(SHARED_ALGORITHM, signing_key=key)
        self.kid = kid

    def encode(self, payload: dict[str, Any]) -> str:
        """The signed token."""
        return jwt.encode(payload, self.prepared_signing_key, algorithm=SHARED_ALGORITHM, headers={"kid": self.kid})


class SessionToken(Token):
    """A token for one session on one platform, for as long as ``QUICKIM_TOKEN_TTL_SECONDS`` says."""

    token_type = "session"  # noqa: S105  # a name, no secret
    lifetime = timedelta(seconds=settings.QUICKIM.token_ttl_seconds)

    def get_token_backend(self) -> TokenBackend:
        """The first key signs."""
        return _signer


_signer = _Signer(settings.QUICKIM.jwt_keys[0].kid, settings.QUICKIM.jwt_keys[0].key)
_ring = KeyRing((key.kid, key.key) for key in settings.QUICKIM.jwt_keys)
_verified: dict[str, Identity] = {}


def issue_token(session: str, platform: int, ttl_seconds: int | None = None) -> str:
    """A signed token for ``session`` on ``platform``, valid for ``ttl_seconds`` (default: as configured).

    Its ``iat`` has milliseconds and lies after all revocations that concern it. Raises InvalidParameter for a life
    that would be refused.
    """
    configuration = settings.QUICKIM
    ttl_seconds = configuration.token_ttl_seconds if ttl_seconds is None else ttl_seconds
    if ttl_seconds > configuration.token_max_life_seconds:
        raise InvalidParameter.field("ttl", f"must be at most {configuration.token_max_life_seconds} seconds")
    token = SessionToken()
    token.payload.pop("token_type", None)
    after = revocations.revoked_before(Caller(session, platform)) // 1_000 + 1
    issued_at = max(revocations.now() // 1_000, after) / 1_000
    token["iat"], token["exp"] = issued_at, int(issued_at) + ttl_seconds
    token["sid"], token["platform"], token["iss"] = session, platform, ISSUER
    return str(token)


def verify_token(token: str) -> Identity:
    """What ``token`` says, if it is signed with one of the keys, has not ended and is not revoked.

    Raises InvalidToken, TokenRevoked when it was good before, Unavailable as long as revocations are not known.
    """
    now = time.time()
    identity = _verified.get(token)
    if identity is None:
        identity = _read(token, now)
        if len(_verified) >= _CACHE_SIZE:
            # Oldest first; a dict keeps the order of insertion.
            del _verified[next(iter(_verified))]
        _verified[token] = identity
    elif identity.expires_at + LEEWAY_SECONDS <= now:
        del _verified[token]
        raise refused("expired")
    _check_revocations(identity)
    return identity


def refused(reason: str) -> InvalidToken:
    """The one error, counted by its ``reason``."""
    metrics.TOKEN_FAILURES.inc(1, reason)
    return InvalidToken()


def check_identity(identity: Identity) -> None:
    """What ``verify_token`` asks of a token that is known. Raises the same."""
    if identity.expires_at + LEEWAY_SECONDS <= time.time():
        raise refused("expired")
    _check_revocations(identity)


def _check_revocations(identity: Identity) -> None:
    try:
        revocations.check(identity.caller, identity.issued_at)
    except TokenRevoked:
        metrics.TOKEN_FAILURES.inc(1, "revoked")
        raise


def _read(token: str, now: float) -> Identity:
    if not token or len(token) > MAX_TOKEN_CHARACTERS:
        raise refused("malformed" if token else "missing")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, UnicodeError, RecursionError):
        raise refused("malformed") from None
    # What must be understood (RFC 7515, 4.1.11) is not, whatever it is. A kid of null names no key.
    if "crit" in header or header.get("kid", "") is None:
        raise refused("malformed")
    reason = "unknown_key"
    for key in _ring.candidates(header.get("alg"), header.get("kid")):
        try:
            claims = key.decode(token)
            return identity_of(claims, now, is_shared=key.is_shared)
        except jwt.InvalidSignatureError:
            reason = "signature"
        except jwt.InvalidTokenError as error:
            reason = "expired" if isinstance(error, jwt.ExpiredSignatureError) else "claims"
        except (InvalidToken, TypeError, ValueError, OverflowError, RecursionError):
            # PyJWT raises the others for signed claims of odd types, such as an expiry of 1e30.
            raise refused("claims") from None
    raise refused(reason)


def _trust(public: tuple[PublicKey, ...]) -> None:
    """The JWKS file's keys from now on; what was verified with others is not known any more."""
    _ring.set_public(public)
    _verified.clear()


jwks_file = JwksFile(settings.QUICKIM.jwks_file, _trust) if settings.QUICKIM.jwks_file else None
"""The product's own keys, if it signs with its own; the node keeps them current."""
if jwks_file:
    jwks_file.load()


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
