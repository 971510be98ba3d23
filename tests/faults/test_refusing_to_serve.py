"""``serve`` says in one clear line why it cannot keep its promises, shows no password, and does not start."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.databases import Postgres, Valkey, free_port
from tests.faults.proxy import Proxy
from tests.servers import Server

PASSWORD = "not-to-be-shown"


def refusal(home: Path, settings: Mapping[str, str]) -> str:
    """The one line with which a server of these settings ends, instead of serving."""
    server = Server(home, "cluster", settings)
    done = server.manage("serve", check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert PASSWORD not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def with_password(url: str) -> str:
    """The same address, with another password (nobody asks for it)."""
    return url.replace(":unused@", f":{PASSWORD}@")


def test_several_workers_need_a_database_of_their_own(tmp_path: Path) -> None:
    line = refusal(tmp_path, {"QUICKIM_WORKERS": "2", "QUICKIM_REDIS_URL": Valkey().url})
    assert "QUICKIM_WORKERS" in line
    assert "QUICKIM_DATABASE_URL" in line
    assert "QUICKIM_REDIS_URL" not in line


def test_several_workers_need_a_layer_between_them(tmp_path: Path, postgres: Postgres) -> None:
    line = refusal(tmp_path, {"QUICKIM_WORKERS": "2", "QUICKIM_DATABASE_URL": with_password(postgres.new_database())})
    assert "QUICKIM_WORKERS" in line
    assert "QUICKIM_REDIS_URL" in line
    assert "QUICKIM_DATABASE_URL" not in line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_database_that_is_not_migrated_is_refused(tmp_path: Path, postgres: Postgres, workers: str) -> None:
    settings = {
        "QUICKIM_WORKERS": workers,
        "QUICKIM_DATABASE_URL": with_password(postgres.new_database()),
        "QUICKIM_REDIS_URL": Valkey().url,
    }
    assert "not migrated: run `python manage.py migrate`" in refusal(tmp_path, settings)


def refusing(proxy: Proxy) -> None:
    """Nobody listens there."""
    proxy.refuse()


def silent(proxy: Proxy) -> None:
    """Somebody listens and never answers."""
    proxy.blackhole()


@pytest.mark.parametrize("fault", [refusing, silent])
def test_a_database_that_does_not_answer_is_refused(tmp_path: Path, fault: Callable[[Proxy], None]) -> None:
    proxy = Proxy(free_port()).start()
    fault(proxy)
    try:
        url = f"postgres://quickim:{PASSWORD}@127.0.0.1:{proxy.port}/quickim"
        line = refusal(tmp_path, {"QUICKIM_DATABASE_URL": url, "QUICKIM_REDIS_URL": Valkey().url})
    finally:
        proxy.stop()
    assert "QUICKIM_DATABASE_URL" in line
    assert "does not answer" in line
