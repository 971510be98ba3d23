"""The keys that verify tokens: ours (shared, HS256) and, from a JWKS file, a product's public ones (RS256, ES256).

Laws: the algorithm is the key's; what a token says of it only chooses among keys, so that no public key is ever taken
for a shared one and no token goes unverified. A changed file is taken over without a restart; a bad one is refused
loudly, and the keys read before stay in force.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from gateway.jwks import PublicKey, read_jwks

logger = logging.getLogger(__name__)

SHARED_ALGORITHM = "HS256"
LEEWAY_SECONDS = 10
LOOK_SECONDS = 2.0
"""How often the file is looked at."""
# A future iat is only another node's clock; issuer and audience are for gateway.claims to judge.
_OPTIONS: Any = {"verify_iat": False, "verify_aud": False}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key with its one algorithm; ``is_shared``: whoever verifies with it could have signed."""

    kid: str
    algorithm: str
    key: Any = field(repr=False)
    is_shared: bool

    def decode(self, token: str) -> dict[str, Any]:
        """The signed claims, not expired. Raises jwt.InvalidTokenError, and what PyJWT raises for odd claims."""
        return jwt.decode(token, self.key, algorithms=[self.algorithm], leeway=LEEWAY_SECONDS, options=_OPTIONS)


class KeyRing:
    """All keys that verify, by algorithm and ``kid``."""

    def __init__(self, shared: Iterable[tuple[str, str]], public: Iterable[PublicKey] = ()) -> None:
        self._shared = tuple(VerificationKey(kid, SHARED_ALGORITHM, key, True) for kid, key in shared)
        self._keys: dict[str, dict[str, VerificationKey]] = {}
        self.set_public(public)

    def set_public(self, public: Iterable[PublicKey]) -> None:
        """Verify with these public keys from now on, and no more with those of before."""
        keys: dict[str, dict[str, VerificationKey]] = {}
        theirs = (VerificationKey(key.kid, key.algorithm, key.key, False) for key in public)
        for key in (*self._shared, *theirs):
            keys.setdefault(key.algorithm, {})[key.kid] = key
        self._keys = keys

    def candidates(self, algorithm: object, kid: object) -> Iterable[VerificationKey]:
        """The keys of ``algorithm`` that ``kid`` names: one or none; without a ``kid``, all of them."""
        keys = self._keys.get(algorithm, {}) if isinstance(algorithm, str) else {}
        if kid is None:
            return keys.values()
        key = keys.get(kid) if isinstance(kid, str) else None
        return () if key is None else (key,)


class JwksFile:
    """The file at ``path``, read again when its content changes; ``on_change`` gets the keys then."""

    def __init__(self, path: Path, on_change: Callable[[tuple[PublicKey, ...]], None]) -> None:
        self._path = path
        self._on_change = on_change
        self._content = b""
        self._problem = ""

    def load(self) -> None:
        """Read it. Raises ValueError or OSError."""
        self._content, keys = read_jwks(self._path)
        self._on_change(keys)

    async def run(self) -> None:
        """Look at it for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Take its keys over if it changed and is good; say so once if it is not."""
        try:
            content, keys = await asyncio.get_running_loop().run_in_executor(None, read_jwks, self._path)
        except (ValueError, OSError) as error:
            reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            if reason != self._problem:
                self._problem = reason
                logger.error("QUICKIM_JWKS_FILE %s. The keys read before stay in force; put the file right.", reason)
            return
        if content != self._content or self._problem:
            names = ", ".join(ascii(key.kid) for key in keys)
            logger.warning("QUICKIM_JWKS_FILE was read again: its keys are now %s.", names)
            self._content, self._problem = content, ""
            self._on_change(keys)
