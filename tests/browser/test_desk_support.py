"""What somebody of the support staff does on an ordinary day, in a browser, while a member's client is connected."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.browser.desk import screen
from tests.clients import Api, Person, fresh
from tests.desk.visitor import create_login
from tests.servers import Server

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
WIDE = {"viewport": {"width": 1200, "height": 800}}
ZONE = "Asia/Shanghai"

pytestmark = pytest.mark.settings(QUICKIM_ADMIN="1")


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """The HTTP side of the server."""
    async with Api(server.url) as api:
        yield api


async def test_find_read_archive_and_the_client_hears_of_it(server: Server, api: Api) -> None:
    ada, alice, bob = fresh("ada"), Person(api, fresh("alice")), Person(api, fresh("bob"))
    create_login(server, ada)
    room = await api.conversation(alice.session, bob.session)
    await api.conversation(fresh("somebody else"))
    await alice.send(room, "My pineapple has not arrived")
    listener = await bob.listen_ws()
    async with screen(server, timezone_id=ZONE, **WIDE) as desk:
        page = desk.page
        await desk.log_in(ada)

        await page.click("text=Search")
        await page.fill("#word", "pineapple")
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        await page.fill("#since", today)
        await page.fill("#until", today)
        await page.click("main input[type=submit]")
        assert await page.inner_text(".hits mark") == "pineapple"
        await page.click(".hits a")

        assert await page.inner_text(".line.target .said") == "My pineapple has not arrived"
        shown = await page.inner_text(".line.target time")
        moment = await page.get_attribute(".line.target time", "datetime")
        assert moment is not None
        assert f"{(datetime.fromisoformat(moment).hour + 8) % 24:02}:" in shown, "in the viewer's zone"

        await alice.send(room, "<img src=x onerror=alert(1)> still waiting")
        await page.wait_for_selector("text=still waiting")
        assert await page.locator(".line img").count() == 0

        await page.click("text=Archive…")
        await page.fill("#id_reason", "ticket 4711")
        await page.click("form.ask input[type=submit]")
        await page.wait_for_selector("h1 .badge >> text=archived")
        assert "Archived." in await page.inner_text(".messagelist")

    await listener.notice("conversation.archived", room)
    (await bob.call("send_msg", conversation_id=room, content="hello?")).refused(90016)


async def test_a_redaction_reaches_an_open_transcript(server: Server, api: Api) -> None:
    grace, alice = fresh("grace"), Person(api, fresh("alice"))
    create_login(server, grace, "--administrator")
    room = await api.conversation(alice.session)
    sent = await alice.send(room, "a secret")
    async with screen(server, **WIDE) as desk:
        await desk.log_in(grace)
        await desk.open(f"/admin/conversations/{room}/")
        await desk.page.wait_for_selector("text=Live: new messages appear here.")
        async with screen(server, **WIDE) as other:
            await other.log_in(grace)
            await other.open(f"/admin/conversations/{room}/redact/?msg_id={sent['MsgID']}")
            await other.page.fill("#id_reason", "ticket 4711")
            await other.page.click("form.ask input[type=submit]")
            await other.page.wait_for_selector(".line.redacted")
        await desk.page.wait_for_selector(".line.redacted")
        assert "a secret" not in await desk.page.inner_text("body")


async def test_many_are_chosen_at_once(server: Server, api: Api) -> None:
    ada, alice = fresh("ada"), fresh("alice")
    create_login(server, ada)
    rooms = [await api.conversation(alice) for _ in range(3)]
    async with screen(server, **WIDE) as desk:
        await desk.log_in(ada)
        await desk.open(f"/admin/conversations/?q={alice}")
        await desk.page.check("input[data-all]")
        await desk.page.click("button >> text=/^Archive…/")
        await desk.page.fill("#id_reason", "ticket 4711")
        await desk.page.click("form.ask input[type=submit]")
        await desk.page.wait_for_selector("text=done in 3 of 3")
        await desk.open(f"/admin/conversations/?q={alice}&archived=1")
        for room in rooms:
            assert await desk.page.locator(f"th >> text={room}").count() == 1


@pytest.mark.parametrize("options", [PHONE, WIDE, {**WIDE, "color_scheme": "dark"}], ids=["phone", "light", "dark"])
async def test_every_page_fits_the_screen_and_obeys_the_policy(
    server: Server, api: Api, options: dict[str, object]
) -> None:
    grace, alice = fresh("grace"), Person(api, fresh("alice"))
    create_login(server, grace, "--administrator")
    room = await api.conversation(alice.session, *(fresh("user") for _ in range(30)))
    sent = await alice.send(room, "x" * 3_000)
    for number in range(60):
        await alice.send(room, f"message {number} <b>bold</b>")
    base = f"/admin/conversations/{room}/"
    viewport = options["viewport"]
    assert isinstance(viewport, dict)
    async with screen(server, **options) as desk:
        await desk.log_in(grace)
        for path in (
            "/admin/",
            "/admin/conversations/",
            base,
            f"{base}?at=1",
            f"{base}members/",
            f"{base}messages/{sent['MsgID']}/",
            f"{base}kick/",
            f"{base}export/",
            f"{base}trace/?session={alice.session}&msg_id={sent['MsgID']}",
            f"/admin/search/?conversation={room}&word=message",
            "/admin/erase/",
            "/admin/admin/logentry/",
        ):
            await desk.open(path)
            assert await desk.page.locator("h1").count() >= 1
            assert await desk.width() <= viewport["width"], path
