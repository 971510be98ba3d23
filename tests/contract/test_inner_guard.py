"""Who may call /inner: an address on the list, and an API key when these are configured."""

import pytest

from tests.clients import Api, Person, fresh
from tests.contract.test_envelope import ENDPOINTS
from tests.servers import ANYWHERE

pytestmark = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

INNER = [path for path in ENDPOINTS if path.startswith("/inner")]
Lines = list[tuple[str, str]]

only_private_networks = pytest.mark.settings(QUICKIM_INNER_ALLOW="10.0.0.0/8,2001:db8::/32")
behind_a_proxy = pytest.mark.settings(
    QUICKIM_INNER_ALLOW="10.0.0.0/8,2001:db8::/32", QUICKIM_TRUSTED_PROXIES="127.0.0.1/32,192.168.7.0/24"
)
with_api_keys = pytest.mark.settings(
    QUICKIM_INNER_API_KEYS="first-inner-api-key-of-the-tests,second-inner-api-key-of-the-tests"
)


def forwarded(*addresses: str) -> Lines:
    """X-Forwarded-For, a header line for each argument."""
    return [("X-Forwarded-For", address) for address in addresses]


async def get_token(api: Api, headers: Lines) -> int:
    """Asks for a token; 0 when it came, else the refusal's code."""
    body = {"session": fresh("alice"), "platform": 1}
    answer = await api.request("POST", "/inner/get_token", headers=headers, json=body)
    if answer.status == 200:
        assert isinstance(answer.data, str)
        return 0
    answer.refused(10003)
    return 10003


async def test_loopback_may_call_inner_by_default(api: Api) -> None:
    assert await get_token(api, []) == 0


async def test_x_forwarded_for_counts_for_nothing_by_default(api: Api) -> None:
    assert await get_token(api, forwarded("8.8.8.8")) == 0


@only_private_networks
@pytest.mark.parametrize("path", INNER)
async def test_an_address_off_the_list_is_refused_everywhere(api: Api, path: str) -> None:
    (await api.request("POST", path, json={})).refused(10003)


@only_private_networks
async def test_x_forwarded_for_opens_nothing_without_a_trusted_proxy(api: Api) -> None:
    assert await get_token(api, []) == 10003
    for claim in ("10.1.2.3", "127.0.0.1", "::1", "2001:db8::1"):
        assert await get_token(api, forwarded(claim)) == 10003
        assert await get_token(api, [("X-Real-IP", claim), ("Forwarded", f"for={claim}")]) == 10003


@only_private_networks
async def test_the_guard_does_not_concern_the_public_endpoints(alice: Person) -> None:
    assert (await alice.call("get_joined_conversation")).data == {"Conversations": []}


@behind_a_proxy
@pytest.mark.parametrize(
    "lines",
    [
        forwarded("10.1.2.3"),
        forwarded("2001:db8::1"),
        forwarded("8.8.8.8, 10.1.2.3"),
        forwarded("nonsense, 10.1.2.3"),
        forwarded("10.1.2.3, 127.0.0.1"),
        forwarded("8.8.8.8,10.1.2.3 , 192.168.7.9,127.0.0.1"),
        forwarded("8.8.8.8", "10.1.2.3"),
    ],
    ids=repr,
)
async def test_behind_a_trusted_proxy_the_nearest_untrusted_address_opens_the_guard(api: Api, lines: Lines) -> None:
    assert await get_token(api, lines) == 0


@behind_a_proxy
@pytest.mark.parametrize(
    "lines",
    [
        [],
        forwarded(""),
        forwarded("8.8.8.8"),
        forwarded("10.1.2.3, 8.8.8.8"),
        forwarded("10.1.2.3, 8.8.8.8, 127.0.0.1"),
        forwarded("10.1.2.3, nonsense"),
        forwarded("10.1.2.3, 999.1.1.1"),
        forwarded("10.1.2.3", "8.8.8.8"),
        forwarded("2001:db9::1"),
    ],
    ids=repr,
)
async def test_behind_a_trusted_proxy_the_nearest_untrusted_address_closes_the_guard(api: Api, lines: Lines) -> None:
    assert await get_token(api, lines) == 10003


@with_api_keys
@pytest.mark.parametrize("key", ["first-inner-api-key-of-the-tests", "second-inner-api-key-of-the-tests"])
async def test_an_api_key_opens_the_guard_by_either_header(api: Api, key: str) -> None:
    assert await get_token(api, [("Authorization", f"Bearer {key}")]) == 0
    assert await get_token(api, [("X-Api-Key", key)]) == 0


@with_api_keys
@pytest.mark.parametrize("path", INNER)
async def test_with_api_keys_configured_the_address_alone_is_not_enough(api: Api, alice: Person, path: str) -> None:
    for headers in (
        [],
        [("X-Api-Key", "third-inner-api-key-of-the-tests")],
        [("X-Api-Key", "")],
        [("X-Api-Key", "first-inner-api-key-of-the-tests,second-inner-api-key-of-the-tests")],
        [("Authorization", "Bearer first-inner-api-key-of-the-test")],
        [("Authorization", "first-inner-api-key-of-the-tests")],
        [("Authorization", f"Bearer {alice.token}")],
        [("X-Api-Key", "é")],
    ):
        (await api.request("POST", path, headers=headers, json={})).refused(10003)


@pytest.mark.settings(QUICKIM_INNER_API_KEYS="first-inner-api-key-of-the-tests", QUICKIM_INNER_ALLOW="10.0.0.0/8")
async def test_an_api_key_does_not_replace_the_address(api: Api) -> None:
    assert await get_token(api, [("X-Api-Key", "first-inner-api-key-of-the-tests")]) == 10003
