"""Files that only the server's own user may read: the data directory, the generated secrets, the SQLite file.

Law: a secret is written once, by whoever comes first; everybody who starts at the same moment reads that one.
A file is complete from the moment it has its name.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def make_private_directory(path: Path) -> None:
    """Creates `path` for this user only; one that exists is left as it is (it may be a mounted volume)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def make_private_file(path: Path) -> None:
    """Creates an empty file with mode 0600 unless there is one; SQLite gives -wal and -shm the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def read_or_create_secret(path: Path, generate: Callable[[], str]) -> str:
    """The text of `path`, without white space around it; a missing file is first filled with `generate()`.

    Raises OSError or UnicodeDecodeError when the file can be neither read nor created.
    """
    if not path.exists():
        _create_secret(path, generate())
    return path.read_text(encoding="utf-8").strip()


def _create_secret(path: Path, text: str) -> None:
    # mkstemp gives mode 0600.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a rename, a link fails when another process has just won.
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        os.unlink(temporary)
