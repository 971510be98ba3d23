"""``manage.py serve``: migrate the embedded database, check, and run uvicorn, in this process or in several workers."""

import logging
import signal
from typing import Any

from django.conf import settings
from django.core.checks import ERROR, CheckMessage
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.utils.module_loading import import_string

from gateway.server.serving import Server, server_config
from gateway.server.workers import supervise

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """See the module."""

    help = "Serve the module (settings: QUICKIM_* variables). Migrates the embedded SQLite database first."
    # They come once the database is known to answer, a line each.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT."""
        configuration = settings.QUICKIM
        if connection.vendor == "sqlite":
            call_command("migrate", interactive=False, verbosity=0)
        else:
            self._refuse_unmigrated()
        self._tell_findings()
        _close(connection)
        self.stdout.write(self._welcome())
        self.stdout.flush()
        config = server_config()
        if configuration.workers > 1:
            host, port = configuration.inner_bind or ("", 0)
            private = server_config(host=host, port=port) if configuration.inner_bind else None
            supervise(config, configuration.workers, private)
            return
        # Nobody is there to begin before this process ends: a restart, if whoever started it wants one.
        signal.signal(signal.SIGHUP, lambda number, frame: signal.raise_signal(signal.SIGTERM))
        server = Server(config)
        server.run()
        if not server.started:
            raise CommandError(f"could not serve at {configuration.bind_host}:{configuration.bind_port}")

    def _refuse_unmigrated(self) -> None:
        # It would log every attempt, beside the one line that says it.
        attempts = logging.getLogger("psycopg.pool")
        attempts.disabled = True
        try:
            executor = MigrationExecutor(connection)
        except (DatabaseError, InterfaceError):
            # The driver's text may hold the address with its password.
            raise CommandError("The database of QUICKIM_DATABASE_URL does not answer.") from None
        finally:
            attempts.disabled = False
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not migrated: run `python manage.py migrate` first.")

    def _tell_findings(self) -> None:
        """What the system checks say about this deployment; an error ends the start."""
        findings: list[CheckMessage] = import_string(settings.STARTUP_FINDINGS)()
        for finding in findings:
            log = logger.error if finding.level >= ERROR else logger.warning
            log("%s: %s %s", finding.id, finding.msg, finding.hint or "")
        if any(finding.level >= ERROR for finding in findings):
            raise CommandError("A promise of the protocol would be broken: see the errors above.")

    def _welcome(self) -> str:
        configuration = settings.QUICKIM
        host = configuration.bind_host if configuration.bind_host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
        address = f"http://{f'[{host}]' if ':' in host else host}:{configuration.bind_port}"
        database = "SQLite" if connection.vendor == "sqlite" else "PostgreSQL"
        layer = "Redis" if configuration.redis_urls else "in memory"
        workers = f", {configuration.workers} workers" if configuration.workers > 1 else ""
        return (
            f"quickim at {address} ({database}, layer {layer}{workers})\n"
            f"  documents  {address}/docs\n"
            f"  a token    python manage.py issue_token --session alice --platform 1\n"
            f"  health     {address}/readyz\n{self._private()}"
        )

    def _private(self) -> str:
        if settings.QUICKIM.inner_bind is None:
            return ""
        host, port = settings.QUICKIM.inner_bind
        return f"  /inner     only at http://{f'[{host}]' if ':' in host else host}:{port}\n"


def _close(database: BaseDatabaseWrapper) -> None:
    """Give up connections that only this command used: the workers make their own."""
    database.close()
    if database.vendor == "postgresql":
        database.close_pool()  # type: ignore[attr-defined]
