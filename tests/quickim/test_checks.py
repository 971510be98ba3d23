"""The system checks against settings that must not be, where commands find them, and what a start says of them."""

import os
import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import registry
from pytest_django import Settings

from quickim import backends, checks, env
from quickim.checks import databases, doors, layer, times
from quickim.env import Configuration
from quickim.variables import JwtKey


def ids(found: list[Any]) -> list[str]:
    """The ids of what was found."""
    return [message.id for message in found]


def configured(settings: Settings, **changes: Any) -> Configuration:
    """Settings with these fields of QUICKIM changed."""
    configuration: Configuration = replace(settings.QUICKIM, **changes)
    settings.QUICKIM = configuration
    return configuration


def test_several_workers_with_a_layer_in_memory_are_an_error(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = backends.channel_layers(())
    configured(settings, workers=1)
    assert layer.check_layer(None) == []
    configured(settings, workers=2)
    assert ids(layer.check_layer(None)) == ["quickim.E008"]
    settings.CHANNEL_LAYERS = backends.channel_layers(("redis://cache/0",))
    assert layer.check_layer(None) == []


def test_a_pool_whose_connections_are_kept_outside_of_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = backends.databases("postgres://db/quickim", Path("unused"))["default"]
    monkeypatch.setattr(times, "settings", SimpleNamespace(DATABASES={"default": database}))
    assert times.check_pool(None) == []
    kept = {**database, "CONN_MAX_AGE": None}
    monkeypatch.setattr(times, "settings", SimpleNamespace(DATABASES={"default": kept}))
    assert ids(times.check_pool(None)) == ["quickim.E009"]


def test_generated_secrets_are_a_warning_of_deployments(settings: Settings) -> None:
    settings.DEBUG = False
    configured(settings, generated=frozenset({"QUICKIM_JWT_KEYS"}))
    assert ids(doors.check_generated_secrets(None)) == ["quickim.W001"]
    configured(settings, generated=frozenset())
    assert doors.check_generated_secrets(None) == []


@pytest.mark.parametrize(
    ("networks", "keys", "expected"),
    [
        (["127.0.0.0/8", "10.0.0.0/8"], (), []),
        (["0.0.0.0/0"], (), ["quickim.W002"]),
        (["127.0.0.0/8", "::/0"], (), ["quickim.W002"]),
        (["0.0.0.0/1", "128.0.0.0/1"], (), ["quickim.W002"]),
        (["0.0.0.0/0"], ("a key of the product",), []),
    ],
)
def test_inner_endpoints_open_to_the_world_are_a_warning(
    settings: Settings, networks: list[str], keys: tuple[str, ...], expected: list[str]
) -> None:
    configured(settings, inner_allow=tuple(map(ip_network, networks)), inner_api_keys=keys)
    assert ids(doors.check_inner_allow(None)) == expected


def test_trusting_every_proxy_is_a_warning(settings: Settings) -> None:
    configured(settings, trusted_proxies=(ip_network("10.0.0.7/32"),))
    assert doors.check_trusted_proxies(None) == []
    configured(settings, trusted_proxies=(ip_network("::/0"),))
    assert ids(doors.check_trusted_proxies(None)) == ["quickim.W003"]


def test_a_secret_file_that_others_can_read_is_a_warning(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "jwt_key"
    path.touch(mode=0o600)
    configured(settings, data_dir=tmp_path, generated=frozenset({"QUICKIM_JWT_KEYS"}))
    assert doors.check_secret_files(None) == []
    os.chmod(path, 0o640)
    assert ids(doors.check_secret_files(None)) == ["quickim.W004"]


def test_the_layer_that_drops_messages_is_an_error(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {}}}
    assert ids(layer.check_layer(None)) == ["quickim.E017"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ({"address": "redis://cache/0", "socket_timeout": None}, []),
        ({"address": "redis://cache/0?socket_timeout=5", "socket_timeout": None}, ["quickim.W011"]),
        ({"address": "redis://cache/0"}, ["quickim.W011"]),
        ({"host": "cache", "socket_timeout": 5}, ["quickim.W011"]),
        ({"host": "cache", "socket_timeout": None}, []),
        ("redis://cache/0", ["quickim.W011"]),
    ],
    ids=str,
)
def test_a_subscription_that_times_out_is_a_warning(settings: Settings, host: Any, expected: list[str]) -> None:
    settings.CHANNEL_LAYERS = backends.channel_layers(("redis://cache/0",))
    settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"] = [host]
    assert ids(layer.check_layer(None)) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://redis:6379/0", []),
        ("redis://127.0.0.1:6379", []),
        ("redis://10.1.2.3", []),
        ("redis://redis.default.svc", []),
        ("unix:///run/redis.sock", []),
        ("rediss://redis.example.com", []),
        ("redis://redis.example.com", ["quickim.W012"]),
        ("redis://:password@8.8.8.8", ["quickim.W012"]),
    ],
)
def test_announcements_in_the_clear_across_a_network_are_a_warning(
    settings: Settings, url: str, expected: list[str]
) -> None:
    configured(settings, redis_urls=("redis://redis", url), layer_keys=())
    found = layer.check_layer_encryption(None)
    assert ids(found) == expected
    assert "password" not in str(found)
    configured(settings, layer_keys=("k" * 32,))
    assert layer.check_layer_encryption(None) == []


