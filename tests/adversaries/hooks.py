"""What schemathesis is told about this interface: a conversation that exists, and a stranger to it.

Loaded by schemathesis, in a process of its own (tests/adversaries/test_openapi_fuzzing.py).
"""

import os
from pathlib import Path
from typing import Any

import requests
import schemathesis

ROOM = os.environ["ADVERSARIES_ROOM"]
STRANGER = os.environ["ADVERSARIES_STRANGER"]
"""His token. He is in no conversation with those who attack."""

PROBES = Path(os.environ["ADVERSARIES_PROBES"])
"""Told a line for each thing that the stranger tried."""

NOT_A_MEMBER = (90014, 90015)
OF_MEMBERS = (
    "/send_msg",
    "/get_conversation_msg_by_range",
    "/get_conversation_30msg_before_the_id",
    "/get_conversation_30msg_after_the_id",
    "/get_conversation_last_30_msg",
    "/get_lastone_msgid",
    "/get_conversation_detail",
)
LONG_AGO = 1_767_225_600_000_000
LATEST = 2**63 - 1


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """The document's example of a conversation becomes one that exists, and so does every other id of an even length.
    Whose tokens are revoked stays, but not since when: that would soon be everybody's, and the end of it."""
    if (
        isinstance(body, dict)
        and isinstance(body.get("conversation_id"), str)
        and len(body["conversation_id"]) % 2 == 0
    ):
        return {**body, "conversation_id": ROOM}
    if isinstance(body, dict) and type(body.get("before")) is int and LONG_AGO < body["before"] <= LATEST:
        return {**body, "before": LONG_AGO}
    return body


@schemathesis.check
def strangers_are_refused(context: Any, response: Any, case: Any) -> None:
    """object_level_authorization for an interface of POSTs: what a member may, a stranger may not."""
    if case.method != "POST" or case.path not in OF_MEMBERS or response.status_code != 200:
        return
    headers = {"Authorization": f"Bearer {STRANGER}", "Content-Type": "application/json"}
    as_stranger = requests.post(response.request.url, data=response.request.body, headers=headers, timeout=10).json()
    with PROBES.open("a") as probes:
        probes.write(f"{case.path}\n")
    assert as_stranger["code"] in NOT_A_MEMBER, f"a stranger got {as_stranger}"
