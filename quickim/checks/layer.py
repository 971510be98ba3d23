"""Whether the channel layer can carry announcements between workers, and who could read them on the way."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from quickim.checks.tags import QUICKIM

_Apps = Sequence[AppConfig] | None

_NAMES_NEARBY = (".local", ".localhost", ".internal", ".svc")
"""Names of container platforms' own networks end so."""


@register(QUICKIM)
def check_layer(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether the channel layer reaches every worker, and keeps to it."""
    return list(_layer_findings(settings.CHANNEL_LAYERS["default"]))


def _layer_findings(layer: dict[str, Any]) -> Iterator[CheckMessage]:
    backend = layer["BACKEND"]
    if settings.QUICKIM.workers > 1 and backend.endswith("InMemoryChannelLayer"):
        yield Error(
            "Several workers share an in-memory channel layer, which ends at its process.",
            hint="Set QUICKIM_REDIS_URL, or QUICKIM_WORKERS=1.",
            id="quickim.E008",
        )
    if backend.startswith("channels_redis.core."):
        yield Error(
            f"{backend.rpartition('.')[2]} drops messages above its capacity without a word, and delivers nothing after"
            " a restart of Redis.",
            hint="CHANNEL_LAYERS must be channels_redis.pubsub.RedisPubSubChannelLayer.",
            id="quickim.E017",
        )
    hosts = layer.get("CONFIG", {}).get("hosts", ()) if backend.startswith("channels_redis.pubsub.") else ()
    if any(_times_out(host) for host in hosts):
        yield Warning(
            "The channel layer gives up a subscription that is silent for its socket_timeout.",
            hint="Take socket_timeout out of QUICKIM_REDIS_URL; in CHANNEL_LAYERS it must be None for each host.",
            id="quickim.W011",
        )


def _times_out(host: Any) -> bool:
    """Whether a host of channels_redis, an address or a dictionary with one, has a socket_timeout; redis-py 8 gives
    one to whoever does not say None."""
    from redis.asyncio import ConnectionPool  # noqa: PLC0415  # only where there is an address

    arguments = {"address": host} if isinstance(host, str) else dict(host)
    address = arguments.pop("address", None)
    if address is not None:
        arguments = ConnectionPool.from_url(address, **arguments).connection_kwargs
    return arguments.get("socket_timeout", "the default") is not None


@register(QUICKIM, Tags.security, deploy=True)
def check_layer_encryption(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether messages pass through Redis over a network where others may listen."""
    configuration = settings.QUICKIM
    far = sorted({host for url in configuration.redis_urls if (host := _far_host(url))})
    if configuration.layer_keys or not far:
        return []
    return [
        Warning(
            f"Messages pass in the clear to Redis at {', '.join(far)}.",
            hint="Set QUICKIM_LAYER_KEYS, or use rediss://.",
            id="quickim.W012",
        )
    ]


def _far_host(url: str) -> str:
    """The host of an unencrypted address, unless that is near: this machine, a private network, a bare name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "redis":
        return ""
    try:
        return host if ip_address(host).is_global else ""
    except ValueError:
        return host if "." in host and not host.endswith(_NAMES_NEARBY) else ""