@pytest.mark.parametrize(
    ("key", "is_weak"),
    [
        ("a" * 32, True),
        ("0123456701234567012345670123456701", True),
        ("please-change-me-please-change-me-0123456789", True),
        ("<at least 32 random characters>!", True),
        ("my-very-long-and-SECRET-jwt-key-0000", True),
        ("a-test-key-that-is-long-enough-0", True),
        ("7f3a9c0e5b1d48266f3a9c0e5b1d4826", False),
        ("Zk3vQ1xTeStLaWm5RgYp8NcBhU2sJdEf", False),
        ("Zk3vQ1x9TtL0aWm5RgYp8NcBhU2sJdEf", False),
    ],
)
def test_keys_that_can_be_guessed_are_a_warning_that_does_not_tell_them(
    settings: Settings, key: str, is_weak: bool
) -> None:
    good = "Zk3vQ1x9TtL0aWm5RgYp8NcBhU2sJdEf"
    nothing = {"secret_key": good, "jwt_keys": (JwtKey("a", good),), "layer_keys": (), "inner_api_keys": ()}
    for change, place in (
        ({"secret_key": key}, "QUICKIM_SECRET_KEY"),
        ({"jwt_keys": (JwtKey("a", good), JwtKey("b", key))}, "b of QUICKIM_JWT_KEYS"),
        ({"layer_keys": (good, key)}, "number 2 of QUICKIM_LAYER_KEYS"),
        ({"inner_api_keys": (key,)}, "number 1 of QUICKIM_INNER_API_KEYS"),
    ):
        configured(settings, **nothing | change)
        found = doors.check_keys(None)
        assert ids(found) == ["quickim.W013"] * is_weak
        if is_weak:
            assert found[0].msg.endswith(f": {place}.")
            assert key not in str(found)


def test_the_keys_that_are_generated_cannot_be_guessed(settings: Settings) -> None:
    for _ in range(200):
        (key,) = env.JWT_KEYS.parse(env._new_jwt_key()) or ()
        configured(settings, secret_key=env._new_secret_key(), jwt_keys=(key,), layer_keys=(), inner_api_keys=())
        assert doors.check_keys(None) == []


def test_debug_mode_where_others_can_connect_is_a_warning(settings: Settings) -> None:
    settings.DEBUG = True
    for host, expected in (("127.0.0.1", []), ("::1", []), ("localhost", []), ("0.0.0.0", ["quickim.W014"])):
        configured(settings, bind_host=host)
        assert ids(doors.check_debug(None)) == expected
    settings.DEBUG = False
    assert doors.check_debug(None) == []


def test_admitting_every_host_name_or_origin_is_a_warning(settings: Settings) -> None:
    configured(settings, allowed_hosts=("im.example.com",), allowed_origins=("https://app.example.com",))
    assert doors.check_names(None) == []
    configured(settings, allowed_hosts=("im.example.com", "*"), allowed_origins=("*",))
    assert ids(doors.check_names(None)) == ["quickim.W015", "quickim.W016"]


def test_sweeps_too_rare_for_the_watermark_are_an_error(settings: Settings) -> None:
    configured(settings, sweep_seconds=5.0)
    assert times.check_sweep(None) == []
    configured(settings, sweep_seconds=7.0)
    assert ids(times.check_sweep(None)) == ["quickim.E018"]


def test_polls_longer_than_a_proxys_patience_are_a_warning(settings: Settings) -> None:
    configured(settings, poll_wait_seconds=54)
    assert times.check_poll_wait(None) == []
    configured(settings, poll_wait_seconds=55)
    assert ids(times.check_poll_wait(None)) == ["quickim.W017"]


@pytest.mark.django_db
def test_the_start_of_an_embedded_server_on_the_loopback_is_quiet(settings: Settings) -> None:
    settings.DEBUG = False
    names = frozenset({"QUICKIM_JWT_KEYS"})
    configured(settings, bind_host="127.0.0.1", database_url=None, workers=1, generated=names, redis_urls=())
    assert checks.startup_findings() == []
    configured(settings, bind_host="0.0.0.0")
    assert ids(checks.startup_findings()) == ["quickim.W001"]
    settings.SILENCED_SYSTEM_CHECKS = ["quickim.W001"]
    assert checks.startup_findings() == []
    configured(settings, bind_host="127.0.0.1", sweep_seconds=9.0)
    assert ids(checks.startup_findings()) == ["quickim.E018"]


def test_every_id_of_a_finding_stands_in_the_table_once() -> None:
    folder = Path(checks.__file__).parent
    used = {
        found
        for path in folder.glob("*.py")
        if path.name != "__init__.py"
        for found in re.findall(r'"(?:quickim\.)?([EW][0-9]{3})"', path.read_text())
    }
    table = re.findall(r"\b[EW][0-9]{3}\b", checks.__doc__ or "")
    assert sorted(table) == sorted(used)


def test_every_check_is_registered_where_commands_look_for_it() -> None:
    usual = set(registry.registry.get_checks())
    of_deployments = set(registry.registry.get_checks(include_deployment_checks=True)) - usual
    assert {
        databases.check_databases,
        doors.check_secret_files,
        layer.check_layer,
        times.check_pool,
        times.check_sweep,
    } <= usual
    assert {
        databases.check_deployed_databases,
        doors.check_debug,
        doors.check_generated_secrets,
        doors.check_inner_allow,
        doors.check_keys,
        doors.check_names,
        doors.check_trusted_proxies,
        layer.check_layer_encryption,
        times.check_poll_wait,
    } <= of_deployments
    assert all("quickim" in check.tags for check in usual | of_deployments if check.__module__.startswith("quickim."))
