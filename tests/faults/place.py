"""Nodes that clients reach, maybe through proxies, and what everybody asks them: what a site and an embedded one share.

Law: every part keeps its port, whatever it goes through. ``heal`` makes all of it whole again.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.clients.protocols import PLAIN
from tests.databases import workers_of
from tests.faults.proxy import Proxy
from tests.servers import Server


class Place(ABC):
    """See the module. ``doors``: with them, clients come through a proxy to each node."""

    def __init__(self, nodes: Sequence[Server], *, doors: bool) -> None:
        self.nodes = list(nodes)
        self.doors = [Proxy(node.port) for node in self.nodes] if doors else []
        self._marks: dict[Server, int] = {}

    @property
    def proxies(self) -> list[Proxy]:
        """All of them."""
        return self.doors

    @property
    def urls(self) -> list[str]:
        """Where clients find the nodes."""
        return [f"http://127.0.0.1:{door.port}" for door in self.doors] or [node.url for node in self.nodes]

    def start(self) -> None:
        """Runs everything; returns when all nodes are ready."""
        for proxy in self.proxies:
            proxy.start()
        with ThreadPoolExecutor() as pool:
            list(pool.map(Server.restart, self.nodes))
        self.mark_logs()

    def stop(self) -> None:
        """Kills everything that is the place's own."""
        for node in self.nodes:
            node.kill9()
        for proxy in self.proxies:
            proxy.stop()

    def heal(self) -> None:
        """Makes whole what a test left broken, however it ended."""
        for proxy in self.proxies:
            proxy.heal()
        for node in self.nodes:
            if not node.is_running:
                node.kill9()
                node.restart()

    @abstractmethod
    def messages(self, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        """(conversation, Seq, MsgId, session, client_msg_id, content, SendTime) of all that is stored in ``rooms``."""

    @abstractmethod
    def memberships(self, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        """(conversation, session, joined_seq, ended_seq) of every membership that ever was in ``rooms``."""

    def mark_logs(self) -> None:
        """``log`` begins here."""
        self._marks = {node: node.log_size() for node in self.nodes}

    def log(self, node: Server) -> str:
        """What ``node`` has printed since ``mark_logs``."""
        return node.log_text(self._marks[node])

    def readiness(self, node: Server) -> tuple[int, dict[str, Any]]:
        """The status of /readyz, and what it says: its data, or the detail of its error."""
        answer = httpx.get(f"{node.url}/readyz", trust_env=False, verify=PLAIN, timeout=10)
        body = answer.json()
        found: dict[str, Any] = body["data"] if body["code"] == 0 else body["detail"]
        return answer.status_code, found

    def is_alive(self, node: Server) -> bool:
        """Whether /healthz says so."""
        return httpx.get(f"{node.url}/healthz", trust_env=False, verify=PLAIN, timeout=10).status_code == httpx.codes.OK

    def workers(self, node: Server) -> list[int]:
        """The process ids of the workers of a node that has several."""
        return workers_of(node.pid)
