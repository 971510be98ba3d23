"""What somebody of the support staff does on an ordinary day, in a browser, while a member's client is connected."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.browser.desk import Screen, barriers, screen
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


async def choose(desk: Screen, deed: str) -> None:
    """Does it from a conversation's page, with a reason."""
    await desk.page.click(f"text={deed}…")
    await desk.page.fill("#id_reason", "ticket 4711")
    await desk.page.click("form.ask input[type=submit]")


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

        await choose(desk, "Archive")
        await page.wait_for_selector("h1 .badge >> text=archived")
        assert "Archived." in await page.inner_text(".messagelist")

    await listener.notice("conversation.archived", room)
    (await bob.call("send_msg", conversation_id=room, content="hello?")).refused(90016)
    grace = fresh("grace")
    create_login(server, grace, "--administrator")
    async with screen(server, **WIDE) as desk:
        await desk.log_in(grace)
        await desk.open(f"/admin/admin/logentry/?q={ada}")
        assert await desk.page.locator(".field-change_message").all_inner_texts() == [
            "Archive. Reason: ticket 4711",
            "Read the transcript.",
            f"Searched messages of {today} to {today}.",
        ]
        assert set(await desk.page.locator(".field-user").all_inner_texts()) == {ada}


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


async def test_an_administrator_removes_a_member_and_exports(server: Server, api: Api) -> None:
    grace, alice, bob = fresh("grace"), Person(api, fresh("alice")), Person(api, fresh("bob"))
    create_login(server, grace, "--administrator")
    room = await api.conversation(alice.session, bob.session)
    await alice.send(room, "=1+1")
    listener = await bob.listen_ws()
    async with screen(server, **WIDE) as desk:
        page = desk.page
        await desk.log_in(grace)
        await desk.open(f"/admin/conversations/{room}/")
        await page.locator(".members li", has_text=bob.session).get_by_text("Remove…").click()
        assert await page.input_value("#id_session") == bob.session
        await page.fill("#id_reason", "ticket 4711")
        await page.click("form.ask input[type=submit]")
        await page.wait_for_selector(".members li.state3")
        await listener.notice("conversation.left", room)
        (await bob.call("send_msg", conversation_id=room, content="hello?")).refused(90015)

        await page.click("text=Export…")
        await page.select_option("#id_form", "csv")
        await page.fill("#id_reason", "a request by the person")
        async with page.expect_download() as downloading:
            await page.click("form.ask input[type=submit]")
        path = await (await downloading.value).path()
        ((*_, content, _),) = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))[1:]
        assert content == "'=1+1"

        await desk.open(f"/admin/admin/logentry/?q={room}")
        (export, kick, reading) = await page.locator(".field-change_message").all_inner_texts()
        assert export == "Exported the messages 1 to 1 as csv. Reason: a request by the person"
        assert kick == f"Remove a member: {bob.session}. Reason: ticket 4711"
        assert reading == "Read the transcript."
        assert set(await page.locator(".field-user").all_inner_texts()) == {grace}


async def test_support_may_not_do_what_it_may_not(server: Server, api: Api) -> None:
    ada, alice = fresh("ada"), Person(api, fresh("alice"))
    create_login(server, ada)
    room = await api.conversation(alice.session)
    sent = await alice.send(room, "hello")
    base = f"/admin/conversations/{room}/"
    async with screen(server, **WIDE) as desk:
        page = desk.page
        await desk.log_in(ada)
        assert await page.locator(".desk-nav a").all_inner_texts() == ["Conversations", "Search"]
        await desk.open(base)
        deeds = await page.locator(".deed-list a").all_inner_texts()
        assert deeds == ["Archive…", "Remove a member…", "Trace a delivery"]
        assert await page.locator("text=/Redact|Erase|Export/").count() == 0
        for path in (
            *(f"{base}{deed}/" for deed in ("add", "send", "delete", "restore", "export")),
            f"{base}redact/?msg_id={sent['MsgID']}",
            "/admin/erase/",
            "/admin/admin/logentry/",
            "/admin/auth/user/",
            "/admin/auth/group/1/change/",
        ):
            await desk.open(path)
            assert await page.inner_text("h1") == "Not allowed", path
            assert await page.locator("main form").count() == 0
        # The console tells of each.
        desk.problems[:] = [problem for problem in desk.problems if "status of 403" not in problem]
    (kept,) = await alice.history(room)
    assert kept["Content"] == "hello"


async def test_a_double_click_sends_once(server: Server, api: Api) -> None:
    grace, alice = fresh("grace"), Person(api, fresh("alice"))
    create_login(server, grace, "--administrator")
    room = await api.conversation(alice.session)
    listener = await alice.listen_ws()
    async with screen(server, **WIDE) as desk:
        await desk.log_in(grace)
        await desk.open(f"/admin/conversations/{room}/send/")
        await desk.page.fill("#id_content", "we look into it")
        await desk.page.fill("#id_reason", "ticket 4711")
        await desk.page.dblclick("form.ask input[type=submit]")
        await desk.page.wait_for_selector(".line.system >> text=we look into it")
        await desk.open(f"/admin/admin/logentry/?q={room}")
        whats = await desk.page.locator(".field-change_message").all_inner_texts()
        assert len([what for what in whats if what.startswith("Send as the system")]) == 1
    await listener.message()
    assert [message["Content"] for message in await alice.history(room)] == ["we look into it"]


@pytest.mark.parametrize("options", [PHONE, WIDE, {**WIDE, "color_scheme": "dark"}], ids=["phone", "light", "dark"])
async def test_every_page_fits_the_screen_obeys_the_policy_and_bars_nobody(
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
    barred = {}
    async with screen(server, **options) as desk:
        await desk.open("/admin/login/")
        assert await barriers(desk.page) == []
        await desk.log_in(grace)
        for path in (
            "/admin/",
            "/admin/conversations/",
            f"/admin/conversations/?q={alice.session}",
            "/admin/conversations/?type=x",
            base,
            f"{base}?at=1",
            f"{base}members/",
            f"{base}messages/{sent['MsgID']}/",
            *(f"{base}{deed}/" for deed in ("archive", "add", "kick", "send", "redact", "delete")),
            f"{base}export/",
            f"{base}trace/",
            f"{base}trace/?session={alice.session}&msg_id={sent['MsgID']}",
            "/admin/search/",
            f"/admin/search/?conversation={room}&word=message",
            "/admin/search/?word=nowhere",
            f"/admin/erase/?session={alice.session}",
            "/admin/admin/logentry/",
            f"/admin/admin/logentry/?q={room}",
            "/admin/password_change/",
            "/admin/auth/user/",
            "/admin/auth/user/add/",
            "/admin/auth/user/1/change/",
            "/admin/auth/group/",
            "/admin/auth/group/1/change/",
            "/admin/nonsense/",
        ):
            await desk.open(path)
            assert await desk.page.locator("h1").count() >= 1
            assert await desk.width() <= viewport["width"], path
            count = len(desk.problems)
            if found := await barriers(desk.page):
                barred[path] = found
            # The policy refuses the tool its own styles.
            del desk.problems[count:]
        assert barred == {}, str(barred)
        # The console tells of those that are refused.
        desk.problems[:] = [problem for problem in desk.problems if "the server responded with" not in problem]
