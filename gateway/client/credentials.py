"""The token: who holds it, when a new one is asked for, and whose it is.

Laws: the app's callback is asked by one caller at a time; a token that lives long is renewed before its end; whether a
token is good is for the server to say.
"""

import asyncio
import base64
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

Source = str | Callable[[], str | Awaitable[str]]
EARLIEST_SECONDS = 60.0
"""A token is renewed when a fifth of its life is left, but no earlier than that long before its end."""


class Credentials:
    """See the module."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._token = source if isinstance(source, str) else ""
        self._renew_at = float("inf")
        self._asking = asyncio.Lock()

    @property
    def session(self) -> str:
        """The session that the token names; "" before there is one."""
        return str(_claims(self._token).get("sid", ""))

    async def get(self) -> str:
        """The token to use. Raises what the callback raises."""
        if not self._token or time.monotonic() >= self._renew_at:
            await self.renew(self._token)
        return self._token

    async def renew(self, refused: str) -> bool:
        """Ask for a new token in place of ``refused``; False when there is none. Raises what the callback raises."""
        if isinstance(self._source, str):
            return False
        async with self._asking:
            if self._token == refused:
                given = self._source()
                token = await given if inspect.isawaitable(given) else given
                self._token = token
                life = _life_seconds(_claims(token))
                # A life that is over by our clock says that the clock is wrong: the server will tell.
                renews_after = life - min(life / 5, EARLIEST_SECONDS) if life > 0 else float("inf")
                self._renew_at = time.monotonic() + renews_after
            return self._token != refused


def _claims(token: str) -> dict[str, Any]:
    try:
        middle = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, IndexError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _life_seconds(claims: dict[str, Any]) -> float:
    """From now on, as far as can be told: by its own length, as clocks are wrong."""
    expires, issued = claims.get("exp"), claims.get("iat")
    if not isinstance(expires, int):
        return float("inf")
    return expires - (issued if isinstance(issued, int | float) else time.time())
