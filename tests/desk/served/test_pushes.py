"""The desk of a real server: what support does reaches members at once, and a transcript grows while it is open."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.clients import Api, Person, fresh
from tests.desk.visitor import Visitor, create_login
from tests.servers import Server

WHY = "ticket 4711"
EVERYWHERE = pytest.mark.parametrize("server", ["embedded", "nodes"], indirect=True)
EMBEDDED = pytest.mark.parametrize("server", ["embedded"], indirect=True)

pytestmark = pytest.mark.settings(QUICKIM_ADMIN="1")


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """The HTTP side of the server; of several nodes, the one that the desk is not visited at."""
    async with Api(server.nodes[-1].url) as api:
        yield api


@pytest_asyncio.fixture
async def grace(server: Server) -> AsyncIterator[Visitor]:
    """An administrator at the desk."""
    name = fresh("grace")
    create_login(server, name, "--administrator")
    async with Visitor(server) as visitor:
        assert (await visitor.log_in(name)).status_code == 302
        yield visitor


@pytest_asyncio.fixture
async def ada(server: Server) -> AsyncIterator[tuple[Visitor, str]]:
    """Somebody of the support staff at the desk, and her name."""
    name = fresh("ada")
    create_login(server, name)
    async with Visitor(server) as visitor:
        assert (await visitor.log_in(name)).status_code == 302
        yield visitor, name


@EVERYWHERE
@pytest.mark.parametrize("protoc", ["ws", "sse", "poll"])
async def test_members_hear_of_what_support_does(api: Api, grace: Visitor, protoc: str) -> None:
    alice, bob = Person(api, fresh("alice")), Person(api, fresh("bob"))
    room = await api.conversation(alice.session, bob.session)
    sent = await alice.send(room, "a secret")
    listener = await bob.listen(protoc)  # type: ignore[arg-type]
    page = f"/admin/conversations/{room}"

    assert (await grace.submit(f"{page}/redact/", reason=WHY, msg_id=sent["MsgID"])).status_code == 302
    notice = await listener.notice("message.redacted", room)
    assert notice["Target"] == sent["MsgID"]
    (kept,) = await bob.history(room)
    assert (kept["Content"], kept["Redacted"], kept["Seq"]) == ("", True, 1)

    assert (await grace.submit(f"{page}/send/", reason=WHY, content="we look into it")).status_code == 302
    message = await listener.message()
    assert (message["Content"], message["FromSession"]) == ("we look into it", "")

    assert (await grace.submit(f"{page}/archive/", reason=WHY)).status_code == 302
    await listener.notice("conversation.archived", room)
    (await alice.call("send_msg", conversation_id=room, content="no more")).refused(90016)

    charlie = fresh("charlie")
    assert (await grace.submit(f"{page}/add/", reason=WHY, sessions=charlie)).status_code == 302
    assert (await listener.notice("conversation.joined", room))["Sessions"] == [charlie]

    assert (await grace.submit(f"{page}/kick/", reason=WHY, session=bob.session)).status_code == 302
    await listener.notice("conversation.left", room)
    (await bob.call("get_conversation_last_30_msg", conversation_id=room)).refused(90015)


@EVERYWHERE
async def test_an_erased_person_is_taken_back_everywhere(api: Api, grace: Visitor, server: Server) -> None:
    alice, bob = Person(api, fresh("alice")), Person(api, fresh("bob"))
    rooms = [await api.conversation(alice.session, bob.session) for _ in range(2)]
    sent = [(await alice.send(room, "a secret"))["MsgID"] for room in rooms]
    listener = await bob.listen_ws()
    done = await grace.submit("/admin/erase/", reason=WHY, session=alice.session)
    assert "2 messages" in done.text
    assert {(await listener.notice("message.redacted"))["Target"] for _ in rooms} == set(sent)

    later = [(await alice.send(room, "another"))["MsgID"] for room in rooms]
    printed = server.manage("erase_session", alice.session).stdout.strip()
    assert printed == "erased 2 messages of 2 conversations and 0 refused drafts"
    # Another process did it: the sweep, or the layer, brings it.
    assert {(await listener.notice("message.redacted"))["Target"] for _ in rooms} == set(later)


@EVERYWHERE
async def test_a_transcript_grows_while_it_is_open(api: Api, grace: Visitor) -> None:
    alice = Person(api, fresh("alice"))
    room = await api.conversation(alice.session)
    await alice.send(room, "before")
    async with grace.looking_at(room) as transcript:
        await alice.send(room, "<script>alert(1)</script>")
        event = await transcript.event("lines")
        assert event["last"] == 2
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in event["html"]
        assert "<script" not in event["html"]
        sent = await alice.send(room, "a secret")
        await transcript.event("lines")
        await grace.submit(f"/admin/conversations/{room}/redact/", reason=WHY, msg_id=sent["MsgID"])
        assert (await transcript.event("redacted"))["seqs"] == [3]
        await grace.submit(f"/admin/conversations/{room}/archive/", reason=WHY)
        assert (await transcript.event("changed"))["archived"] is True


@EMBEDDED
async def test_a_flood_is_shown_from_its_end(api: Api, grace: Visitor) -> None:
    alice = Person(api, fresh("alice"))
    room = await api.conversation(alice.session)
    async with grace.looking_at(room) as transcript:
        await alice.pour(room, [f"message {number}" for number in range(600)])
        last, shown = 0, 0
        while last < 600:
            event = await transcript.event("lines")
            assert event["last"] > last
            last, shown = event["last"], shown + event["html"].count("<article")
        assert shown <= 600


@EMBEDDED
async def test_it_ends_with_the_login(api: Api, ada: tuple[Visitor, str]) -> None:
    visitor, _ = ada
    room = await api.conversation(fresh("alice"))
    async with visitor.looking_at(room) as transcript:
        await visitor.log_out()
        await transcript.event("end", 60.0)
        await asyncio.wait_for(transcript.ended.wait(), 10)


@EMBEDDED
async def test_it_ends_with_the_permission(api: Api, ada: tuple[Visitor, str], server: Server) -> None:
    visitor, name = ada
    room = await api.conversation(fresh("alice"))
    async with visitor.looking_at(room) as transcript:
        server.manage(
            "shell",
            "-c",
            f"from django.contrib.auth.models import User; User.objects.get(username={name!r}).groups.clear()",
        )
        await transcript.event("end", 60.0)
        await asyncio.wait_for(transcript.ended.wait(), 10)


@EMBEDDED
async def test_the_stream_is_for_those_who_opened_the_page(api: Api, ada: tuple[Visitor, str], server: Server) -> None:
    visitor, _ = ada
    room = await api.conversation(fresh("alice"))
    asked = {"conversation": room, "after": "0", "version": "0", "since": "0"}
    assert await visitor.live_status(**asked) == 403, "the page, which logs the viewing, was not opened"
    async with Visitor(server) as stranger:
        assert await stranger.live_status(**asked) == 403
    await visitor.get(f"/admin/conversations/{room}/")
    assert await visitor.live_status(**{**asked, "conversation": str(uuid.uuid4())}) in (403, 404)
    assert await visitor.live_status(**{**asked, "conversation": "nonsense"}) == 404
    assert await visitor.live_status(**{**asked, "after": "x"}) == 400


async def _age(server: Server, seconds: int) -> None:
    """Every login's viewings, as if they were to end in that many seconds."""
    code = (
        "import time; from django.contrib.sessions.models import Session\n"
        "from django.contrib.sessions.backends.db import SessionStore\n"
        "for row in Session.objects.all():\n"
        f"    held = {{**row.get_decoded(), 'desk_viewings': {{name: int(time.time()) + {seconds}"
        " for name in row.get_decoded().get('desk_viewings', {})}}\n"
        "    row.session_data = SessionStore().encode(held); row.save()\n"
    )
    await asyncio.to_thread(server.manage, "shell", "-c", code)


