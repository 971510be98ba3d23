"""schemathesis by our own OpenAPI document: every check it has, with two identities and a stranger."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.clients import fresh, mint
from tests.clients.protocols import PLAIN
from tests.servers import ROOT, Server

ENOUGH = 500
PATHS_TRIED = 6

CONFIGURATION = """
[auth.wfc]
path = "{identities}"
peers = ["alice", "bob"]

[checks]
# A stream or a poll takes what it takes; and a conversation, a MsgId or a client_msg_id that fits the schema need not
# exist, or be free.
positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "429", "101"]

[[operations]]
include-path = "/notify"
# An event stream is read for so long; a poll waits for a second.
request-timeout = 10
# A malformed `since` is not looked at where Last-Event-ID overrides it.
checks.negative_data_rejection.enabled = false
"""


@pytest.mark.slow
@pytest.mark.settings(QUICKIM_ADDRESS_RATE="off", QUICKIM_ADDRESS_HANDSHAKE_RATE="off")
def test_schemathesis_finds_nothing(server: Server, tmp_path: Path) -> None:
    names = {name: fresh(name) for name in ("alice", "bob")}
    with httpx.Client(base_url=server.url, trust_env=False, verify=PLAIN) as http:
        created = http.post("/inner/create_conversation", json={"conversation_type": 1, "sessions": [*names.values()]})
    room = created.json()["data"]["ConversationId"]
    identities = tmp_path / "identities.json"
    # With a time: a token without one is as old as can be, and gone with the first revocation that is tried.
    tokens = {name: mint(session, iat=int(time.time())) for name, session in names.items()}
    entries = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}
        for name, token in tokens.items()
    ]
    probes = tmp_path / "probes"
    identities.write_text(json.dumps({"auth": entries}))
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(identities=identities))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run"]
    command += [f"{server.url}/openapi.json", "--checks", "all", "--max-examples", "15", "--request-timeout", "30"]
    # The same cases every time: one that is found by chance would be blamed on whatever was changed last.
    command += ["--seed", os.environ.get("QUICKIM_TEST_SEED", "1")]
    # On a busy machine, ten seconds may pass.
    command += ["--request-retries", "2"]
    command += ["--continue-on-failure", "--no-color", "--warnings", "off"]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.adversaries.hooks",
        "ADVERSARIES_ROOM": room,
        "ADVERSARIES_STRANGER": mint(fresh("mallory"), iat=int(time.time())),
        "ADVERSARIES_PROBES": str(probes),
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-4_000:]
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None
    assert int(generated[1]) > ENOUGH
    # Their tokens were good until the end, and the stranger tried what they could.
    with httpx.Client(base_url=server.url, trust_env=False, verify=PLAIN) as http:
        for token in tokens.values():
            headers = {"Authorization": f"Bearer {token}"}
            assert http.post("/get_joined_conversation", headers=headers).json()["code"] == 0
    assert len(set(probes.read_text().split())) >= PATHS_TRIED
