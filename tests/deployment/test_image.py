"""The image: its Dockerfile is sound, and what it copies is what the server needs and nothing else."""

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from quickim.env import VARIABLES
from tests.databases import free_port, holds_within
from tests.servers import ROOT

DOCKERFILE = ROOT / "Dockerfile"

INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in their order: each one's word, and all that follows it."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in found]


def copied() -> list[Path]:
    """The files of this project that `COPY . .` puts into the image: what .dockerignore lets through."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name and not _ignored(name) and (ROOT / name).is_file()]


def _ignored(name: str) -> bool:
    """Docker's rule: the last pattern that fits decides; one that fits a folder fits all in it."""
    ignored = False
    for pattern in (ROOT / ".dockerignore").read_text().splitlines():
        if not pattern or pattern.startswith("#"):
            continue
        bare = pattern.removeprefix("!")
        parts = name.split("/")
        prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        if bare.startswith("**/"):
            fits = any(fnmatch(part, bare.removeprefix("**/")) for part in parts)
        else:
            fits = any(bare == prefix or (bare == "*" and "/" not in prefix) for prefix in prefixes)
        if fits:
            ignored = not pattern.startswith("!")
    return ignored


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_two_stages_and_not_as_root() -> None:
    words = [word for word, _ in instructions()]
    assert set(words) <= INSTRUCTIONS
    assert words.count("FROM") == 2
    last_stage = dict(instructions()[len(words) - words[::-1].index("FROM") - 1 :])
    assert last_stage["USER"] == "10001:10001"
    assert last_stage["CMD"] == '["python", "manage.py", "serve"]'
    assert "/healthz" in last_stage["HEALTHCHECK"]
    assert words.index("USER") < words.index("HEALTHCHECK") < words.index("CMD")


def test_it_sets_no_variable_that_does_not_exist_and_no_secret() -> None:
    set_here = re.findall(r"\b(QUICKIM_\w+)=(\S+)", dict(instructions())["ENV"])
    by_name = {variable.name: variable for variable in VARIABLES}
    assert {name for name, _ in set_here} == {"QUICKIM_BIND", "QUICKIM_DATA_DIR"}
    for name, value in set_here:
        by_name[name].parse(value)


def test_only_what_the_server_runs_on_goes_in() -> None:
    tops = {path.relative_to(ROOT).parts[0] for path in copied()}
    assert tops == {
        "manage.py",
        "requirements.txt",
        "LICENSE",
        "quickim",
        "conversations",
        "messaging",
        "gateway",
        "templates",
    }


@pytest.mark.slow
def test_what_it_copies_serves_by_itself(tmp_path: Path) -> None:
    app, data = tmp_path / "app", tmp_path / "data"
    for path in copied():
        target = app / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    port = free_port()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "QUICKIM_BIND": f"127.0.0.1:{port}",
        "QUICKIM_DATA_DIR": str(data),
    }
    server = subprocess.Popen(["python", "manage.py", "serve"], cwd=app, env=environment)
    try:
        assert holds_within(30, lambda: _is_healthy(environment))
        assert sorted(path.name for path in data.iterdir() if path.suffix == "") == ["jwt_key", "secret_key"]
        server.terminate()
        assert server.wait(20) == 0
        assert not _is_healthy(environment)
    finally:
        server.kill()
        server.wait()


def _is_healthy(environment: dict[str, str]) -> bool:
    """What the image's own health check says, word for word."""
    command: list[str] = json.loads(dict(instructions())["HEALTHCHECK"].partition("CMD ")[2])
    return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 0
