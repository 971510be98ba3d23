"""A JWKS file: what is a key for us, and that nothing else becomes one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.jwks import MAX_KEYS, parse_jwks
from tests.clients.keys import SigningKey, jwks

RSA, EC = SigningKey("r"), SigningKey("e", "P-256")


def a_file(*keys: Any) -> bytes:
    """Its content."""
    return json.dumps({"keys": keys}).encode()


def refused(content: bytes, words: str) -> None:
    """For this reason, which repeats no key."""
    with pytest.raises(ValueError, match=words) as refusal:
        parse_jwks(content)
    assert RSA.jwk["n"] not in str(refusal.value)


def test_keys_have_the_algorithm_of_their_type() -> None:
    keys = parse_jwks(jwks(RSA, EC).encode())
    assert [(key.kid, key.algorithm) for key in keys] == [("r", "RS256"), ("e", "ES256")]
    assert RSA.jwk["n"] not in repr(keys)


def test_members_that_are_not_needed_may_be_missing_and_others_may_be_there() -> None:
    least = {name: value for name, value in RSA.jwk.items() if name not in ("use", "alg")}
    assert len(parse_jwks(a_file({**least, "x5t": "abc", "key_ops": ["verify"]}))) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kid": None}, "must have a kid"),
        ({"kid": ""}, "must have a kid"),
        ({"kid": "a\nb"}, "must have a kid"),
        ({"kid": "a" * 201}, "must have a kid"),
        ({"kty": "oct"}, "of kty RSA or EC"),
        ({"kty": "OKP"}, "of kty RSA or EC"),
        ({"kty": ["RSA"]}, "of kty RSA or EC"),
        ({"alg": "HS256"}, "must have the alg RS256"),
        ({"alg": "RS512"}, "must have the alg RS256"),
        ({"alg": None}, "must have the alg RS256"),
        ({"use": "enc"}, "is not for verifying"),
        ({"key_ops": ["sign"]}, "is not for verifying"),
        ({"key_ops": "verify"}, "is not for verifying"),
        ({"d": "AQAB"}, "is a private key"),
        ({"n": None}, "cannot be read as RSA"),
        ({"n": "AQAB"}, "cannot be read|2048 to"),
        ({"n": 5}, "cannot be read as RSA"),
        ({"e": "!"}, "cannot be read as RSA"),
        ({"kty": "EC"}, "must have the alg ES256"),
        ({"kty": "EC", "alg": "ES256"}, "cannot be read as EC"),
    ],
    ids=repr,
)
def test_a_key_that_is_none_refuses_the_file(changes: dict[str, Any], words: str) -> None:
    refused(a_file(EC.jwk, {**RSA.jwk, **changes}), f"key 2 of it .*({words})")


def test_a_short_key_and_another_curve_are_refused() -> None:
    refused(a_file(SigningKey("s", bits=1024).jwk), "2048 to 8192 bits")
    refused(a_file({**SigningKey("c", "P-384").jwk, "alg": "ES256"}), "P-256|cannot be read")


def test_two_keys_of_one_kid_and_too_many_keys_are_refused() -> None:
    refused(a_file(RSA.jwk, {**EC.jwk, "kid": "r"}), "a kid of its own")
    refused(a_file(*({**EC.jwk, "kid": str(number)} for number in range(MAX_KEYS + 1))), "a list of 1 to 32")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
MEMBERS = ("kty", "kid", "alg", "use", "key_ops", "n", "e", "crv", "x", "y")


@given(st.sampled_from([RSA, EC]), st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3))
def test_whatever_stands_there_is_a_key_or_a_reason(key: SigningKey, changes: dict[str, Any]) -> None:
    try:
        keys = parse_jwks(a_file({**key.jwk, **changes}))
    except ValueError:
        return
    assert keys[0].algorithm in ("RS256", "ES256")


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_with_a_reason(content: bytes) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_jwks(content)
