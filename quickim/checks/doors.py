"""Doors and secrets of a deployment: who may come in, and who could guess or read a key."""

import re
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

from quickim.checks.tags import QUICKIM
from quickim.env import GENERATED_FILES
from quickim.variables import Network, is_loopback

_Apps = Sequence[AppConfig] | None

FEWEST_CHARACTERS = 10
"""A random key of 32 characters has more different ones than this; ``aaaa…`` and ``12341234…`` have not."""
GUESSED_FIRST = (
    "change",
    "default",
    "example",
    "insecure",
    "password",
    "qwerty",
    "random characters",
    "secret",
)
_TEST = re.compile(r"(?<![a-z0-9])test|test(?![a-z0-9])")
"""At the begin or the end of a word: within one, letters like these come together by chance."""


@register(QUICKIM, Tags.security, deploy=True)
def check_generated_secrets(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether the secrets would outlive the data directory, and be the same on the next node."""
    generated = sorted(settings.QUICKIM.generated)
    if not generated or settings.DEBUG:
        return []
    return [
        Warning(
            f"Generated into the data directory: {', '.join(generated)}. A lost directory means other keys.",
            hint="Set them in the environment, from your secret store.",
            id="quickim.W001",
        )
    ]


@register(QUICKIM, Tags.security, deploy=True)
def check_inner_allow(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether the inner endpoints are open to the world."""
    configuration = settings.QUICKIM
    if (
        configuration.inner_api_keys
        or configuration.inner_hmac_keys
        or not any(_is_wide_open(network) for network in configuration.inner_allow)
    ):
        return []
    return [
        Warning(
            "QUICKIM_INNER_ALLOW admits every address without key or signature: anybody may take anyone's token.",
            hint="Name the product's own networks, or set QUICKIM_INNER_API_KEYS or QUICKIM_INNER_HMAC_KEYS.",
            id="quickim.W002",
        )
    ]


@register(QUICKIM, Tags.security, deploy=True)
def check_trusted_proxies(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether anybody may say from which address he comes."""
    if not any(_is_wide_open(network) for network in settings.QUICKIM.trusted_proxies):
        return []
    return [
        Warning(
            "QUICKIM_TRUSTED_PROXIES trusts everybody's X-Forwarded-For: anybody can pass for loopback.",
            hint="Name the proxies' own addresses.",
            id="quickim.W003",
        )
    ]


def _is_wide_open(network: Network) -> bool:
    # Also a list that says "everybody" in two halves, 0.0.0.0/1 and 128.0.0.0/1.
    return network.prefixlen <= 1


@register(QUICKIM, Tags.security)
def check_secret_files(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether other users of this machine could read the generated secrets."""
    paths = [settings.QUICKIM.data_dir / GENERATED_FILES[variable] for variable in sorted(settings.QUICKIM.generated)]
    return [
        Warning(f"Other users can read {path}.", hint=f"chmod 600 {path}", id="quickim.W004")
        for path in paths
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


@register(QUICKIM, Tags.security, deploy=True)
def check_keys(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether a key could be guessed; how long it is, is asked when it is read."""
    weak = [name for name, key in _keys() if _can_be_guessed(key)]
    if not weak:
        return []
    return [
        Warning(
            f"These keys look as if they could be guessed: {', '.join(weak)}.",
            hint="Make new ones: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
            id="quickim.W013",
        )
    ]


def _keys() -> Iterator[tuple[str, str]]:
    """(where it stands, the key)"""
    configuration = settings.QUICKIM
    yield "QUICKIM_SECRET_KEY", configuration.secret_key
    for jwt_key in configuration.jwt_keys:
        yield f"{jwt_key.kid} of QUICKIM_JWT_KEYS", jwt_key.key
    for hmac_key in configuration.inner_hmac_keys:
        yield f"{hmac_key.kid} of QUICKIM_INNER_HMAC_KEYS", hmac_key.key
    for number, key in enumerate(configuration.layer_keys, 1):
        yield f"number {number} of QUICKIM_LAYER_KEYS", key
    for number, key in enumerate(configuration.inner_api_keys, 1):
        yield f"number {number} of QUICKIM_INNER_API_KEYS", key


def _can_be_guessed(key: str) -> bool:
    # A key of 16 characters, the fewest that an API key may have, has fewer different ones.
    fewest = min(FEWEST_CHARACTERS, len(key) // 2)
    return len(set(key)) < fewest or _says_so(key.lower())


def _says_so(key: str) -> bool:
    return any(word in key for word in GUESSED_FIRST) or _TEST.search(key) is not None


@register(QUICKIM, Tags.security, deploy=True)
def check_debug(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether Django would show its settings to whoever meets an error."""
    if not settings.DEBUG or is_loopback(settings.QUICKIM.bind_host):
        return []
    return [
        Warning(
            "QUICKIM_DEBUG is on, and others than this machine can connect: errors show code and settings.",
            hint="Unset QUICKIM_DEBUG.",
            id="quickim.W014",
        )
    ]


@register(QUICKIM, Tags.security, deploy=True)
def check_names(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether every host name and every web page is let in."""
    found: list[CheckMessage] = []
    if "*" in settings.QUICKIM.allowed_hosts:
        found.append(
            Warning(
                "QUICKIM_ALLOWED_HOSTS admits every name: links and origin checks believe what a client says.",
                hint="Name the public host.",
                id="quickim.W015",
            )
        )
    if "*" in settings.QUICKIM.allowed_origins:
        found.append(
            Warning(
                "QUICKIM_ALLOWED_ORIGINS admits every web page: with a token it may call and connect.",
                hint="Name the origins of your web apps.",
                id="quickim.W016",
            )
        )
    return found
