"""Tokens that a product signs with its own keys: RS256 and ES256, by a JWKS file that may change at any time."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clients import JWT_KEYS, Api, Person, Protoc, fresh, mint
from tests.clients.keys import SigningKey, jwks, replace_file
from tests.contract.test_revocation import revoke
from tests.contract.test_tokens import is_accepted
from tests.servers import Fleet, Server

RSA, EC = SigningKey("of-2026"), SigningKey("on-a-curve", "P-256")
LATER = SigningKey("of-2027")
ISSUER, AUDIENCE = "https://login.example.com", "im"
LOOK_SECONDS = 20.0


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JWKS file, with an RSA key and one on a curve."""
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(jwks(RSA, EC))
    return path


@pytest.fixture
def lasting(fleet: Fleet, file: Path) -> Server:
    """A server that reads the file, for all tests that leave it alone."""
    return fleet.shared("embedded", QUICKIM_JWKS_FILE=str(file))


@pytest.fixture
def changing(tmp_path: Path) -> Path:
    """A file with the same keys that changes."""
    path = tmp_path / "changing.json"
    path.write_text(jwks(RSA, EC))
    return path


@pytest.fixture
def reader(start_server: Callable[..., Server], changing: Path) -> Server:
    """A server that reads the file that changes."""
    return start_server(QUICKIM_JWKS_FILE=str(changing))


@pytest_asyncio.fixture(loop_scope="function")
async def api(lasting: Server) -> AsyncIterator[Api]:
    """The HTTP side of ``lasting``."""
    async with Api(lasting.url) as api:
        yield api


async def comes_true(condition: Callable[[], Any]) -> None:
    """Waits for what the server notices by looking at its file."""
    async with asyncio.timeout(LOOK_SECONDS):
        while not await condition():
            pass


@pytest.mark.parametrize("key", [RSA, EC], ids=["RS256", "ES256"])
async def test_a_product_signs_its_own(api: Api, key: SigningKey) -> None:
    assert await is_accepted(api, key.sign(fresh("alice")))
    assert await is_accepted(api, key.sign(fresh("alice"), headers={})), "without a kid all keys are tried"
    assert await is_accepted(api, mint(fresh("alice"))), "the shared keys go on"
    assert not await is_accepted(api, key.sign(fresh("alice"), headers={"kid": "unknown"}))
    assert not await is_accepted(api, key.sign(fresh("alice"), headers={"kid": "new"}))
    assert not await is_accepted(api, LATER.sign(fresh("alice"), headers={"kid": key.kid}))
    assert not await is_accepted(api, key.sign(fresh("alice"), exp=int(time.time()) - 60))
    assert not await is_accepted(api, key.sign(fresh("alice"), headers={"kid": key.kid, "crit": ["x"], "x": 1}))


async def test_no_public_key_is_ever_taken_for_a_shared_one(api: Api) -> None:
    """The classic: HS256 with the public key, which everybody has, as the secret."""
    public: Any = RSA.private.public_key()
    texts = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(RSA.jwk).encode(),
        b"",
    ]
    for secret in texts:
        for header in ({"alg": "HS256", "kid": RSA.kid}, {"alg": "HS256"}, {"alg": "none", "kid": RSA.kid}):
            assert not await is_accepted(api, handmade(header, secret))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "RS384", "PS256", "EdDSA", "none", "", None, 5, ["HS256"]])
async def test_no_algorithm_but_the_keys_own(api: Api, algorithm: Any) -> None:
    for kid in ("new", RSA.kid, EC.kid, None):
        header = {"alg": algorithm} if kid is None else {"alg": algorithm, "kid": kid}
        assert not await is_accepted(api, handmade(header, JWT_KEYS["new"].encode()))


