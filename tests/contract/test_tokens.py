"""Who holds a valid token is that session; nothing else opens a public endpoint."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any
from uuid import uuid4

import jwt
import pytest

from tests.clients import JWT_KEYS, Api, Person, fresh, mint
from tests.contract.test_envelope import ENDPOINTS
from tests.servers import ANYWHERE

pytestmark = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

NEW = JWT_KEYS["new"]
PUBLIC = [path for path in ENDPOINTS if not path.startswith("/inner")]


def signed(key: str = NEW, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token with these claims laid over good ones; a claim that is ``...`` is left out."""
    good = {"sid": fresh("alice"), "platform": 1, "exp": int(time.time()) + 600}
    payload = {name: value for name, value in (good | claims).items() if value is not ...}
    return jwt.encode(payload, key, algorithm=algorithm, headers=headers)


def good_claims() -> bytes:
    """Claims that nothing is wrong with, encoded."""
    return json.dumps({"sid": fresh("alice"), "platform": 1, "exp": int(time.time()) + 600}).encode()


def handmade(header: dict[str, Any], payload: bytes) -> str:
    """A token signed with the right key and HMAC-SHA256, with a header and payload no library would take."""
    parts = [json.dumps(header).encode(), payload]
    signed_part = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(NEW.encode(), signed_part, "sha256")
    return (signed_part + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def is_accepted(api: Api, token: str) -> bool:
    """Whether the token opens a public endpoint; anything but yes or 10101 fails."""
    answer = await api.public("get_joined_conversation", token=token)
    if answer.status == 200:
        return bool(answer.data == {"Conversations": []})
    answer.refused(10101)
    return False


async def test_get_token_issues_a_token_with_all_its_claims(api: Api) -> None:
    session = fresh("alice")
    before = int(time.time())
    token = (await api.inner("get_token", session=session, platform=3)).data
    assert isinstance(token, str)
    claims = jwt.decode(token, NEW, algorithms=["HS256"], issuer="quick-im")
    assert set(claims) == {"sid", "platform", "iss", "iat", "exp", "jti"}
    assert (claims["sid"], claims["platform"], claims["iss"]) == (session, 3, "quick-im")
    assert before - 1 <= claims["iat"] <= time.time() + 1
    assert claims["exp"] - int(claims["iat"]) == 24 * 3600
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == ("HS256", "new")


async def test_each_issued_token_has_its_own_jti(api: Api) -> None:
    tokens = [(await api.inner("get_token", session="alice", platform=1)).data for _ in range(3)]
    assert len({jwt.decode(token, options={"verify_signature": False})["jti"] for token in tokens}) == 3


async def test_an_issued_token_speaks_for_its_session(api: Api) -> None:
    session = fresh("alice")
    token = (await api.inner("get_token", session=session, platform=1)).data
    created = (await api.public("create_conversation", {"conversation_type": 1}, token=token)).data
    members = (await api.inner("get_conversation_members", conversation_id=created["ConversationId"])).data
    assert [member["SessionId"] for member in members["Members"]] == [session]


async def test_a_product_may_mint_a_token_of_three_claims(api: Api) -> None:
    assert await is_accepted(api, signed())


@pytest.mark.parametrize("kid", ["new", "old"])
async def test_every_configured_key_verifies_by_its_kid(api: Api, kid: str) -> None:
    assert await is_accepted(api, mint(fresh("alice"), kid=kid))


async def test_without_a_kid_all_keys_are_tried(api: Api) -> None:
    assert await is_accepted(api, signed(JWT_KEYS["old"]))


async def test_a_kid_selects_its_key_alone(api: Api) -> None:
    assert not await is_accepted(api, signed(JWT_KEYS["old"], headers={"kid": "new"}))
    assert not await is_accepted(api, signed(NEW, headers={"kid": "unknown"}))


async def test_another_key_is_refused(api: Api) -> None:
    assert not await is_accepted(api, signed("another-key-of-at-least-thirty-two-bytes-length"))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_another_algorithm_is_refused_even_with_the_right_key(api: Api, algorithm: str) -> None:
    assert not await is_accepted(api, signed(NEW, algorithm))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "hs256", "RS256"])
async def test_an_unsigned_token_is_refused(api: Api, name: str) -> None:
    token = handmade({"alg": name, "typ": "JWT"}, good_claims())
    assert not await is_accepted(api, token)
    assert not await is_accepted(api, token.rpartition(".")[0] + ".")


