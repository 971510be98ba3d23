"""A small deployment that faults may strike: PostgreSQL, Valkey, nodes, and proxies between each node and both.

Law: every part keeps its port, whatever it goes through. ``heal`` makes all of it whole again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from tests.databases import Postgres, Valkey
from tests.faults import audit
from tests.faults.place import Place
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


class Site(Place):
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
        self.database_proxies = [Proxy(postgres.port, CommitSpotter) for _ in range(nodes)]
        self.layer_proxies = [Proxy(self.valkey.port, SubscriptionSpotter) for _ in range(nodes)]
        common = {"QUICKIM_SWEEP_SECONDS": f"{SWEEP_SECONDS}", **(settings or {})}
        servers = []
        for number, (database, layer) in enumerate(zip(self.database_proxies, self.layer_proxies, strict=True)):
            addresses = {
                "QUICKIM_DATABASE_URL": _at(self.database_url, database.port),
                "QUICKIM_REDIS_URL": _at(self.valkey.url, layer.port),
            }
            servers.append(Server(home / f"node-{number}", "cluster", common | addresses, data=home / "data"))
        super().__init__(servers, doors=doors)

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

    def start(self) -> None:
        """See Place."""
        self.valkey.start()
        if not self._is_migrated:
            # The proxies do not run yet.
            prepare(self.nodes[0], self.database_url)
        super().start()

    def stop(self) -> None:
        """Kills everything but PostgreSQL, which is not the site's own."""
        super().stop()
        self.valkey.stop()

    def heal(self) -> None:
        """See Place."""
        if not self.postgres.is_running:
            self.postgres.restart()
        if self.valkey.is_running:
            self.valkey.resume()
        else:
            self.valkey.start()
        super().heal()

    def messages(self, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        """See Place."""
        return self.ask(audit.MESSAGES, list(rooms))

    def memberships(self, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        """See Place."""
        return self.ask(audit.MEMBERSHIPS, list(rooms))

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, straight from it."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def terminate_back_ends(self) -> int:
        """Ends every connection to the database on the server's side; how many."""
        return int(self.ask(TERMINATE)[0][0])


def prepare(node: Server, database_url: str) -> None:
    """Gives a database its tables and the audit, by a process with the settings of ``node``."""
    usual = dict(node.environment)
    node.environment["QUICKIM_DATABASE_URL"] = database_url
    node.manage("migrate", "--noinput")
    node.environment = usual
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(audit.INSTALL.encode())


def _at(url: str, port: int) -> str:
    """``url`` with another port."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl()
