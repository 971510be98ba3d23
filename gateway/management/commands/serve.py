"""``manage.py serve``: migrate the embedded database, check, and run uvicorn with the production options."""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from gateway.server.serving import Server, server_config


class Command(BaseCommand):
    """See the module."""

    help = "Serve the module (settings: QUICKIM_* variables). Migrates the embedded SQLite database first."
    requires_system_checks = "__all__"

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT."""
        configuration = settings.QUICKIM
        if connection.vendor == "sqlite":
            call_command("migrate", interactive=False, verbosity=0)
        else:
            self._refuse_unmigrated()
        connection.close()
        if configuration.workers > 1:
            raise CommandError("QUICKIM_WORKERS above 1 is not supported yet by this command.")
        self.stdout.write(self._welcome())
        self.stdout.flush()
        server = Server(server_config())
        server.run()
        if not server.started:
            raise CommandError(f"could not serve at {configuration.bind_host}:{configuration.bind_port}")

    def _refuse_unmigrated(self) -> None:
        try:
            executor = MigrationExecutor(connection)
        except (DatabaseError, InterfaceError):
            # The driver's text may hold the address with its password.
            raise CommandError("The database of QUICKIM_DATABASE_URL does not answer.") from None
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not migrated: run `python manage.py migrate` first.")

    def _welcome(self) -> str:
        configuration = settings.QUICKIM
        host = configuration.bind_host if configuration.bind_host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
        address = f"http://{f'[{host}]' if ':' in host else host}:{configuration.bind_port}"
        database = "SQLite" if connection.vendor == "sqlite" else "PostgreSQL"
        layer = "Redis" if configuration.redis_urls else "in memory"
        return (
            f"quickim at {address} ({database}, layer {layer})\n"
            f"  documents  {address}/docs\n"
            f"  a token    python manage.py issue_token --session alice --platform 1\n"
            f"  health     {address}/readyz\n"
        )
