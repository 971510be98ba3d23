"""Settings whose numbers must fit each other, or what stands between server and client."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from gateway.cursor import EARLY_MICROSECONDS
from quickim.checks.tags import QUICKIM
from quickim.database import MAX_WRITE_SECONDS

_Apps = Sequence[AppConfig] | None

LONGEST_USUAL_WAIT_SECONDS = 55
"""Proxies and load balancers commonly end a request that is silent for 60 s."""


@register(QUICKIM)
def check_sweep(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether a watermark stays young enough for deliveries to go on, and for cursors to be sound."""
    bound = EARLY_MICROSECONDS / 1_000_000
    if settings.QUICKIM.sweep_seconds + MAX_WRITE_SECONDS < bound:
        return []
    return [
        Error(
            f"Sweeps every {settings.QUICKIM.sweep_seconds:g} s let the watermark become {bound:g} s old:"
            " messages would be held back.",
            hint=f"QUICKIM_SWEEP_SECONDS must be well below {bound - MAX_WRITE_SECONDS:g}.",
            id="quickim.E018",
        )
    ]


@register(QUICKIM)
def check_pool(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether connections go back to the pool that they came from."""
    return [
        Error(
            f"The database {alias!r} has a pool, but CONN_MAX_AGE would keep its connections out of it.",
            hint="CONN_MAX_AGE must be 0 with OPTIONS['pool'].",
            id="quickim.E009",
        )
        for alias, database in settings.DATABASES.items()
        if database.get("OPTIONS", {}).get("pool") and database.get("CONN_MAX_AGE", 0) != 0
    ]


@register(QUICKIM, deploy=True)
def check_poll_wait(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether a poll is answered before a proxy gives up on it."""
    wait = settings.QUICKIM.poll_wait_seconds
    if wait < LONGEST_USUAL_WAIT_SECONDS:
        return []
    return [
        Warning(
            f"Polls wait {wait:g} s, and proxies usually end a request that is silent for 60 s.",
            hint="Lower QUICKIM_POLL_WAIT_SECONDS, or raise the proxy's read timeout above it and silence this.",
            id="quickim.W017",
        )
    ]