async def test_a_changed_payload_is_refused(api: Api) -> None:
    head, _, signature = signed().split(".")
    other = signed(sid="mallory").split(".")[1]
    assert not await is_accepted(api, f"{head}.{other}.{signature}")


async def test_another_issuer_is_refused_and_ours_is_not(api: Api) -> None:
    assert not await is_accepted(api, signed(iss="someone-else"))
    assert await is_accepted(api, signed(iss="quick-im"))


@pytest.mark.parametrize(
    "exp",
    [..., None, "999", "2099-01-01", 1e30, 4e9 + 0.5, float("inf"), True, [], {}, 0, -1],
    ids=repr,
)
async def test_an_odd_exp_is_refused(api: Api, exp: Any) -> None:
    assert not await is_accepted(api, signed(exp=exp))


async def test_a_gigantic_exp_is_never_a_crash(api: Api) -> None:
    answer = await api.public("get_joined_conversation", token=signed(exp=10**30))
    assert answer.status in (200, 401)


async def test_expiry_has_ten_seconds_of_leeway(api: Api) -> None:
    now = int(time.time())
    assert await is_accepted(api, signed(exp=now - 5))
    assert not await is_accepted(api, signed(exp=now - 12))


async def test_a_token_issued_in_the_future_is_another_nodes_clock(api: Api) -> None:
    assert await is_accepted(api, signed(iat=int(time.time()) + 300))


async def test_a_token_needs_no_iat_and_no_jti(api: Api) -> None:
    assert await is_accepted(api, signed(iat=int(time.time()), jti=uuid4().hex))
    assert await is_accepted(api, signed())


@pytest.mark.parametrize(
    "sid", [..., None, "", "a" * 129, "a\x00b", "a\nb", "\x7f", 7, True, ["alice"], {"a": 1}], ids=repr
)
async def test_a_sid_that_is_no_session_name_is_refused(api: Api, sid: Any) -> None:
    assert not await is_accepted(api, signed(sid=sid))


@pytest.mark.parametrize("platform", [..., None, "1", -1, 32768, 1.5, True, [], 10**40], ids=repr)
async def test_a_platform_that_is_none_is_refused(api: Api, platform: Any) -> None:
    assert not await is_accepted(api, signed(platform=platform))


@pytest.mark.parametrize("platform", [0, 32767])
async def test_the_platforms_at_the_ends_of_the_range_are_good(api: Api, platform: int) -> None:
    assert await is_accepted(api, signed(platform=platform))


@pytest.mark.parametrize("kid", [7, ["new"], {"a": 1}, "", "new\x00", True], ids=repr)
async def test_an_odd_kid_is_refused(api: Api, kid: Any) -> None:
    assert not await is_accepted(api, handmade({"alg": "HS256", "typ": "JWT", "kid": kid}, good_claims()))


async def test_a_handmade_token_with_good_parts_is_accepted(api: Api) -> None:
    """Shows that the refusals beside it have the reason they name."""
    assert await is_accepted(api, handmade({"alg": "HS256", "kid": "new"}, good_claims()))


@pytest.mark.parametrize("payload", [b"[]", b'"text"', b"null", b"not json", b"\xff", b"[" * 2000])
async def test_a_signed_payload_that_is_no_object_is_refused(api: Api, payload: bytes) -> None:
    assert not await is_accepted(api, handmade({"alg": "HS256"}, payload))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer ...",
        "Basic YWxpY2U6eA==",
        "Bearer a b",
        "Bearer é",
    ],
)
async def test_an_authorization_header_without_a_token_is_refused(api: Api, header: str) -> None:
    answer = await api.request("POST", "/get_joined_conversation", headers={"Authorization": header}, json={})
    answer.refused(10101)


@pytest.mark.parametrize("path", PUBLIC)
async def test_every_public_endpoint_asks_for_a_token(api: Api, path: str) -> None:
    (await api.request("POST", path, json={})).refused(10101)
    (await api.request("POST", path, token="nonsense", json={})).refused(10101)


@pytest.mark.parametrize("path", PUBLIC)
async def test_a_token_in_the_address_counts_on_notify_only(api: Api, alice: Person, path: str) -> None:
    (await api.request("POST", path, params={"token": alice.token}, json={})).refused(10101)
