"""Whom limits for an address count together, and whom they leave alone."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from pytest_django import Settings

from quickim.rest.addresses import UNKNOWN, peer_key, visitor_of

PROXY = "192.0.2.1"


@pytest.fixture(autouse=True)
def _behind_a_proxy(settings: Settings) -> None:
    settings.QUICKIM = replace(
        settings.QUICKIM,
        trusted_proxies=(ip_network(PROXY),),
        limit_exempt=(ip_network("127.0.0.0/8"),),
        inner_allow=(ip_network("10.0.0.0/8"),),
    )


def key(peer: str, *forwarded: str) -> str:
    """By what a visitor counts."""
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return visitor_of({"client": (peer, 1), "headers": headers}).limit_key


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", (), "203.0.113.7"),
        ("::ffff:203.0.113.7", (), "203.0.113.7"),
        ("203.0.113.7", ("10.1.1.1",), "203.0.113.7"),
        (PROXY, ("203.0.113.7",), "203.0.113.7"),
        (PROXY, ("1.1.1.1, 203.0.113.7",), "203.0.113.7"),
        (PROXY, ("1.1.1.1", "203.0.113.7"), "203.0.113.7"),
        (PROXY, ("nonsense",), UNKNOWN),
        (PROXY, (), PROXY),
        ("not an address", (), UNKNOWN),
        ("127.0.0.1", (), ""),
        (PROXY, ("127.0.0.1",), ""),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        (PROXY, ("2001:db8:1:2::9",), "2001:db8:1:2::/64"),
        (PROXY, ("2001:db8:1:3::9",), "2001:db8:1:3::/64"),
    ],
    ids=repr,
)
def test_a_visitor_counts_by_his_real_address(peer: str, forwarded: tuple[str, ...], expected: str) -> None:
    assert key(peer, *forwarded) == expected
    # The second time it comes from memory.
    assert key(peer, *forwarded) == expected


def test_the_connections_of_a_proxy_are_not_its_own() -> None:
    assert peer_key(PROXY) == ""
    assert peer_key("203.0.113.7") == "203.0.113.7"


def test_what_is_known_of_visitors_has_an_end_and_goes_with_the_settings(settings: Settings) -> None:
    for number in range(25_000):
        key(PROXY, f"203.0.{number // 256}.{number % 256}")
    assert visitor_of({"client": ("10.0.0.1", 1), "headers": []}).may_call_inner
    settings.QUICKIM = replace(settings.QUICKIM, inner_allow=())
    assert not visitor_of({"client": ("10.0.0.1", 1), "headers": []}).may_call_inner
