"""A real server against the OpenAPI document that it serves: every endpoint, and the failures that can be provoked."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from quickim.rest.edge import ANY_HOST_PATHS
from tests.clients.protocols import PLAIN
from tests.quickim.test_openapi import problems
from tests.servers import Server


class Walk:
    """Calls a server as the document says and holds every answer against it."""

    def __init__(self, server: Server) -> None:
        self.http = httpx.Client(base_url=server.url, trust_env=False, verify=PLAIN, timeout=30)
        self.document = self.http.get("/openapi.json").json()
        self.covered: set[str] = set()
        self.token = ""

    def __call__(self, path: str, status: int = 200, *, method: str = "POST", **options: Any) -> Any:
        """One call, answered with ``status``; returns its data, or the code of the failure."""
        identity = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers = {**identity, **options.pop("headers", {})}
        answer = self.http.request(method, path, headers=headers, **options)
        assert answer.status_code == status, (path, answer.text)
        operation = next(iter(self.document["paths"][path].values()))
        response = operation["responses"][str(status)]
        kind = answer.headers["content-type"].partition(";")[0]
        body = answer.json()
        assert problems(response["content"][kind]["schema"], body, self.document) == [], (path, body)
        for header in response["headers"]:
            schema = self.document["components"]["headers"][header]["schema"]
            value: Any = answer.headers[header]
            assert problems(schema, int(value) if schema.get("type") == "integer" else value, self.document) == []
        if status == 200:
            self.covered.add(path)
        return body["code"] or body["data"]

    def as_example(self, path: str, **fields: Any) -> Any:
        """A call with the document's own example, but for ``fields``."""
        operation = self.document["paths"][path]["post"]
        example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example", {})
        return self(path, json={**example, **fields})


@pytest.fixture
def walk(server: Server) -> Iterator[Walk]:
    walking = Walk(server)
    yield walking
    walking.http.close()


def test_a_server_answers_as_the_document_says(walk: Walk) -> None:
    walk.token = walk.as_example("/inner/get_token")
    room = walk.as_example("/inner/create_conversation")["ConversationId"]
    walk.as_example("/create_conversation")
    before = walk.as_example("/inner/send_msg", conversation_id=room, client_msg_id="first")["MsgID"]
    walk.as_example("/send_msg", conversation_id=room)
    for name in ("before", "after"):
        walk.as_example(f"/get_conversation_30msg_{name}_the_id", conversation_id=room, msg_id=before)
    assert walk.as_example("/get_conversation_msg_by_range", conversation_id=room, start_msg_id="")["Msg"]
    for path in (
        "/check_joined_conversation",
        "/get_conversation_detail",
        "/get_lastone_msgid",
        "/get_conversation_last_30_msg",
        "/get_conversation_lastone_msg",
        "/inner/get_conversation_members",
        "/inner/join_conversation",
        "/join_conversation",
    ):
        walk.as_example(path, conversation_id=room)
    walk.as_example("/get_joined_conversation")
    walk.as_example("/inner/kickout_conversation", conversation_id=room, sessions=["bob", "nobody"])
    walk.as_example("/inner/set_archive_conversations", conversation_ids=[room, "no id"])
    walk.as_example("/inner/set_delete_conversations", conversation_ids=[room, "no id"], is_delete=False)
    walk.as_example("/ticket")
    missed = walk("/notify", method="GET", params={"protoc": "poll", "since": before})
    assert missed["Msg"]
    assert missed["Event"]
    walk.as_example("/leave_conversation", conversation_id=room)
    walk.as_example("/inner/revoke_token")
    for path in ("/healthz", "/readyz"):
        walk(path, method="GET")
    assert set(walk.document["paths"]) - walk.covered == {"/", "/docs", "/metrics", "/openapi.json"}, (
        "pages have their own tests"
    )


def test_a_server_fails_as_the_document_says(walk: Walk) -> None:
    for path, methods in walk.document["paths"].items():
        walk(path, 405, method="PUT")
        method = next(iter(methods)).upper()
        if path not in ANY_HOST_PATHS:
            assert walk(path, 400, method=method, headers={"Host": "elsewhere.example"}) == 10001
        if "post" in methods:
            expected = (400, 10001) if path.startswith("/inner/") else (401, 10101)
            assert walk(path, expected[0], content=b"[]") == expected[1]
    assert walk("/send_msg", 413, content=b" " * 3_000_000) == 10006
    walk.token = walk.as_example("/inner/get_token")
    unknown = {"conversation_id": "no id of ours"}
    assert walk("/get_conversation_detail", 404, json=unknown) == 90014
    assert walk("/create_conversation", 400, json={"conversation_type": -1}) == 90010
    assert walk("/inner/create_conversation", 400, json={"conversation_type": 1}) == 90011
    assert walk("/send_msg", 400, json={**unknown, "content": "a\0b"}) == 10001
    room = walk.as_example("/inner/create_conversation", sessions=["bob"])["ConversationId"]
    assert walk("/send_msg", 403, json={"conversation_id": room, "content": "x"}) == 90015
    walk.as_example("/join_conversation", conversation_id=room)
    walk.as_example("/inner/kickout_conversation", conversation_id=room, sessions=["alice"])
    assert walk("/join_conversation", 403, json={"conversation_id": room}) == 90018
    walk("/inner/set_archive_conversations", json={"conversation_ids": [room], "is_archive": True})
    sent = {"conversation_id": room, "session": "bob", "content": "x", "client_msg_id": "once"}
    assert walk("/inner/send_msg", 409, json=sent) == 90016
    walk("/inner/set_archive_conversations", json={"conversation_ids": [room], "is_archive": False})
    walk("/inner/send_msg", json=sent)
    assert walk("/inner/send_msg", 409, json={**sent, "content": "y"}) == 90019
    assert walk("/notify", 400, method="GET") == 90013
    assert walk("/notify", 400, method="GET", params={"protoc": "sse", "since": "~"}) == 10001
    assert walk("/notify", 401, method="GET", params={"protoc": "poll"}, headers={"Authorization": ""}) == 10101


@pytest.mark.settings(QUICKIM_INNER_API_KEYS="a-key-of-the-tests")
def test_an_inner_endpoint_takes_its_key_as_the_document_says(walk: Walk) -> None:
    schemes = walk.document["components"]["securitySchemes"]
    asked = walk.document["paths"]["/inner/get_token"]["post"]["security"]
    assert asked == [{}, {"inner_key": []}, {"inner_key_bearer": []}]
    body = {"session": "alice", "platform": 1}
    assert walk("/inner/get_token", 403, json=body) == 10003
    walk("/inner/get_token", json=body, headers={schemes["inner_key"]["name"]: "a-key-of-the-tests"})
    walk.token = "a-key-of-the-tests"
    walk("/inner/get_token", json=body)
