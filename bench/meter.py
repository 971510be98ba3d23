"""What a round cost, from /proc: CPU seconds of the server with its children, of the generator, and of
strangers.

Law: the cost of a round is read at the round's two ends; nothing samples in between. (Linux only.)
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.server import Server

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Footprint:
    """Of all processes of the server. PSS counts a page shared by n processes as 1/n."""

    pss_kib: int
    rss_kib: int
    threads: int


@dataclass(frozen=True)
class Cost:
    """Of one round, in seconds; ``strangers``: what others took of the server's core, hypervisor included."""

    wall: float
    server: float
    generator: float
    strangers: float

    def rates(self, count: int, unit: str) -> dict[str, float]:
        """``count`` things done in the round, per second of the wall clock and of the server's CPU."""
        return {
            f"{unit}/s": count / self.wall,
            f"{unit} per server CPU-s": count / self.server,
            "server CPU %": 100 * self.server / self.wall,
            "generator CPU %": 100 * self.generator / self.wall,
            "strangers on the server's core %": 100 * max(0.0, self.strangers) / self.wall,
        }


class Meter:
    """Runs from its creation."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._begin = self._readings()

    def cost(self) -> Cost:
        """Since the meter's creation."""
        wall, server, generator, core = (end - begin for begin, end in zip(self._begin, self._readings(), strict=True))
        return Cost(wall, server, generator, core - server)

    def _readings(self) -> tuple[float, float, float, float]:
        return (
            time.perf_counter(),
            cpu_seconds(self._server),
            time.process_time(),
            _busy_seconds(self._server.core),
        )


def cpu_seconds(server: Server) -> float:
    """User and system time of the server's processes, of children that are gone as well."""
    ticks = 0
    for pid in _processes(server):
        # utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted from the third.
        ticks += sum(int(field) for field in _stat(pid)[11:15])
    return ticks / _TICKS_PER_SECOND


def footprint(server: Server) -> Footprint:
    """Of the server now."""
    sums = dict.fromkeys(("Pss:", "Rss:", "Threads:"), 0)
    for pid in _processes(server):
        for source in ("smaps_rollup", "status"):
            for line in (_PROC / str(pid) / source).read_text().splitlines():
                name, _, value = line.partition(" " if source == "smaps_rollup" else "\t")
                if name in sums:
                    sums[name] += int(value.split()[0])
    return Footprint(*sums.values())


def _processes(server: Server) -> list[int]:
    """The server and its living descendants."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [server.pid]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


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
