"""What SQLite must be like: durable, and on a disk of this machine."""

from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.db.backends.base.base import BaseDatabaseWrapper

SYNCHRONOUS_FULL = 2
"""`PRAGMA synchronous` answers 0 OFF, 1 NORMAL, 2 FULL, 3 EXTRA."""

NETWORK_FILE_SYSTEMS = frozenset(
    [
        "afs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    ]
)
MOUNTS = Path("/proc/self/mountinfo")


def check_sqlite(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """All of it. Raises the database's errors."""
    found: list[CheckMessage] = []
    journal_mode, synchronous = (
        _ask(connection, "PRAGMA journal_mode"),
        int(_ask(connection, "PRAGMA synchronous")),
    )
    if journal_mode != "wal":
        found.append(
            Error(
                f"SQLite's journal_mode is {journal_mode}: readers and the writer would wait for each other.",
                hint="It must be WAL, which needs a local disk (no network file system).",
                id="quickim.E001",
            )
        )
    if synchronous < SYNCHRONOUS_FULL:
        found.append(
            Error(
                f"SQLite's synchronous is {synchronous}: a power cut may take acknowledged messages with it.",
                hint="It must be FULL (2) or EXTRA (3).",
                id="quickim.E002",
            )
        )
    if connection.settings_dict["OPTIONS"].get("transaction_mode") != "IMMEDIATE":
        found.append(
            Error(
                "SQLite's transactions are not IMMEDIATE: one that reads first may fail on its write.",
                hint="DATABASES[…]['OPTIONS']['transaction_mode'] must be 'IMMEDIATE'.",
                id="quickim.E003",
            )
        )
    kind = file_system(Path(connection.settings_dict["NAME"]), _mounts())
    if kind in NETWORK_FILE_SYSTEMS:
        found.append(
            Error(
                f"SQLite's file lies on a network file system ({kind}): its locks and its WAL do not work there.",
                hint="QUICKIM_DATA_DIR must be on a local disk; several machines need PostgreSQL.",
                id="quickim.E015",
            )
        )
    if settings.QUICKIM.workers > 1:
        found.append(
            Error(
                "Several workers share SQLite, which has one writer at a time and no clock for all of them.",
                hint="Set QUICKIM_DATABASE_URL, or QUICKIM_WORKERS=1.",
                id="quickim.E016",
            )
        )
    return found


def file_system(path: Path, mounts: str) -> str:
    """The type of the file system on which ``path`` lies, by Linux' ``mountinfo``; "" when that does not tell."""
    resolved = path.resolve()
    kind, longest = "", -1
    for line in mounts.splitlines():
        place, _, source = line.partition(" - ")
        # Spaces and the like stand there as octal escapes.
        mount = Path(place.split()[4].encode().decode("unicode_escape"))
        # A later mount on the same place hides the earlier one.
        if resolved.is_relative_to(mount) and len(mount.parts) >= longest:
            kind, longest = source.split()[0], len(mount.parts)
    return kind


def _mounts() -> str:
    try:
        return MOUNTS.read_text()
    except OSError:
        return ""


def _ask(connection: BaseDatabaseWrapper, statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
    return str(row[0]) if row else ""
