"""The pages for people: nothing from elsewhere, no inline script, complete, and with commands that work."""

import asyncio
import html
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client

from quickim.openapi.document import build_document
from quickim.openapi.markup import to_html
from quickim.openapi.outline import SHARED_OBJECTS, build_outline
from quickim.urls import ENDPOINTS
from tests.clients.protocols import PLAIN
from tests.servers import Server

PAGES = ["/", "/?lang=zh", "/docs"]
READ = [*PAGES, "/openapi.json"]
_BROWSERS_IN_CHINA = ["zh-CN,zh;q=0.9,en;q=0.8", "zh", "zh-Hans"]

# pytest-django fails whatever touches the database here: these pages must not.


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects."""
        self.tags.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        """The values of ``attribute`` on all tags that have it."""
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


def page(client: Client, path: str) -> Page:
    return Page(client.get(path).content.decode())


@pytest.mark.parametrize("path", READ)
def test_a_page_is_sent_under_a_strict_policy(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    policy = response["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'self'"
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert not response.cookies


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_page_is_only_read(path: str, method: str) -> None:
    response = Client(enforce_csrf_checks=True).generic(method, path)
    assert response.status_code == 405
    assert response.json() == {"code": 10005, "error": "method not allowed"}
    assert response["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", READ)
def test_a_page_that_did_not_change_is_not_sent_again(client: Client, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_nothing_inline(client: Client, path: str) -> None:
    for tag, attributes in page(client, path).tags:
        assert tag != "style"
        assert tag != "script" or attributes.get("src"), "an inline script"
        assert not [name for name in attributes if name.startswith("on") or name == "style"], attributes
        assert not (attributes.get("href") or "").startswith("javascript:")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fetches_only_files_of_this_project(client: Client, path: str) -> None:
    fetched = [
        attributes.get("src") or attributes.get("href") or ""
        for tag, attributes in page(client, path).tags
        if tag in ("script", "img", "link")
    ]
    assert fetched
    for address in fetched:
        assert address.startswith("/static/quickim/"), address
        found = finders.find(address.removeprefix("/static/"))
        assert isinstance(found, str), address
        text = Path(found).read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|@import|url\(", text), f"{address} fetches from elsewhere"


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_leads_somewhere(client: Client, path: str) -> None:
    shown = page(client, path)
    ids = shown.values("id")
    assert len(set(ids)) == len(ids)
    for address in shown.values("href"):
        if address.startswith("#"):
            assert address[1:] in ids, address
        elif not address.startswith("/static/"):
            assert address.startswith("/"), f"{address} leads out"
            # Whether the server is ready is its own matter, and another test's.
            assert address == "/readyz" or client.get(address).status_code == 200, address


@pytest.mark.parametrize("preferred", _BROWSERS_IN_CHINA)
def test_the_first_page_speaks_chinese_to_whom_prefers_it(client: Client, preferred: str) -> None:
    response = client.get("/", headers={"Accept-Language": preferred})
    assert 'lang="zh-Hans"' in response.content.decode()
    assert "Accept-Language" in response["Vary"]


@pytest.mark.parametrize("preferred", ["", "en-GB,en", "de", "en,zh;q=0.5", "*", ";;;"])
def test_the_first_page_speaks_english_to_everybody_else(client: Client, preferred: str) -> None:
    text = client.get("/", headers={"Accept-Language": preferred}).content.decode()
    assert '<html lang="en">' in text


def test_the_first_page_can_be_asked_for_the_other_language(client: Client) -> None:
    chinese = client.get("/?lang=zh", headers={"Accept-Language": "en"}).content.decode()
    english = client.get("/?lang=en", headers={"Accept-Language": "zh"}).content.decode()
    assert 'href="/?lang=en"' in chinese
    assert 'href="/?lang=zh"' in english
    assert commands(chinese) == commands(english)


@pytest.mark.parametrize("path", PAGES)
def test_commands_name_the_address_by_which_the_page_was_asked_for(client: Client, path: str) -> None:
    assert "http://localhost:4711" in client.get(path, headers={"Host": "localhost:4711"}).content.decode()


def test_the_docs_show_every_operation_error_and_object(client: Client) -> None:
    document = build_document(settings.QUICKIM)
    text = client.get("/docs").content.decode()
    ids = Page(text).values("id")
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["operationId"] in ids
            assert html.escape(operation["summary"]) in text
        assert f'<span class="path">{path}</span>' in text
    for schema in document["components"]["schemas"].values():
        if "x-http-status" in schema:
            assert f"code-{schema['properties']['code']['const']}" in ids
    assert set(SHARED_OBJECTS) <= set(ids)


def test_the_docs_show_every_field() -> None:
    document = build_document(settings.QUICKIM)
    shown = {row.anchor: row for group in build_outline(document).groups for row in group.operations}
    for endpoint in ENDPOINTS:
        operation = shown[endpoint.name.replace("/", "_")]
        assert [row.name for row in operation.rows] == list(endpoint.body().fields)
        if isinstance(endpoint.answer_example, dict):
            top = [row.name for row in operation.answer if "." not in row.name]
            assert top == list(endpoint.answer_example)
        for error in endpoint.errors:
            assert (error.code, error.status) in [(f.code, f.status) for f in operation.failures]


def test_a_curl_line_of_the_docs_sends_what_the_endpoint_takes() -> None:
    outline = build_outline(build_document(settings.QUICKIM))
    lines = {operation.path: operation.curl for group in outline.groups for operation in group.operations}
    for endpoint in ENDPOINTS:
        words = shlex.split(lines[f"/{endpoint.name}"][0])
        assert words[0] == "curl"
        assert f"$BASE/{endpoint.name}" in words
        assert ("Authorization: Bearer $TOKEN" in words) == (not endpoint.name.startswith("inner/"))
        if "-d" in words:
            endpoint.body().run_validation(json.loads(words[words.index("-d") + 1]))
        else:
            assert "POST" in words


def test_texts_are_escaped_before_they_are_marked_up() -> None:
    assert to_html("a <b> `c<d>` **e&f**") == ("<p>a &lt;b&gt; <code>c&lt;d&gt;</code> <strong>e&amp;f</strong></p>")
    assert to_html("one\n\n- two\n- `3`") == "<p>one</p>\n<ul><li>two</li><li><code>3</code></li></ul>"
    assert to_html("") == ""


def commands(text: str) -> list[str]:
    """The commands that a page shows, as they would be copied."""
    return [html.unescape(command) for command in re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)]


async def test_the_three_steps_of_the_first_page_bring_a_message(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, verify=PLAIN) as http:
        token, listen, speak = commands((await http.get("/?page=landing")).text)
    shell = await asyncio.create_subprocess_exec("bash", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert shell.stdin
    assert shell.stdout
    try:
        async with asyncio.timeout(30):
            shell.stdin.write(f"{token}\n{listen}\n".encode())
            await shell.stdout.readuntil(b": quickim\n")
            shell.stdin.write(f"{speak}\n".encode())
            heard = await shell.stdout.readuntil(b'"Seq":1}\n')
    finally:
        shell.stdin.write(b"kill %1\nexit\n")
        await shell.wait()
    assert b'"Content":"Hello!"' in heard
    assert b'"FromSession":"alice"' in heard
