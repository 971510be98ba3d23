"""The documented settings of a public deployment, as they stand: Django and our own checks have nothing to say."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path

from tests.servers import Server

OPERATIONS = (Path(__file__).resolve().parent.parent.parent / "docs" / "operations.md").read_text()


def documented() -> dict[str, str]:
    """The variables of the chapter."""
    chapter = OPERATIONS.partition("### The settings of a public deployment")[2]
    block = re.findall(r"```bash\n(.*?)```", chapter, flags=re.DOTALL)[0]
    return dict(line.split("=", 1) for line in block.splitlines())


def test_the_documented_production_settings_pass_every_check(start_server: Callable[..., Server]) -> None:
    server = start_server("cluster")
    settings = {
        name: re.sub("<key>", lambda _: secrets.token_urlsafe(48), value) for name, value in documented().items()
    }
    assert {name for name, value in settings.items() if "<" in value} == {"QUICKIM_DATABASE_URL", "QUICKIM_REDIS_URL"}
    # Addresses of this machine instead of the document's; all else is what an operator would copy.
    for name in ("QUICKIM_DATABASE_URL", "QUICKIM_REDIS_URL"):
        settings[name] = server.settings[name]
    server.environment = {
        **{name: value for name, value in server.environment.items() if not name.startswith("QUICKIM_")},
        **settings,
    }
    done = server.manage("check", "--deploy", "--fail-level", "WARNING")
    assert "no issues" in done.stdout
