"""What the shipped nginx does by itself: what it passes on, what it holds back, repeats and refuses."""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.server import serving
from gateway.transports import sse
from quickim.env import MAX_BODY_BYTES, POLL_WAIT_SECONDS
from tests.clients.protocols import PLAIN
from tests.databases import free_port
from tests.deployment.proxy import SHIPPED, Nginx, node_line
from tests.deployment.stand_in import NameServer, StandIn, headers_of

StartNginx = Callable[..., Nginx]

SHIPPED_TEXT = (SHIPPED / "nginx.conf").read_text()


def client(url: str, **options: Any) -> httpx.AsyncClient:
    """A client of nginx."""
    return httpx.AsyncClient(base_url=url, **{"timeout": 30.0, "trust_env": False, "verify": PLAIN, **options})


def refused(answer: httpx.Response, status: int, code: int) -> None:
    """Checks that this is the protocol's envelope, as nginx writes it."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.json().keys() == {"code", "error"}
    assert answer.json()["code"] == code


def test_the_shipped_files_are_valid(tmp_path: Path) -> None:
    assert "successful" in Nginx(tmp_path, [(SHIPPED / "nodes.conf").read_text()]).test()


def test_times_and_sizes_fit_those_of_the_server() -> None:
    def seconds(directive: str, part: str) -> int:
        return int(re.findall(rf"^ *{directive} (\d+)s;", part, flags=re.MULTILINE)[0])

    general, notify = SHIPPED_TEXT.split("location = /notify {")
    silence = seconds("proxy_read_timeout", notify)
    assert silence > 2 * serving.PING_SECONDS
    assert silence > 2 * sse.KEEP_ALIVE_SECONDS
    assert silence > 2 * float(POLL_WAIT_SECONDS.default)
    assert seconds("keepalive_timeout", general) < serving.KEEP_ALIVE_SECONDS
    assert f"client_max_body_size {int(MAX_BODY_BYTES.default) >> 20}m;" in general


@pytest.mark.parametrize("path", ["/send_msg", "/notify"])
async def test_a_node_is_told_who_called_and_what_for(start_nginx: StartNginx, path: str) -> None:
    async with StandIn() as node:
        nginx = start_nginx(node_line(node.port))
        claims = {
            "Host": "im.example.com:8443",
            "X-Forwarded-For": "10.0.0.1",
            "X-Forwarded-Proto": "https",
            "X-Request-Id": "a-request",
            "Authorization": "Bearer a-token",
        }
        async with client(nginx.url, headers=claims) as http:
            seen = headers_of((await http.post(f"{path}?since=a%20b", content=b"{}")).text)
            assert node.heads[0].splitlines()[0] == f"POST {path}?since=a%20b HTTP/1.1"
            assert seen["host"] == "im.example.com:8443"
            assert seen["x-forwarded-for"] == "127.0.0.1"
            assert seen["x-forwarded-proto"] == "http"
            assert seen["x-request-id"] == "a-request"
            assert seen["authorization"] == "Bearer a-token"
            assert "upgrade" not in seen
            assert "connection" not in seen  # kept open
            malformed = headers_of((await http.get(path, headers={"X-Request-Id": "a request"})).text)
            assert re.fullmatch(r"[0-9a-f]{32}", malformed["x-request-id"])
            asked = headers_of((await http.get(path, headers={"Upgrade": "h2c", "Connection": "Upgrade"})).text)
            assert "upgrade" not in asked


async def test_a_slow_body_reaches_no_node_and_hinders_nobody(start_nginx: StartNginx) -> None:
    async with StandIn() as node:
        nginx = start_nginx(node_line(node.port))
        slow = [await asyncio.open_connection("127.0.0.1", nginx.port) for _ in range(50)]
        for _, writer in slow:
            writer.write(b"POST /send_msg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nhal")
            await writer.drain()
        async with client(nginx.url) as http:
            for number in range(20):
                assert (await http.post(f"/send_msg?{number}", content=b"{}")).status_code == httpx.codes.OK
        assert node.bodies == [b"{}"] * 20
        assert len(node.heads) == 20
        for reader, writer in slow:
            writer.write(b"f done")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        assert node.bodies[20:] == [b"half don"] * 50


async def test_a_post_that_was_taken_is_never_repeated(start_nginx: StartNginx) -> None:
    async with StandIn() as first, StandIn() as second:
        nginx = start_nginx(node_line(first.port), node_line(second.port))
        first.hangs_up = second.hangs_up = True
        async with client(nginx.url) as http:
            answer = await http.post("/send_msg", content=b'{"content": "once"}')
        refused(answer, 503, 10002)
        assert answer.headers["retry-after"] == "1"
        assert len(first.bodies + second.bodies) == 1


async def test_a_get_goes_on_to_the_other_node(start_nginx: StartNginx) -> None:
    async with StandIn() as first, StandIn() as second:
        nginx = start_nginx(node_line(first.port), node_line(second.port))
        first.hangs_up = True
        async with client(nginx.url) as http:
            for _ in range(6):
                assert (await http.get("/notify")).status_code == httpx.codes.OK
        assert first.heads
        assert len(second.heads) == 6


async def test_a_post_that_reached_nobody_goes_on_to_the_other_node(start_nginx: StartNginx) -> None:
    async with StandIn() as node:
        nginx = start_nginx(node_line(free_port()), node_line(node.port))
        async with client(nginx.url) as http:
            for number in range(6):
                assert (await http.post("/send_msg", content=b"%d" % number)).status_code == httpx.codes.OK
        assert node.bodies == [b"%d" % number for number in range(6)]


async def test_without_any_node_the_answer_says_try_again(start_nginx: StartNginx) -> None:
    nginx = start_nginx(node_line(free_port()), node_line(free_port()))
    async with client(nginx.url) as http:
        for method, path in (("GET", "/notify"), ("POST", "/send_msg"), ("GET", "/")):
            answer = await http.request(method, path)
            refused(answer, 503, 10002)
            assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        ("GET / HTTP/1.1\r\nHost: a b", 400, 10001),
        ("nonsense", 400, 10001),
        ("GET / HTTP/9.9\r\nHost: a", 400, 10001),
        (f"GET /{'a' * 40_000} HTTP/1.1\r\nHost: a", 400, 10001),
        (f"GET / HTTP/1.1\r\nHost: a\r\nX-Long: {'a' * 40_000}", 400, 10001),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: rot13", 400, 10001),
        ("POST /inner/get_token HTTP/1.1\r\nHost: a\r\nContent-Length: 0", 403, 10003),
        ("TRACE / HTTP/1.1\r\nHost: a", 405, 10005),
        ("POST /send_msg HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000", 413, 10006),
        ("GET /.nginx/invalid HTTP/1.1\r\nHost: a", 404, 10004),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_its_own_refusals_have_the_protocols_envelope(
    start_nginx: StartNginx, request_head: str, status: int, code: int
) -> None:
    nginx = start_nginx(node_line(free_port()))
    reader, writer = await asyncio.open_connection("127.0.0.1", nginx.port)
    writer.write(f"{request_head}\r\nConnection: close\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = headers_of(head)
    body = await reader.readexactly(int(fields["content-length"]))
    writer.close()
    refused(httpx.Response(int(head.split()[1]), headers=fields, content=body), status, code)


async def test_nodes_are_found_by_name_as_they_come_and_go(tmp_path: Path) -> None:
    lines = (SHIPPED / "nodes.conf").read_text()
    async with NameServer() as names, StandIn() as first, StandIn("127.0.0.2", first.port) as second:
        for old, new in {
            "127.0.0.11 ": f"127.0.0.1:{names.port} ",
            "quickim:8088": f"quickim:{first.port}",
            "valid=5s": "valid=1s",
        }.items():
            assert old in lines
            lines = lines.replace(old, new)
        nginx = await asyncio.to_thread(Nginx(tmp_path, [lines]).start)
        try:
            async with client(nginx.url) as http:
                refused(await http.get("/"), 503, 10002)
                for addresses, expected in (
                    (["127.0.0.1"], {"127.0.0.1"}),
                    (["127.0.0.1", "127.0.0.2"], {"127.0.0.1", "127.0.0.2"}),
                    (["127.0.0.2"], {"127.0.0.2"}),
                ):
                    names.addresses = addresses
                    async with asyncio.timeout(15):
                        while await _who_answers(http, first, second) != expected:
                            continue
        finally:
            nginx.stop()


async def _who_answers(http: httpx.AsyncClient, *nodes: StandIn) -> set[str]:
    for node in nodes:
        node.heads.clear()
    for _ in range(10):
        await http.get("/")
    return {node.host for node in nodes if node.heads}


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A directory with a certificate and its key, named as in the shipped file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.now(UTC) - timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "fullchain.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (tmp_path / "privkey.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return tmp_path


async def test_the_lines_for_tls_work(certificate: Path) -> None:
    any_certificate = ssl.create_default_context()
    any_certificate.check_hostname, any_certificate.verify_mode = False, ssl.CERT_NONE
    tls_port = free_port()
    async with StandIn() as node:
        nginx = Nginx(certificate, [node_line(node.port)], tls_port=tls_port).start()
        try:
            async with client(f"https://127.0.0.1:{tls_port}", verify=any_certificate) as http:
                assert headers_of((await http.get("/")).text)["x-forwarded-proto"] == "https"
            async with client(nginx.url) as http:
                answer = await http.get("/notify?since=a", headers={"Host": "im.example.com"})
                assert answer.status_code == httpx.codes.PERMANENT_REDIRECT
                assert answer.headers["location"] == "https://im.example.com/notify?since=a"
        finally:
            nginx.stop()


@pytest.mark.slow  # the shipped patience is ten seconds
def test_a_client_that_says_nothing_is_not_waited_for_long(start_nginx: StartNginx) -> None:
    nginx = start_nginx(node_line(free_port()))
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHo")
        try:
            assert silent.recv(100) == b""
        except ConnectionResetError:
            assert "reset_timedout_connection on;" in SHIPPED_TEXT
