"""System checks with ids: what a database, a layer or a deployment must be like for the promises to hold.

Laws: a check only looks. An error means that a promise of the wire contract would be broken; a warning means
that something is weaker, or a door wider open, than it probably should be (most come with `manage.py check --deploy`
only, which asks the databases too). No finding repeats a secret.

| id | finds |
|---|---|
| E001, E002, E003 | SQLite: journal_mode, synchronous, transactions that are not IMMEDIATE |
| E004, E005, E006 | PostgreSQL: fsync, full_page_writes, synchronous_commit is off |
| E007 | a database that cannot be asked |
| E008 | several workers on an in-memory layer |
| E009 | a pool whose connections Django would keep |
| E010 | a database server that is too old |
| E011 | PostgreSQL: transactions that are not READ COMMITTED |
| E012 | PostgreSQL: a MsgId column whose collation is not "C" |
| E013 | PostgreSQL: read-only, as a standby is |
| E014 | PostgreSQL: an encoding that is not UTF8 |
| E015 | SQLite: a file on a network file system |
| E016 | SQLite: several workers |
| E017 | the channel layer of channels_redis that drops messages |
| E018 | sweeps too rare for the watermark |
| E019 | a database that is not migrated |
| W001 | generated secrets |
| W002, W003 | inner endpoints, or X-Forwarded-For, open to the world |
| W004 | secrets that others can read |
| W005, W006, W007 | PostgreSQL: no statement_timeout, lock_timeout, idle_in_transaction_session_timeout |
| W008 | PostgreSQL: settings of the connection that did not arrive, as behind a pooler |
| W009 | PostgreSQL: standbys that commits do not wait for |
| W010 | PostgreSQL: fewer connections than the workers may open |
| W011 | a channel layer whose subscription times out |
| W012 | announcements that cross a network in the clear |
| W013 | keys that can be guessed |
| W014 | debug mode where others can reach it |
| W015, W016 | every host name, every origin is admitted |
| W017 | polls that wait longer than proxies do |
"""

from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.db import connections

from quickim.checks import databases, doors, layer, times
from quickim.checks.tags import QUICKIM
from quickim.variables import is_loopback

__all__ = ["databases", "doors", "layer", "startup_findings", "times"]


def startup_findings() -> list[CheckMessage]:
    """What a server logs when it starts: errors, which must keep it from starting, and warnings.

    The embedded server on the loopback is somebody's own: there only what is wrong in any case counts. Opens a
    connection to each database; the caller closes them.
    """
    configuration = settings.QUICKIM
    is_deployed = configuration.database_url is not None or not is_loopback(configuration.bind_host)
    found = run_checks(tags=[QUICKIM], include_deployment_checks=is_deployed, databases=list(connections))
    return [message for message in found if not message.is_silenced()]
