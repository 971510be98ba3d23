"""A small deployment that faults may strike: PostgreSQL, Valkey, nodes, and proxies between each node and both.

Law: every part keeps its port, whatever it goes through. ``heal`` makes all of it whole again.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psycopg

from tests.databases import Postgres, Valkey, children_of
from tests.faults import audit
from tests.faults.proxy import Proxy
from tests.faults.spotters import CommitSpotter, SubscriptionSpotter
from tests.servers import Server

SWEEP_SECONDS: Final = 5
"""As seldom as can be: what arrives sooner came another way."""
LAYER_IS_AWAY: Final = "The channel layer is away"
LAYER_IS_BACK: Final = "The channel layer is back"
WRITER_WAS_REPLACED: Final = "writer hung in the database and was replaced"
TERMINATE: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""


class Site:
    """See the module. Each node has proxies of its own to the database and the layer.

    ``settings`` are environment variables of all nodes; ``doors``: clients, too, come through a proxy;
    ``database_url``: a database that is migrated already.
    """

    def __init__(
        self,
        home: Path,
        postgres: Postgres,
        nodes: int = 2,
        settings: Mapping[str, str] | None = None,
        *,
        doors: bool = False,
        database_url: str | None = None,
    ):
        self.postgres = postgres
        self.valkey = Valkey()
        self.database_url = database_url or postgres.new_database()
        self._is_migrated = database_url is not None
        self.nodes: list[Server] = []
        self.database_proxies: list[Proxy] = []
        self.layer_proxies: list[Proxy] = []
        self.doors: list[Proxy] = []
        self._marks: dict[Server, int] = {}
        common = {"QUICKIM_SWEEP_SECONDS": f"{SWEEP_SECONDS}", **(settings or {})}
        for number in range(nodes):
            database, layer = Proxy(postgres.port, CommitSpotter), Proxy(self.valkey.port, SubscriptionSpotter)
            addresses = {
                "QUICKIM_DATABASE_URL": _at(self.database_url, database.port),
                "QUICKIM_REDIS_URL": _at(self.valkey.url, layer.port),
            }
            self.database_proxies.append(database)
            self.layer_proxies.append(layer)
            self.nodes.append(Server(home / f"node-{number}", "cluster", common | addresses, data=home / "data"))
        if doors:
            self.doors = [Proxy(node.port) for node in self.nodes]

    @property
    def database_proxy(self) -> Proxy:
        """Of the first node."""
        return self.database_proxies[0]

    @property
    def layer_proxy(self) -> Proxy:
        """Of the first node."""
        return self.layer_proxies[0]

    @property
    def proxies(self) -> list[Proxy]:
        """All of them."""
        return [*self.database_proxies, *self.layer_proxies, *self.doors]

    @property
    def urls(self) -> list[str]:
        """Where clients find the nodes."""
        return [f"http://127.0.0.1:{door.port}" for door in self.doors] or [node.url for node in self.nodes]

    def start(self) -> "Site":
        """Runs everything; returns when all nodes are ready."""
        self.valkey.start()
        for proxy in self.proxies:
            proxy.start()
        if not self._is_migrated:
            self.nodes[0].manage("migrate", "--noinput")
            self.execute(audit.INSTALL)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Server.restart, self.nodes))
        self.mark_logs()
        return self

    def stop(self) -> None:
        """Kills everything but PostgreSQL, which is not the site's own."""
        for node in self.nodes:
            node.kill9()
        for proxy in self.proxies:
            proxy.stop()
        self.valkey.stop()

    def heal(self) -> None:
        """Makes whole what a test left broken, however it ended."""
        for proxy in self.proxies:
            proxy.heal()
        if not self.postgres.is_running:
            self.postgres.restart()
        if self.valkey.is_running:
            self.valkey.resume()
        else:
            self.valkey.start()
        for node in self.nodes:
            if not node.is_running:
                node.kill9()
                node.restart()

    def mark_logs(self) -> None:
        """``log`` begins here."""
        self._marks = {node: node.log_size() for node in self.nodes}

    def log(self, node: Server) -> str:
        """What ``node`` has printed since ``mark_logs``."""
        return node.log_text(self._marks[node])

    def readiness(self, node: Server) -> tuple[int, dict[str, Any]]:
        """The status of /readyz, and what it says: its data, or the detail of its error."""
        answer = httpx.get(f"{node.url}/readyz", trust_env=False, timeout=10)
        body = answer.json()
        found: dict[str, Any] = body["data"] if body["code"] == 0 else body["detail"]
        return answer.status_code, found

    def is_alive(self, node: Server) -> bool:
        """Whether /healthz says so."""
        return httpx.get(f"{node.url}/healthz", trust_env=False, timeout=10).status_code == httpx.codes.OK

    def workers(self, node: Server) -> list[int]:
        """The process ids of the workers of a node that has several."""
        return [pid for pid in children_of(node.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def execute(self, script: str) -> None:
        """Runs statements in the database, straight."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(script.encode())

    def messages(self, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        """(conversation, Seq, MsgId, session, client_msg_id, content, SendTime) of all that is stored in ``rooms``."""
        return self.ask(audit.MESSAGES, list(rooms))

    def memberships(self, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        """(conversation, session, joined_seq, ended_seq) of every membership that ever was in ``rooms``."""
        return self.ask(audit.MEMBERSHIPS, list(rooms))

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, straight from it."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def terminate_back_ends(self) -> int:
        """Ends every connection to the database on the server's side; how many."""
        return int(self.ask(TERMINATE)[0][0])


def _at(url: str, port: int) -> str:
    """``url`` with another port."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl()
