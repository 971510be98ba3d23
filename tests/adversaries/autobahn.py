"""Runs Autobahn's WebSocket suite against our protocol classes, and keeps what it found in docs/autobahn.json.

The suite needs CPython 2.7: of pyenv, or the one that ``--python`` names. It is installed into ``var/autobahn``.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.databases import free_port, holds_within
from tests.servers import ROOT

SUITE = ROOT / "var" / "autobahn"
KEPT = ROOT / "docs" / "autobahn.json"
SERVERS = ("uvicorn", "daphne")
GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*"]
"""Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing. The others time, or ask for compression."""


def find_python() -> str | None:
    """A CPython 2.7."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(pyenv.glob("2.7.*/bin/python2.7"))
    return str(found[-1]) if found else shutil.which("python2.7")


def install(python: str) -> None:
    """The suite, once."""
    if not (SUITE / "autobahntestsuite").is_dir():
        command = [python, "-m", "pip", "install", "--quiet", "--target", str(SUITE), "autobahntestsuite"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def attack(python: str, server: str, groups: list[str]) -> dict[str, Any]:
    """The suite's index of one server: by case, what it did (``behavior``) and how it closed."""
    port = free_port()
    echo = [sys.executable, "-m", "tests.adversaries.echo", "--server", server, "--port", str(port)]
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "QUICKIM_DATA_DIR": f"{directory}/data"}
        process = subprocess.Popen(echo, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
        try:
            if not holds_within(20, lambda: _listens(port)):
                raise SystemExit(f"{server} did not begin to listen")
            specification = Path(directory) / "fuzzingclient.json"
            specification.write_text(
                json.dumps(
                    {
                        "outdir": f"{directory}/reports",
                        "servers": [{"agent": server, "url": f"ws://127.0.0.1:{port}"}],
                        "cases": groups,
                        "exclude-cases": [],
                        "exclude-agent-cases": {},
                    }
                )
            )
            # Not by PYTHONPATH: one of its packages is found through a .pth file only.
            start = f"import site; site.addsitedir({str(SUITE)!r}); from autobahntestsuite.wstest import run; run()"
            subprocess.run(
                [python, "-c", start, "--mode", "fuzzingclient", "--spec", str(specification)],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            index = json.loads((Path(directory) / "reports" / "index.json").read_text())
        finally:
            process.terminate()
            process.wait()
    cases: dict[str, Any] = index[server]
    return cases


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def main() -> int:
    """1 when a case failed."""
    parser = argparse.ArgumentParser(prog="script/autobahn", description=__doc__)
    parser.add_argument("--server", action="append", choices=SERVERS, help="default: both")
    parser.add_argument("--case", action="append", help="such as 7.1.* (default: 1.* to 7.*)")
    parser.add_argument("--python", default=find_python(), help="a CPython 2.7")
    parser.add_argument("--keep", action="store_true", help="write the result to docs/autobahn.json")
    arguments = parser.parse_args()
    if not arguments.python:
        parser.error("the suite needs CPython 2.7, such as that of 'pyenv install 2.7.18'")
    install(arguments.python)
    results: dict[str, Any] = {}
    for server in arguments.server or SERVERS:
        cases = attack(arguments.python, server, arguments.case or GROUPS)
        behaviors = Counter(case["behavior"] for case in cases.values())
        others = {
            name: f"{case['behavior']}, {case['behaviorClose']} close"
            for name, case in sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")])
            if case["behavior"] != "OK" or case["behaviorClose"] not in ("OK", "INFORMATIONAL")
        }
        results[server] = {"cases": len(cases), "behavior": dict(sorted(behaviors.items())), "not OK": others}
        print(f"{server}: {len(cases)} cases: " + ", ".join(f"{count} {kind}" for kind, count in behaviors.items()))
        for name, told in others.items():
            print(f"  {name}: {told}")
    if arguments.keep:
        KEPT.write_text(json.dumps(results, indent=2) + "\n")
    failed = any(
        told.startswith("FAILED") or "FAILED close" in told
        for one in results.values()
        for told in one["not OK"].values()
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
