"""Keys of a product that signs its own tokens, and the JWKS file that a server reads them from."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}


class SigningKey:
    """A pair of keys with its ``kid``; ``kind``: RSA, P-256 or P-384."""

    def __init__(self, kid: str, kind: str = "RSA", bits: int = 2048) -> None:
        self.kid = kid
        self.is_rsa = kind == "RSA"
        self.private: PrivateKeyTypes = (
            rsa.generate_private_key(65_537, bits) if self.is_rsa else ec.generate_private_key(_CURVES[kind]())
        )
        self.algorithm = "RS256" if self.is_rsa else "ES256"

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as it stands in a JWKS file."""
        kind: Any = jwt.algorithms.RSAAlgorithm if self.is_rsa else jwt.algorithms.ECAlgorithm
        members: dict[str, Any] = kind.to_jwk(self.private.public_key(), as_dict=True)
        members.pop("key_ops", None)
        return {**members, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    @property
    def private_jwk(self) -> dict[str, Any]:
        """What belongs to whoever signs."""
        kind: Any = jwt.algorithms.RSAAlgorithm if self.is_rsa else jwt.algorithms.ECAlgorithm
        return {**kind.to_jwk(self.private, as_dict=True), "kid": self.kid}

    def sign(self, session: str, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token with these claims laid over good ones; a claim that is ``...`` is left out."""
        good = {"sid": session, "platform": 1, "exp": int(time.time()) + 600}
        payload = {name: value for name, value in (good | claims).items() if value is not ...}
        # Not by PyJWT's own encode, which refuses what a server has to refuse.
        return jwt.PyJWS().encode(
            json.dumps(payload).encode(),
            self.private,  # type: ignore[arg-type]  # RSA and EC keys are what it takes
            algorithm=self.algorithm,
            headers={"kid": self.kid} if headers is None else headers,
        )


def jwks(*keys: SigningKey) -> str:
    """The file's content."""
    return json.dumps({"keys": [key.jwk for key in keys]})


def replace_file(path: Path, content: str) -> None:
    """As it should be done: whoever reads sees the old or the new, never a half."""
    beside = path.with_suffix(".new")
    beside.write_text(content)
    beside.replace(path)
