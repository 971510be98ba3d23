"""Token buckets compared between nodes, through Redis.

Laws: nobody waits for it. What this node took is told in pieces, many keys in one call, twenty times a second at most
and only while something is taken; the answer is what all nodes together left, and lowers the buckets here. A node that
cannot reach Redis keeps the whole rate by itself. What Redis keeps forgets itself once a bucket would be full.
"""

import asyncio
import hashlib
import logging
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from typing import Any

from django.utils.crypto import salted_hmac

from quickim.rest.rates import Buckets, Rate

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.05
CALL_SECONDS = 0.5
RETRY_SECONDS = 2.0
MAX_KEYS = 500
"""Of one call: Redis does nothing else meanwhile."""

COMPARE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local rate, burst, since = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local left = {}
for index, key in ipairs(KEYS) do
  local known = redis.call('HMGET', key, 'tokens', 'at')
  local tokens, at = burst, now - since
  if known[1] and known[2] then tokens, at = tonumber(known[1]), tonumber(known[2]) end
  local taken = math.max(at, now - since)
  tokens = math.min(burst, tokens + math.max(0, taken - at) * rate) - tonumber(ARGV[index + 3])
  tokens = math.min(burst, tokens + math.max(0, now - taken) * rate)
  if tokens < -burst then tokens = -burst end
  redis.call('HSET', key, 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', key, math.ceil((burst - tokens) / rate * 1000) + 1000)
  left[index] = string.format('%.6f', tokens)
end
return left
"""
"""KEYS: buckets; ARGV: tokens a second, burst, for how many seconds now what is told of was taken, then how much of
each. Returns what is left of each, by Redis' own
clock; a debt of more than a burst is forgiven."""


class Shares:
    """The comparing of all named buckets of this process."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._redis = [_Shard(url) for url in urls]
        # Whoever shares the secret key is of this deployment; names of sessions do not leave it in the clear.
        self._secret = salted_hmac("quickim.rates", "", algorithm="sha256").digest()

    async def run(self) -> None:
        """Compare for ever."""
        for buckets in Buckets.shared.values():
            buckets.share()
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            for name, buckets in Buckets.shared.items():
                taken, seconds = buckets.taken()
                if taken and buckets.rate is not None:
                    await self._compare(name, buckets, buckets.rate, taken, seconds)

    async def close(self) -> None:
        """Give up the connections."""
        for shard in self._redis:
            await shard.close()

    async def _compare(self, name: str, buckets: Buckets, rate: Rate, taken: dict[str, int], seconds: float) -> None:
        by_shard: dict[_Shard, dict[str, int]] = defaultdict(dict)
        for key, count in taken.items():
            by_shard[self._redis[zlib.crc32(key.encode()) % len(self._redis)]][key] = count
        for shard, counts in by_shard.items():
            pending = iter(counts.items())
            while piece := dict(islice(pending, MAX_KEYS)):
                names = [self._redis_key(name, key) for key in piece]
                left = await shard.compare(names, [rate.per_second, rate.burst, seconds, *piece.values()])
                for key, tokens in zip(piece, left, strict=False):
                    buckets.learn(key, tokens)

    def _redis_key(self, name: str, key: str) -> str:
        digest = hashlib.blake2b(f"{name}:{key}".encode(), key=self._secret, digest_size=16).hexdigest()
        return f"quickim.rates.{digest}"


class _Shard:
    """One Redis; after a failure it is left alone for a moment."""

    def __init__(self, url: str) -> None:
        # Only here: a deployment without Redis does not load it.
        from redis.asyncio import Redis  # noqa: PLC0415

        self._client: Any = Redis.from_url(url, socket_connect_timeout=CALL_SECONDS, socket_timeout=CALL_SECONDS)
        self._script = self._client.register_script(COMPARE)
        self._again_at = 0.0

    async def compare(self, keys: list[str], arguments: list[float]) -> list[float]:
        """What is left of each of ``keys``; nothing when Redis cannot be asked now."""
        if time.monotonic() < self._again_at:
            return []
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return [float(tokens) for tokens in await self._script(keys=keys, args=arguments)]
        except Exception as error:  # noqa: BLE001  # drivers raise of all kinds; each means: not now
            # The layer's own warning says that Redis is away; here nothing is lost but the comparing.
            logger.info("Rates are kept by this node alone (%s): Redis does not compare them.", type(error).__name__)
            self._again_at = time.monotonic() + RETRY_SECONDS
            return []

    async def close(self) -> None:
        """Give up the connections."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._client.aclose()
        except Exception as error:  # noqa: BLE001  # as above
            logger.info("A connection to Redis did not close in time (%s).", type(error).__name__)
