"""What operators and integrators look at: health, readiness, the interface's description, the first page."""

import re
from html.parser import HTMLParser
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.clients import CODES, Api
from tests.contract.test_envelope import ENDPOINTS


async def test_healthz_says_that_the_process_lives(api: Api) -> None:
    answer = await api.request("GET", "/healthz")
    assert answer.status == 200
    assert answer.body["code"] == 0


async def test_readyz_says_that_database_and_layer_answer(api: Api) -> None:
    answer = await api.request("GET", "/readyz")
    assert answer.status == 200
    assert answer.body["code"] == 0


async def test_health_needs_no_token_and_no_listed_address(api: Api) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await api.request("GET", path, token="nonsense")).status == 200


async def description(api: Api) -> dict[str, Any]:
    """The OpenAPI document."""
    answer = await api.request("GET", "/openapi.json")
    assert answer.status == 200
    return answer.body


async def test_the_interface_is_described_in_valid_openapi_3_1(api: Api) -> None:
    document = await description(api)
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


async def test_the_description_names_every_endpoint_and_its_method(api: Api) -> None:
    paths = (await description(api))["paths"]
    for path in ENDPOINTS:
        assert set(paths[path]) & {"get", "post", "put", "delete"} == {"post"}, path
    for path in ("/notify", "/healthz", "/readyz"):
        assert "get" in paths[path], path


async def test_the_description_names_every_code(api: Api) -> None:
    text = (await api.request("GET", "/openapi.json")).content.decode()
    for code in CODES:
        assert str(code) in text, code


class _Assets(HTMLParser):
    """Collects what a browser would fetch for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.addresses.append(named.get("src") or "")
        if tag == "link":
            self.addresses.append(named.get("href") or "")


async def check_page(api: Api, path: str) -> str:
    """The page is HTML, fetches nothing from elsewhere, and what it fetches is there."""
    answer = await api.request("GET", path, follow_redirects=True)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    text = answer.content.decode()
    assets = _Assets()
    assets.feed(text)
    for address in filter(None, assets.addresses):
        assert not re.match(r"(https?:)?//", address), f"{path} fetches {address}"
        if not address.startswith("data:"):
            assert (await api.request("GET", address)).status == 200, address
    assert not re.search(r"@import|url\(['\"]?(https?:)?//", text)
    return text


async def test_the_docs_are_browsable_without_any_outside_asset(api: Api) -> None:
    text = await check_page(api, "/docs")
    assert "/send_msg" in text or "/openapi.json" in text


async def test_the_first_page_tells_a_newcomer_where_to_look(api: Api) -> None:
    assert "/docs" in await check_page(api, "/")