def handmade(header: dict[str, Any], secret: bytes) -> str:
    """A token of any header, with an HMAC for its signature."""
    claims = {"sid": fresh("alice"), "platform": 1, "exp": int(time.time()) + 600}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signed = b".".join(parts)
    return (signed + b"." + base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")).decode()


async def test_a_changed_file_is_taken_over_without_a_restart(changing: Path, reader: Server) -> None:
    old, new = RSA.sign(fresh("alice")), LATER.sign(fresh("alice"))
    async with Api(reader.url) as api:

        async def is_refused() -> bool:
            return not await is_accepted(api, old)

        assert await is_accepted(api, old)
        replace_file(changing, jwks(RSA, LATER))
        await comes_true(lambda: is_accepted(api, new))
        assert await is_accepted(api, old)
        replace_file(changing, jwks(LATER))
        await comes_true(is_refused)
        assert await is_accepted(api, new)


async def test_a_bad_file_is_refused_loudly_and_the_old_one_stays(changing: Path, reader: Server) -> None:
    token = RSA.sign(fresh("alice"))
    contents = {
        "must be JSON": "{",
        '"keys", a list': "{}",
        "is a private key": json.dumps({"keys": [RSA.private_jwk]}),
        "of kty RSA or EC": json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}),
    }
    async with Api(reader.url) as api:

        async def complained(words: str) -> bool:
            await is_accepted(api, token)
            return words in reader.log_text()

        for words, content in contents.items():
            replace_file(changing, content)
            await comes_true(partial(complained, words))
        await asyncio.to_thread(changing.unlink)
        await comes_true(partial(complained, "cannot be read: No such file"))
        assert await is_accepted(api, token)
        assert reader.log_text().count("QUICKIM_JWKS_FILE") == len(contents) + 1, "each problem is told once"
        assert str(RSA.private_jwk["d"]) not in reader.log_text()
        replace_file(changing, jwks(LATER))
        await comes_true(lambda: is_accepted(api, LATER.sign(fresh("alice"))))


async def test_what_a_product_signs_can_be_revoked(api: Api, protoc: Protoc) -> None:
    session = fresh("alice")
    alice = Person(api, session, token=RSA.sign(session, iat=time.time()))
    listener = await alice.listen(protoc)
    await revoke(api, session=session)
    await listener.ended()
    assert not await is_accepted(api, alice.token)
    assert await is_accepted(api, RSA.sign(session, iat=time.time() + 0.001))


async def test_issuer_and_audience_are_asked_of_all_but_ours(start_server: Callable[..., Server], file: Path) -> None:
    server = start_server(
        QUICKIM_JWKS_FILE=str(file), QUICKIM_JWT_ISSUER=f"{ISSUER},other", QUICKIM_JWT_AUDIENCE=f"x,{AUDIENCE}"
    )
    async with Api(server.url) as api:
        session = fresh("alice")
        issued = (await api.inner("get_token", session=session, platform=1)).data
        assert await is_accepted(api, issued), "ours are meant for us"
        good: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE}
        assert await is_accepted(api, RSA.sign(session, **good))
        assert await is_accepted(api, RSA.sign(session, iss="other", aud=["y", AUDIENCE]))
        assert await is_accepted(api, mint(session, **good))
        wrongs: tuple[dict[str, Any], ...] = (
            {"iss": ...},
            {"iss": "quick-im"},
            {"iss": f"{ISSUER}/"},
            {"iss": [ISSUER]},
            {"iss": None},
            {"aud": ...},
            {"aud": "y"},
            {"aud": []},
            {"aud": [[AUDIENCE]]},
            {"aud": {AUDIENCE: 1}},
            {"aud": 5},
            {"aud": None},
        )
        for wrong in wrongs:
            assert not await is_accepted(api, RSA.sign(session, **(good | wrong))), wrong
        assert not await is_accepted(api, mint(session)), "a shared key makes no exception but for our issuer"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("[]", 'must be an object with "keys"'),
        ('{"keys": []}', "a list of 1 to 32"),
        ('{"keys": [5]}', "key 1 of it must be an object"),
        (" " * 300_000, "at most 262144 bytes"),
    ],
)
async def test_a_server_does_not_start_with_a_bad_file(
    start_server: Callable[..., Server], tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "bad.json").write_text(content)
    server = Server(tmp_path / "home", "embedded", {"QUICKIM_JWKS_FILE": str(tmp_path / "bad.json")})
    done = await asyncio.to_thread(server.manage, "check", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("QUICKIM_JWKS_FILE ")
    assert words in line
