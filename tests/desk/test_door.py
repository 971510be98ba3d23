"""Coming in: logins, cookies, guesses, and a desk that is switched off."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from gateway.desk import site
from quickim.rest.rates import Buckets
from tests.clients import Api
from tests.databases import holds_within
from tests.desk.conftest import login
from tests.desk.visitor import PASSWORD, Visitor, create_login
from tests.servers import Server


@pytest.fixture(autouse=True)
def _full_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "_logins", Buckets())
    # Checking a password takes as long as a token takes to flow in.
    monkeypatch.setattr(site, "ADDRESS_RATE", site.ADDRESS_RATE._replace(per_second=0.001))
    monkeypatch.setattr(site, "NAME_RATE", site.NAME_RATE._replace(per_second=0.001))


def test_who_guesses_has_to_wait(db: None) -> None:
    login("ada")
    fields = {"username": "ada", "password": "wrong"}
    statuses = [Client().post("/admin/login/", fields).status_code for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    answer = Client().post("/admin/login/", fields)
    assert int(answer["Retry-After"]) >= 1
    assert "ada" not in answer.text


def test_guesses_from_many_places_are_counted_by_name(db: None) -> None:
    statuses = [
        Client().post("/admin/login/", {"username": "ada", "password": "x"}, REMOTE_ADDR=f"10.0.0.{n}").status_code
        for n in range(31)
    ]
    assert statuses == [200] * 30 + [429]


@pytest.mark.parametrize("is_secure", [True, False])
def test_cookies_of_tls_stay_on_tls_and_all_stay_at_the_desk(db: None, is_secure: bool) -> None:
    answer = Client().get("/admin/login/", secure=is_secure)
    (cookie,) = answer.cookies.values()
    assert bool(cookie["secure"]) is is_secure
    assert cookie["path"] == "/admin/"
    assert cookie["httponly"]
    assert answer["Content-Security-Policy"].startswith("default-src 'self'")
    assert answer["X-Frame-Options"] == "DENY"
    assert "no-store" in answer["Cache-Control"]


def test_a_login_that_is_no_staff_stays_outside(db: None) -> None:
    client = login("ada")
    User.objects.update(is_staff=False)
    assert client.get("/admin/conversations/").status_code == 302


@pytest.mark.settings(QUICKIM_ADMIN="0")
async def test_switched_off_it_is_a_path_like_any_unknown_one(server: Server) -> None:
    async with Api(server.url) as api:
        for path in ("/admin", "/admin/", "/admin/login/", "/admin/conversations/", "/admin/live"):
            (await api.request("GET", path)).refused(10004)


async def test_it_is_there_on_the_loopback_and_its_address_needs_no_slash(server: Server) -> None:
    async with Visitor(server) as visitor:
        answer = await visitor.get("/admin")
        assert answer.headers["Location"] == "/admin/"
        create_login(server, "ada")
        assert (await visitor.log_in("ada", "wrong")).status_code == 200
        assert (await visitor.log_in("ada")).status_code == 302
        assert PASSWORD not in server.log_text()


async def test_endpoints_meet_no_cookies_and_no_middleware(server: Server) -> None:
    async with Api(server.url) as api:
        answer = await api.inner("create_conversation", conversation_type=1, sessions=["alice"])
        assert "set-cookie" not in answer.headers
        assert "x-frame-options" not in answer.headers


async def test_a_page_leaves_no_connection_behind(server: Server) -> None:
    create_login(server, "eve")
    async with Visitor(server) as visitor:
        await visitor.log_in("eve")
        for _ in range(3):
            await visitor.get("/admin/conversations/")
        before = _open_files(server)
        for _ in range(30):
            assert (await visitor.get("/admin/conversations/")).status_code == 200
        assert holds_within(10, lambda: _open_files(server) <= before + 6)


def _open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
