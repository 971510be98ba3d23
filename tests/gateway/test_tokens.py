"""Tokens: what we sign, what a product may mint itself, and that everything else is one error."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from gateway import tokens
from gateway.keys import LEEWAY_SECONDS, KeyRing
from gateway.revocation import revocations
from gateway.tokens import bearer_token, issue_token, verify_token
from quickim.errors import InvalidToken
from quickim.rest.callers import Caller

NEW, OLD = "n" * 64, "o" * 64


@pytest.fixture(autouse=True)
def _two_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newer key signs, both verify; nothing is remembered from other tests."""
    monkeypatch.setattr(tokens, "_ring", KeyRing([("new", NEW), ("old", OLD)]))
    monkeypatch.setattr(tokens, "_signer", tokens._Signer("new", NEW))
    monkeypatch.setattr(tokens, "_verified", {})
    revocations.clear()
    monkeypatch.setattr(revocations, "is_known", True)


def minted(key: str = NEW, kid: str | None = None, algorithm: str = "HS256", **claims: Any) -> str:
    """A token as a product mints it, ``claims`` laid over the least that is needed; ... leaves one out."""
    payload = {"sid": "alice", "platform": 1, "exp": int(time.time()) + 60, **claims}
    payload = {name: value for name, value in payload.items() if value is not ...}
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def raw_token(payload: bytes, header: bytes = b'{"alg":"HS256","typ":"JWT"}', key: str = NEW) -> str:
    """A rightly signed token with any bytes as its payload."""
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed, key.encode())
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def refused(token: str) -> None:
    """It is refused, and again when it is known."""
    for _ in range(2):
        with pytest.raises(InvalidToken):
            verify_token(token)


def test_what_we_sign_says_who_and_until_when() -> None:
    now = int(time.time())
    token = issue_token("alice", 3)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "kid": "new", "typ": "JWT"}
    claims = jwt.decode(token, NEW, algorithms=["HS256"])
    assert set(claims) == {"sid", "platform", "iss", "iat", "exp", "jti"}
    assert (claims["sid"], claims["platform"], claims["iss"]) == ("alice", 3, "quick-im")
    assert 0 <= claims["iat"] - now <= 2
    assert round(claims["iat"] * 1_000) / 1_000 == claims["iat"]
    assert claims["exp"] - int(claims["iat"]) == settings.QUICKIM.token_ttl_seconds
    identity = verify_token(token)
    assert identity.caller == Caller("alice", 3)
    assert identity.expires_at == claims["exp"]


def test_a_life_of_its_own_can_be_given() -> None:
    claims = jwt.decode(issue_token("alice", 3, 5), NEW, algorithms=["HS256"])
    assert claims["exp"] - int(claims["iat"]) == 5


def test_no_two_tokens_are_alike() -> None:
    assert issue_token("alice", 3) != issue_token("alice", 3)


@pytest.mark.parametrize(("key", "kid"), [(NEW, None), (OLD, None), (NEW, "new"), (OLD, "old")])
def test_a_product_may_mint_with_any_of_the_keys(key: str, kid: str | None) -> None:
    assert verify_token(minted(key, kid)).caller == Caller("alice", 1)


@pytest.mark.parametrize(
    "token",
    [
        minted(NEW, "old"),
        minted(OLD, "new"),
        minted(NEW, "unknown"),
        minted("x" * 64),
        minted(NEW, algorithm="HS512"),
        jwt.encode({"sid": "alice", "platform": 1, "exp": 2**33}, "", algorithm="none"),
    ],
    ids=["key of another kid", "and the reverse", "unknown kid", "unknown key", "HS512", "none"],
)
def test_another_key_or_algorithm_is_refused(token: str) -> None:
    refused(token)


