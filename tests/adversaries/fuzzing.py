"""Raw frames, calls and requests that no client would write, at a server that must neither fail nor forget anybody.

``script/fuzz --minutes 10`` goes on for as long as it is told; tests/adversaries/test_fuzzing.py does it for a moment.
"""

import argparse
import json
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.adversaries.wire import BINARY, CONTINUATION, TEXT, Piece, RawSocket, closing
from tests.clients import fresh, mint
from tests.clients.protocols import PLAIN
from tests.servers import Fleet, Server

QUIET_SECONDS: Final = 0.3
"""After which a request that was not whole is taken for one that gets no answer."""
MEMORY_ROOM: Final = 1.1
WARM_UP_SHARE: Final = 0.2

CALLS: Final = (
    "send_msg",
    "get_conversation_msg_by_range",
    "get_conversation_30msg_before_the_id",
    "get_conversation_30msg_after_the_id",
    "get_conversation_last_30_msg",
    "get_conversation_lastone_msg",
    "get_lastone_msgid",
    "get_conversation_detail",
    "check_joined_conversation",
    "get_joined_conversation",
    "create_conversation",
    "join_conversation",
    "leave_conversation",
    "ticket",
    "ping",
    "refresh",
    "nothing",
)
PATHS: Final = (
    *(f"/{name}" for name in CALLS),
    "/",
    "/docs",
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/metrics",
    "/notify",
    "/notify?protoc=poll",
    "/notify?protoc=sse&since=x",
    "/admin/login/",
    "/static/quickim/quickim.js",
    "/static/../manage.py",
    "/inner/get_token",
    "/inner/revoke_token",
    "/inner/send_msg",
    "/inner/create_conversation",
    "/inner/join_conversation",
    "/inner/kickout_conversation",
    "/inner/get_conversation_members",
    "/inner/set_archive_conversations",
    "/inner/set_delete_conversations",
)

CONVERSATION: Final = "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52"
MSG_ID: Final = "EDCZL-SY32-243Y-VWQ"
TOKEN: Final = b"{token}"
"""Stand for a conversation of the attacker's, a message in it, and his token."""

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from([CONVERSATION, CONVERSATION, MSG_ID, "", "\0", "\ud800"])
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3)
)
_plausible: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("conversation_id", "client_msg_id", "content", "session"), st.just(CONVERSATION) | st.text()),
    **dict.fromkeys(("conversation_ids", "sessions"), st.lists(st.just(CONVERSATION) | st.text(), max_size=5)),
    **dict.fromkeys(("msg_id", "start_msg_id", "end_msg_id"), st.just(MSG_ID)),
    **dict.fromkeys(("conversation_type", "type", "status", "platform", "before"), st.integers(-(2**33), 2**33)),
    **dict.fromkeys(("desc", "is_archive", "is_delete"), st.booleans()),
    "token": st.just(TOKEN.decode()),
}
_fields = st.fixed_dictionaries({}, optional=_plausible)
_params = (
    _fields
    | st.fixed_dictionaries(
        {"conversation_id": st.just(CONVERSATION)},
        optional={name: one | _values for name, one in _plausible.items() if name != "conversation_id"},
    )
    | st.dictionaries(st.sampled_from(sorted(_plausible)) | st.text(max_size=9), _values, max_size=5)
)
calls = st.fixed_dictionaries({"id": _values, "method": st.sampled_from(CALLS) | _values, "params": _params | _values})
"""Calls whose names are right more often than their values."""

_encoded = calls.map(lambda call: json.dumps(call).encode())
pieces = st.lists(
    st.builds(
        Piece,
        opcode=st.sampled_from([TEXT, TEXT, BINARY, CONTINUATION]) | st.integers(0, 15),
        payload=_encoded | st.binary(max_size=300),
        fin=st.booleans() | st.just(True),
        reserved=st.just(0) | st.integers(0, 7),
        masked=st.just(True) | st.booleans(),
        length=st.none() | st.integers(0, 2**63 - 1),
    ),
    max_size=6,
)

