"""What a round cost, from /proc: CPU seconds of the server with its children, of the generator, and of
strangers.

Law: the cost of a round is read at the round's two ends; nothing samples in between. (Linux only.)
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.server import Server

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Footprint:
    """Of a process and its descendants. PSS counts a page shared by n processes as 1/n."""

    pss_kib: int
    rss_kib: int
    threads: int


@dataclass(frozen=True)
class Cost:
    """Of one round, in seconds; ``backing``: of what stands behind the server; ``strangers``: what others took of the
    server's cores, hypervisor included."""

    wall: float
    server: float
    generator: float
    strangers: float
    backing: dict[str, float] = field(default_factory=dict)

    def rates(self, count: int, unit: str) -> dict[str, float]:
        """``count`` things done in the round, per second of the wall clock, of the server's CPU, and of its and the
        backing's CPU together."""
        behind = sum(self.backing.values())
        return {
            f"{unit}/s": count / self.wall,
            f"{unit} per server CPU-s": count / self.server,
            f"{unit} per CPU-s of all": count / (self.server + behind),
            "server CPU %": 100 * self.server / self.wall,
            "generator CPU %": 100 * self.generator / self.wall,
            **{f"{name} CPU %": 100 * seconds / self.wall for name, seconds in self.backing.items()},
            "strangers on the server's core %": 100 * max(0.0, self.strangers) / self.wall,
        }


class Meter:
    """Runs from its creation."""

    def __init__(self, server: Server, backing: Mapping[str, int] | None = None) -> None:
        self._server = server
        self._backing = backing or {}
        self._begin = self._readings()

    def cost(self) -> Cost:
        """Since the meter's creation."""
        wall, server, generator, cores, *others = (
            end - begin for begin, end in zip(self._begin, self._readings(), strict=True)
        )
        known = server + sum(others)
        if set(self._server.cores) & os.sched_getaffinity(0):
            known += generator
        return Cost(wall, server, generator, cores - known, dict(zip(self._backing, others, strict=True)))

    def _readings(self) -> tuple[float, ...]:
        return (
            time.perf_counter(),
            cpu_seconds(self._server.pid),
            time.process_time(),
            sum(map(_busy_seconds, self._server.cores)),
            *map(cpu_seconds, self._backing.values()),
        )


def cpu_seconds(root: int) -> float:
    """User and system time of the process and its descendants, of children that are gone as well."""
    ticks = 0
    for pid in processes(root):
        # utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted from the third.
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked; its parent has its time
            ticks += sum(int(text) for text in _stat(pid)[11:15])
    return ticks / _TICKS_PER_SECOND


def footprint(root: int) -> Footprint:
    """Of the process and its descendants now."""
    sums = dict.fromkeys(("Pss:", "Rss:", "Threads:"), 0)
    for pid in processes(root):
        for source in ("smaps_rollup", "status"):
            for line in (_PROC / str(pid) / source).read_text().splitlines():
                name, _, value = line.partition(" " if source == "smaps_rollup" else "\t")
                if name in sums:
                    sums[name] += int(value.split()[0])
    return Footprint(*sums.values())


def processes(root: int) -> list[int]:
    """The process and its living descendants."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = parent(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [root]
    for pid in found:
        found += [child for child, its_parent in parents.items() if its_parent == pid]
    return found


def parent(pid: int) -> int:
    """Of a living process."""
    return int(_stat(pid)[1])


def sockets(pid: int) -> int:
    """How many the process holds."""
    return sum(os.readlink(entry).startswith("socket:") for entry in (_PROC / str(pid) / "fd").iterdir())


def _stat(pid: int) -> list[str]:
    """Fields of proc(5) from the third on; the second is a name that may hold anything."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()


def _busy_seconds(core: int) -> float:
    """What the core did besides waiting, steal included."""
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in line.split()[1:9])
            return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND
    raise RuntimeError(f"/proc/stat does not know core {core}")
