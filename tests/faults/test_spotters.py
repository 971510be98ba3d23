"""Spotters find what they look for, however it is cut into pieces, and nothing else."""

import pytest

from tests.faults.spotters import CommitSpotter, Spotter, SubscriptionSpotter


def untyped(version: int, rest: bytes = b"") -> bytes:
    """A message from before the session."""
    return (8 + len(rest)).to_bytes(4, "big") + version.to_bytes(4, "big") + rest


def message(kind: bytes, text: bytes) -> bytes:
    """A message of the session."""
    return kind + (4 + len(text)).to_bytes(4, "big") + text


SSL = untyped(80877103)
STARTUP = untyped(196608, b"user\0postgres\0\0")
INSERT = message(b"P", b"\0INSERT INTO t VALUES ($1, 'COMMIT')\0\0\0") + message(b"B", b"COMMIT\0") + message(b"S", b"")


def spotted(spotter: Spotter, sent: bytes, size: int) -> int:
    """How often something is spotted when it comes in pieces of this size."""
    return sum(spotter.spots(sent[start : start + size]) for start in range(0, len(sent), size))


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("before", [STARTUP, SSL + STARTUP])
@pytest.mark.parametrize(
    "commit", [message(b"Q", b"COMMIT\0"), message(b"Q", b" commit;\0"), message(b"P", b"name\0COMMIT\0\0\0")]
)
def test_a_commit_is_spotted_once(before: bytes, commit: bytes, size: int) -> None:
    assert spotted(CommitSpotter(), before + INSERT + commit + INSERT, size) == 1


def test_what_only_speaks_of_a_commit_is_none() -> None:
    assert not CommitSpotter().spots(SSL + STARTUP + INSERT + message(b"Q", b"SELECT 'COMMIT'\0"))


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_subscription_is_spotted(size: int) -> None:
    publish = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$9\r\nSUBSCRIBE\n\r\n"
    assert spotted(SubscriptionSpotter(), publish, size) == 0
    assert spotted(SubscriptionSpotter(), publish + b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nx\r\n", size) == 1