_token_of_a_header = st.text("!#$%&'*+-.^_`|~abcXYZ019", min_size=1, max_size=20).map(str.encode)
_header_value = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=60).map(
    lambda t: t.encode("latin-1")
)
_headers = st.lists(
    st.tuples(
        _token_of_a_header
        | st.sampled_from(
            (
                b"Host Origin Authorization Content-Length Transfer-Encoding Content-Type Cookie Connection Upgrade"
                b" Expect Last-Event-ID X-Forwarded-For X-Request-Id traceparent"
            ).split()
        ),
        _header_value
        | st.sampled_from([b"chunked", b"websocket", b"Upgrade", b"100-continue", b"close", b"-1", b"999"]),
    ),
    max_size=5,
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests of HTTP, most of them nearly right."""
    method = draw(
        st.sampled_from([b"POST", b"POST", b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"]) | _token_of_a_header
    )
    path = draw(
        st.sampled_from(PATHS).map(str.encode) | st.binary(min_size=1, max_size=60).map(lambda data: b"/" + data)
    )
    body = draw(_params.map(lambda fields: json.dumps(fields).encode()) | st.binary(max_size=200))
    lines = [b"%s %s HTTP/1.1" % (method, path)]
    if draw(st.booleans() | st.just(True)):
        lines += [b"Host: 127.0.0.1", b"Connection: close", b"Authorization: Bearer " + TOKEN]
        lines.append(b"Content-Length: %d" % len(body))
    lines += [b"%s: %s" % header for header in draw(st.just([]) | _headers)]
    return b"\r\n".join((*lines, b"", body))


class Target:
    """A server, and a session that attacks it."""

    def __init__(self, server: Server) -> None:
        self.port = server.port
        session = fresh("mallory")
        self.token = mint(session, lifetime_seconds=86_400, iat=int(time.time()))
        with httpx.Client(base_url=server.url, trust_env=False, verify=PLAIN) as http:
            answer = http.post("/inner/create_conversation", json={"conversation_type": 1, "sessions": [session]})
            room = answer.json()["data"]["ConversationId"]
            sent = http.post("/inner/send_msg", json={"conversation_id": room, "content": "first"}).json()["data"]
        self._real = {
            CONVERSATION.encode(): room.encode(),
            MSG_ID.encode(): sent["MsgID"].encode(),
            TOKEN: self.token.encode(),
        }
        self.sent: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()

    def take_frames(self, frames: list[Piece]) -> None:
        """Write them and a close; the server must end the connection, and never by an error of its own."""
        self.sent["frames"] += len(frames)
        with RawSocket(self.port, self.token) as raw:
            with suppress(BrokenPipeError, ConnectionResetError):
                raw.send(*(replace(one, payload=self._with_names(one.payload)) for one in frames), closing(1000))
                raw.end()
            while (frame := raw.read()) is not None:
                opcode, payload = frame
                if opcode == TEXT:
                    self._judge(json.loads(payload))
                elif opcode == 8:
                    code = int.from_bytes(payload[:2], "big")
                    self.answers[f"close {code}"] += 1
                    assert code != 1011, frames

    def take_call(self, call: dict[str, Any]) -> None:
        """One call over a WebSocket is answered."""
        self.sent["calls"] += 1
        with RawSocket(self.port, self.token) as raw:
            raw.send(Piece(TEXT, self._with_names(json.dumps(call).encode())))
            self._judge(raw.answer())

    def take_request(self, request: bytes) -> None:
        """Whatever is answered is HTTP, and no error of the server's."""
        self.sent["requests"] += 1
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            data = b""
            with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
                connection.sendall(self._with_names(request))
                connection.settimeout(QUIET_SECONDS)
                while chunk := connection.recv(65_536):
                    data += chunk
        if data:
            status = re.match(rb"HTTP/1\.1 (\d{3}) ", data)
            assert status, (request, data[:200])
            code = int(status[1])
            self.answers[f"HTTP {code}"] += 1
            assert code < 500 or code == 503, (request, data[:500])

    def _with_names(self, data: bytes) -> bytes:
        for stands_for, name in self._real.items():
            data = data.replace(stands_for, name)
        return data

    def _judge(self, answer: dict[str, Any]) -> None:
        if "Event" not in answer:
            self.answers[f"code {answer['code']}"] += 1
            assert answer["code"] != 10002, answer


def attack(target: Target, examples: int) -> None:
    """``examples`` of each kind."""
    patient = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    patient(given(pieces)(target.take_frames))()
    patient(given(calls)(target.take_call))()
    patient(given(requests())(target.take_request))()


def memory_of(server: Server) -> int:
    """Bytes that its processes occupy."""
    return sum(psutil.Process(pid).memory_info().rss for pid in server.processes())


def main() -> int:
    """1 when the server failed, told a crash in its log, or kept growing."""
    parser = argparse.ArgumentParser(prog="script/fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--flavour", default="embedded", choices=["embedded", "cluster", "workers", "daphne"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        fleet = Fleet(Path(home))
        try:
            server = fleet.start(arguments.flavour)
            target = Target(server)
            start = time.monotonic()
            seconds = arguments.minutes * 60
            warm = 0
            while (passed := time.monotonic() - start) < seconds:
                attack(target, 200)
                if not warm and passed > seconds * WARM_UP_SHARE:
                    warm = memory_of(server)
            end = memory_of(server)
            has_crashed = "Traceback (most recent call last)" in server.log_text()
        finally:
            fleet.stop()
    print(f"{passed / 60:.1f} minutes: " + ", ".join(f"{count:,} {kind}" for kind, count in target.sent.items()))
    print("answers: " + ", ".join(f"{count:,} × {kind}" for kind, count in target.answers.most_common()))
    print(f"memory: {warm / 2**20:.1f} MiB after {WARM_UP_SHARE:.0%} of the time, {end / 2**20:.1f} MiB at the end")
    print(f"tracebacks in its log: {'some' if has_crashed else 'none'}")
    return int(has_crashed or (warm > 0 and end > warm * MEMORY_ROOM))


if __name__ == "__main__":
    sys.exit(main())
