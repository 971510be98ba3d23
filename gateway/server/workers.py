"""Several worker processes behind one listening socket, watched by uvicorn's supervisor.

Laws: a worker that died, or whose event loop stands still, is replaced; SIGTERM drains all of them, within a bounded
time; SIGHUP replaces one after another, each new one serving before its predecessor drains; no worker outlives its
supervisor. Nothing here imports models at the top: a spawned process reads this module before Django is set up.
"""

import logging
import os
import signal
import threading
import time
from multiprocessing import parent_process
from socket import socket
from typing import TYPE_CHECKING

import django
import uvicorn
from uvicorn.supervisors import multiprocess

from quickim.observability.metrics_sharing import bury, directory, remove_directory, shared_directory

if TYPE_CHECKING:
    from gateway.server.serving import Server

logger = logging.getLogger(__name__)

HEALTHCHECK_SECONDS = 15
"""How long a worker may take to answer, and a new one to begin to serve."""
STALLED_SECONDS = 10.0
"""A worker whose event loop did not turn for so long does not answer the supervisor any more."""
DRAIN_SECONDS = 20.0
"""A worker drains within 16 s (gateway.node, gateway.server.serving); one that does not is killed."""


class Worker(multiprocess.Process):
    """One worker: an object of the supervisor, and its copy in the process itself."""

    _server: "Server | None" = None

    @property
    def server(self) -> "Server":
        """In the process: what serves; made by the main thread, before it runs."""
        if self._server is None:
            django.setup()
            from gateway.server.serving import Server  # noqa: PLC0415  # models, which need the line above

            self._server = Server(self.config)
        return self._server

    def target(self, sockets: list[socket] | None = None) -> None:
        """The process's main function."""
        threading.Thread(target=_end_with_supervisor, name="supervisor watch", daemon=True).start()
        super().target(sockets)

    def pong(self) -> None:
        """In the process, on a thread: answer one question of the supervisor, unless the event loop stands still."""
        self.child_conn.recv()
        server = self._server
        if server is None or not server.started:
            self.child_conn.send(False)
        elif time.monotonic() - server.turned_at < STALLED_SECONDS:
            self.child_conn.send(True)

    def join(self) -> None:
        """Wait until it ended; it is killed when its drain takes too long."""
        self.process.join(DRAIN_SECONDS)
        if self.process.is_alive():
            logger.error(
                "Worker %s did not drain within %.0f s and was killed: see its last lines, and the database's health.",
                self.pid,
                DRAIN_SECONDS,
            )
            self.process.kill()
            self.process.join()
        bury(self.pid)


class Supervisor(multiprocess.Multiprocess):
    """See the module."""

    def keep_subprocess_alive(self) -> None:
        """Replace whoever died, and say so."""
        before = list(self.processes)
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=False):
            if old is not new:
                logger.warning(
                    "Worker %s ended (exit code %s); worker %s replaces it. If this repeats, see its last lines.",
                    old.pid,
                    old.exitcode,
                    new.pid,
                )


def supervise(config: uvicorn.Config, workers: int, private: uvicorn.Config | None = None) -> None:
    """Serve with that many ``workers`` until SIGTERM or SIGINT, also at the address of ``private``. Exits with 3 when
    an address is taken."""
    config.workers = workers
    config.timeout_worker_healthcheck = HEALTHCHECK_SECONDS
    # uvicorn names the class of its processes nowhere else.
    multiprocess.Process = Worker  # type: ignore[misc]
    listeners = [bound.bind_socket() for bound in (config, private) if bound is not None]
    try:
        with shared_directory():
            Supervisor(config, sockets=listeners).run()
    finally:
        for listener in listeners:
            listener.close()


def _end_with_supervisor() -> None:
    supervisor = parent_process()
    if supervisor is not None:
        supervisor.join()
        remove_directory(directory())
        # A replacement of the supervisor could not have the address while this process listens there.
        os.kill(os.getpid(), signal.SIGTERM)
