"""What reading the environment leaves on disk: the data directory and the secrets that nobody gave."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from quickim.env import JwtKey, read_configuration
from tests.quickim.test_env import KEY, OTHER_KEY, configure, problems


def test_secrets_are_generated_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    first = read_configuration({}, tmp_path)
    assert read_configuration({}, tmp_path) == first
    assert len(first.secret_key) >= 50
    assert len(first.jwt_keys[0].key.encode()) >= 32
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "var").iterdir()}
    assert modes == {"secret_key": 0o600, "jwt_key": 0o600, "quickim.sqlite3": 0o600}
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_another_data_directory_gets_other_secrets(tmp_path: Path) -> None:
    one, other = (configure(tmp_path, DATA_DIR=name) for name in ("one", "other"))
    assert one.secret_key != other.secret_key
    assert one.jwt_keys != other.jwt_keys


def test_servers_that_start_at_once_agree_on_the_secrets(tmp_path: Path) -> None:
    starters = 8
    for attempt in range(10):
        barrier = Barrier(starters)
        base_dir = tmp_path / str(attempt)

        def start(base_dir: Path = base_dir, barrier: Barrier = barrier) -> tuple[str, tuple[JwtKey, ...]]:
            barrier.wait()
            configuration = read_configuration({}, base_dir)
            return configuration.secret_key, configuration.jwt_keys

        with ThreadPoolExecutor(starters) as pool:
            seen = {future.result() for future in [pool.submit(start) for _ in range(starters)]}
        assert len(seen) == 1
        assert {path.name for path in (base_dir / "var").iterdir()} == {
            "secret_key",
            "jwt_key",
            "quickim.sqlite3",
        }


def test_nothing_is_written_when_everything_is_given(tmp_path: Path) -> None:
    configuration = configure(
        tmp_path,
        SECRET_KEY=OTHER_KEY,
        JWT_KEYS=f"a:{KEY}",
        DATABASE_URL="postgres:///quickim?host=/run/postgresql",
    )
    assert configuration.generated == frozenset()
    assert list(tmp_path.iterdir()) == []


def test_generated_keys_can_be_rotated_in_their_file(tmp_path: Path) -> None:
    read_configuration({}, tmp_path)
    (tmp_path / "var" / "jwt_key").write_text(f"new:{KEY},old:{OTHER_KEY}\n")
    assert [key.kid for key in read_configuration({}, tmp_path).jwt_keys] == ["new", "old"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"\xff\xfe", "is no text"), (b"kid:short", "must have keys of at least")],
)
def test_a_spoilt_secret_file_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    read_configuration({}, tmp_path)
    path = tmp_path / "var" / "jwt_key"
    path.write_bytes(content)
    (line,) = problems(tmp_path, {})
    assert line.startswith(f"{path} {reason}")
    assert "set QUICKIM_JWT_KEYS" in line


def test_a_data_directory_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (line,) = problems(tmp_path, {"QUICKIM_DATA_DIR": "file/var"})
    assert line.startswith("QUICKIM_DATA_DIR must be a directory that can be written to: ")