@EMBEDDED
async def test_a_viewing_that_has_ended_is_not_gone_on_with(api: Api, ada: tuple[Visitor, str], server: Server) -> None:
    visitor, _ = ada
    room = await api.conversation(fresh("alice"))
    asked = {"conversation": room, "after": "0", "version": "0", "since": "0"}
    await visitor.get(f"/admin/conversations/{room}/")
    await _age(server, -1)
    assert await visitor.live_status(**asked) == 403, "the page, opened again, would log it again"
    await _age(server, 60)
    async with visitor.looking_at(room) as transcript:
        await _age(server, -1)
        status = 0
        for _ in range(40):
            if (status := await visitor.live_status(**asked)) == 200:
                break
            await asyncio.sleep(1)
        assert status == 200
        assert not transcript.ended.is_set(), "an open page goes on with its viewing"


@EMBEDDED
async def test_streams_of_one_login_are_bounded_and_hold_no_thread(
    api: Api, ada: tuple[Visitor, str], server: Server
) -> None:
    visitor, _ = ada
    room = await api.conversation(fresh("alice"))
    await visitor.get(f"/admin/conversations/{room}/")
    before = server.threads()
    opened = [visitor.looking_at(room) for _ in range(5)]
    for one in opened:
        await one.__aenter__()
    assert server.threads() <= before + 4, "the database's own at most"
    asked = {"conversation": room, "after": "0", "version": "0", "since": "0"}
    assert await visitor.live_status(**asked) == 429
    for one in opened:
        await one.__aexit__(None, None, None)


@EMBEDDED
async def test_a_drain_ends_open_transcripts(start_server: Callable[..., Server], server: Server) -> None:
    own = start_server(QUICKIM_ADMIN="1")
    create_login(own, "grace", "--administrator")
    async with Visitor(own) as visitor, Api(own.url) as api:
        await visitor.log_in("grace")
        room = await api.conversation("alice")
        async with visitor.looking_at(room) as transcript:
            assert own.terminate() == 0
            await asyncio.wait_for(transcript.ended.wait(), 10)
