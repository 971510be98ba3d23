"""The playground's page as it is sent: by whom it is seen, its languages, and nothing from elsewhere."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from tests.quickim.test_pages import Page

HERE = {"Host": "localhost:4711"}
COMMENT = re.compile(r"\s*(//|/?\*)")
FORBIDDEN = re.compile(r"https?://(?!localhost\")|@import|url\(|innerHTML|insertAdjacentHTML|\beval\(")
IMPORT = re.compile(r'(?:from|import) "([^"]+)"')


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8088", "[::1]:8088"])
def test_a_visitor_at_this_machine_sees_it(client: Client, host: str) -> None:
    assert "playground.js" in client.get("/", headers={"Host": host}).content.decode()
    assert "playground.js" not in client.get("/?page=landing", headers={"Host": host}).content.decode()


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("203.0.113.9", HERE),
        ("127.0.0.1", {"Host": "testserver"}),
        ("127.0.0.1", HERE | {"X-Forwarded-For": "127.0.0.1"}),
    ],
    ids=["another machine", "another name", "a proxy"],
)
def test_others_see_what_runs_here(client: Client, address: str, headers: dict[str, str]) -> None:
    text = client.get("/", headers=headers, REMOTE_ADDR=address).content.decode()
    assert "playground" not in text.lower()
    assert 'href="/docs"' in text


@pytest.mark.parametrize(("language", "other"), [("en", "zh"), ("zh", "en")])
def test_it_speaks_both_languages_and_leads_from_one_to_the_other(client: Client, language: str, other: str) -> None:
    by_header = client.get("/", headers=HERE | {"Accept-Language": language}).content.decode()
    by_link = client.get(f"/?lang={language}", headers=HERE | {"Accept-Language": other}).content.decode()
    assert by_header == by_link
    assert f'href="/?lang={other}"' in by_link
    has_chinese = len(re.findall(r"[\u4e00-\u9fff]", by_link)) > len("中文")
    assert has_chinese is (language == "zh")


@pytest.mark.parametrize("path", ["/?lang=en", "/?lang=zh"])
def test_it_runs_nothing_inline_and_fetches_only_files_of_this_project(client: Client, path: str) -> None:
    response = client.get(path, headers=HERE)
    assert response["Content-Security-Policy"].startswith("default-src 'self';")
    assert not response.cookies
    page = Page(response.content.decode())
    for tag, attributes in page.tags:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    waiting = [address for address in (*page.values("src"), *page.values("href")) if address.startswith("/static/")]
    seen: set[Path] = set()
    while waiting:
        found = finders.find(waiting.pop().removeprefix("/static/"))
        assert isinstance(found, str)
        if (file := Path(found).resolve()) in seen:
            continue
        seen.add(file)
        lines = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "").splitlines()
        text = "\n".join(line for line in lines if not COMMENT.match(line))
        assert not FORBIDDEN.search(text), file
        static = file.parents[1] if file.parent.name == "playground" else None
        if static and file.suffix == ".js":
            names = [(file.parent / name).resolve().relative_to(static) for name in IMPORT.findall(text)]
            waiting += [f"/static/{name}" for name in names]
    assert {"playground.js", "pane.js", "quickim.js", "playground.css"} <= {file.name for file in seen}


def test_links_lead_somewhere_and_labels_name_fields_that_exist(client: Client) -> None:
    page = Page(client.get("/?lang=en", headers=HERE).content.decode())
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    assert set(page.values("for")) <= set(ids)
    for address in page.values("href"):
        if address.startswith("#"):
            assert address[1:] in ids
        elif not address.startswith("/static/"):
            assert client.get(address, headers=HERE).status_code == 200, address


def test_the_landing_page_leads_back(client: Client) -> None:
    text = client.get("/?page=landing&lang=en", headers=HERE).content.decode()
    assert 'href="/?lang=en"' in text
    assert 'href="/?page=landing&amp;lang=zh"' in text