@pytest.mark.parametrize("kid", [5, None, ["new"], {"a": 1}, True, ""], ids=repr)
def test_a_kid_that_names_no_key_is_refused(kid: Any) -> None:
    header = json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode()
    token = raw_token(json.dumps({"sid": "a", "platform": 1, "exp": 2**33}).encode(), header)
    refused(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": ...},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": 1e30},
        {"exp": 9999999999.5},
        {"exp": True},
        {"exp": [9999999999]},
        {"exp": 10**400},
        {"sid": ...},
        {"sid": ""},
        {"sid": 5},
        {"sid": "a" * 129},
        {"sid": "a\nb"},
        {"sid": "a\x85b"},
        {"sid": "\ud800"},
        {"platform": ...},
        {"platform": "1"},
        {"platform": 1.0},
        {"platform": True},
        {"platform": -1},
        {"platform": 32_768},
        {"iss": "somebody else"},
        {"iss": ["quick-im"]},
        {"nbf": 9999999999},
        {"nbf": "soon"},
    ],
    ids=lambda claims: repr(claims)[:40],
)
def test_claims_that_are_missing_or_odd_are_refused(claims: dict[str, Any]) -> None:
    payload = {"sid": "alice", "platform": 1, "exp": 9_999_999_999, **claims}
    payload = {name: value for name, value in payload.items() if value is not ...}
    refused(raw_token(json.dumps(payload).encode()))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "quick-im"},
        {"iat": 9_000_000_000},
        {"sid": "a" * 128},
        {"sid": "Ωλ😀 ' \"\\"},
        {"platform": 0},
        {"platform": 32_767},
        {"aud": "somebody"},
        {"sub": "7"},
        {"more": {"of": ["the product's"]}},
    ],
    ids=repr,
)
def test_claims_that_are_fine(claims: dict[str, Any]) -> None:
    expected = {"sid": "alice", "platform": 1} | claims
    caller = verify_token(minted(**claims)).caller
    assert (caller.session, caller.platform) == (expected["sid"], expected["platform"])


def test_an_expired_token_is_refused_but_for_some_seconds_of_leeway() -> None:
    now = int(time.time())
    assert verify_token(minted(exp=now - LEEWAY_SECONDS + 5)).caller == Caller("alice", 1)
    refused(minted(exp=now - LEEWAY_SECONDS - 1))


def test_a_token_that_is_known_expires_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    token = minted()
    expires_at = verify_token(token).expires_at
    monkeypatch.setattr("time.time", lambda: expires_at + LEEWAY_SECONDS - 1.0)
    assert verify_token(token).expires_at == expires_at
    monkeypatch.setattr("time.time", lambda: expires_at + LEEWAY_SECONDS + 1.0)
    with pytest.raises(InvalidToken):
        verify_token(token)


def test_a_connection_ends_with_its_token_or_within_the_leeway() -> None:
    identity = verify_token(minted())
    assert identity.ends_at(identity.expires_at - 5) == identity.expires_at
    assert identity.ends_at(identity.expires_at + 5) == identity.expires_at + LEEWAY_SECONDS


def test_the_memory_of_verified_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_CACHE_SIZE", 3)
    issued = [issue_token("alice", number) for number in range(5)]
    for token in issued:
        verify_token(token)
    assert list(tokens._verified) == issued[2:]
    assert verify_token(issued[0]).caller == Caller("alice", 0)


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"5", b'"text"', b"{", b"\xff", b"[" * 2_000])
def test_a_signed_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    refused(raw_token(payload))


@pytest.mark.parametrize("header", [b"", b"null", b"[]", b"{}", b'{"alg":5}', b"\xff", b"[" * 2_000])
def test_a_header_that_is_none_is_refused(header: bytes) -> None:
    refused(raw_token(b"{}", header))


@given(st.text(max_size=60))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        verify_token(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("sid", "platform", "exp", "iss", "iat", "nbf", "jti", "aud", "sub"), JSON)
    )
)
def test_no_signed_claims_raise_anything_but_invalid_token(claims: dict[str, Any]) -> None:
    token = raw_token(json.dumps(claims).encode())
    try:
        identity = verify_token(token)
    except InvalidToken:
        return
    assert type(identity.expires_at) is int


def test_a_token_of_any_length_is_answered_quickly() -> None:
    refused(minted(more="x" * 5_000))
    refused("." * 100_000)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", ""),
        ("Bearer", ""),
        ("abc", ""),
        ("", ""),
    ],
)
def test_a_token_stands_behind_the_word_bearer(header: str, token: str) -> None:
    assert bearer_token(header) == token
