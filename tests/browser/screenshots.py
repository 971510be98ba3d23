"""``python -m tests.browser.screenshots``: takes the pictures of the desk and of the landing page that the documents
show, from a server of its own at the usual address."""

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.browser.desk import screen
from tests.clients import Api, Person
from tests.desk.visitor import create_login
from tests.servers import ROOT, Server

ADDRESS: Final = "127.0.0.1:8088"
PICTURES: Final = ROOT / "docs" / "screenshots"
WIDE: Final[dict[str, Any]] = {"viewport": {"width": 1060, "height": 680}}
PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 390, "height": 760},
    "is_mobile": True,
    "has_touch": True,
    "color_scheme": "dark",
}
SAID: Final = (
    ("alice", "Good morning! My parcel has not arrived, and it was sent on Monday."),
    ("bob", "I am sorry to hear that. Which order is it?"),
    ("alice", "Order 4711, two pineapples and a teapot."),
    ("bob", "The parcel is at the depot since yesterday. It comes this afternoon."),
    ("alice", "That is good news. Will the driver ring? The bell is <b>broken</b>."),
    ("bob", "He will knock."),
    ("王芳", "我的包裹也在那里吗？"),
    ("bob", "好的，我马上帮您查询。"),
    ("alice", "The parcel is here now. Thank you!"),
)


async def main() -> None:
    """All pictures, one after another."""
    with tempfile.TemporaryDirectory() as home:
        server = Server(Path(home), "embedded", {"QUICKIM_ADMIN": "1", "QUICKIM_BIND": ADDRESS})
        server.port, server.url = int(ADDRESS.partition(":")[2]), f"http://{ADDRESS}"
        server.start()
        try:
            create_login(server, "grace", "--administrator")
            async with Api(server.url) as api:
                room, msg_id = await _talk(api)
            await _take(server, room, msg_id)
        finally:
            server.kill9()


async def _talk(api: Api) -> tuple[str, str]:
    for number in range(9):
        other = await api.conversation("alice", *(f"guest-{guest}" for guest in range(number)), conversation_type=2)
        await Person(api, "alice").send(other, f"Hello number {number}")
    room = await api.conversation("alice", "bob", "王芳")
    sent = [await Person(api, session).send(room, content) for session, content in SAID]
    return room, str(sent[3]["MsgID"])


async def _take(server: Server, room: str, msg_id: str) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    base = f"/admin/conversations/{room}/"
    async with screen(server, **WIDE) as shown:
        await shown.log_in("grace")
        for name, path in (
            ("desk-list", "/admin/conversations/"),
            ("desk-conversation", base),
            ("desk-search", f"/admin/search/?word=parcel&since={today}&until={today}"),
            ("desk-trace", f"{base}trace/?session=alice&msg_id={msg_id}"),
            ("desk-log", "/admin/admin/logentry/"),
            ("landing", "/?page=landing&lang=en"),
        ):
            await shown.open(path)
            if name == "desk-conversation":
                await shown.page.wait_for_selector("text=Live: new messages appear here.")
            await shown.page.screenshot(path=PICTURES / f"{name}.png")
    async with screen(server, **PHONE) as shown:
        await shown.log_in("grace")
        await shown.open(base)
        await shown.page.wait_for_selector("text=Live: new messages appear here.")
        await shown.page.screenshot(path=PICTURES / "desk-phone.png")


if __name__ == "__main__":
    asyncio.run(main())
