"""The playground's page for everybody: on a phone, by keyboard, in both languages, for assistive technology."""

import shlex
from typing import Any

import pytest

from tests.browser.desk import barriers, screen
from tests.browser.playground import Playground, playground
from tests.servers import Server

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, PHONE, {**PHONE, "color_scheme": "dark"}],
    ids=["light", "dark", "phone", "dark phone"],
)
async def test_it_fits_the_screen_and_bars_nobody(server: Server, options: dict[str, Any]) -> None:
    async with playground(server, **options) as shown:
        await shown.say("alice", "a long word: " + "x" * 400)
        await shown.page.get_by_role("button", name="Remove bob").click()
        await shown.told("bob", "conversation.left")
        await shown.page.click("#archive")
        await shown.told("alice", "conversation.archived")
        await shown.say("alice", "too late")
        await shown.problem("alice", 90016)
        await shown.page.get_by_role("button", name="Show token").first.click()
        await shown.page.fill("#name", "someone with a long name " * 4)
        await shown.page.press("#name", "Enter")
        await shown.page.locator(".pane").nth(2).wait_for()
        width = await shown.page.evaluate("document.documentElement.scrollWidth")
        assert width <= (options.get("viewport") or {"width": 1360})["width"]
        assert await barriers(shown.page) == []


async def focus(shown: Playground, selector: str) -> None:
    """Goes there by the tabulator."""
    for _ in range(80):
        if await shown.page.evaluate(f"Boolean(document.activeElement?.matches({selector!r}))"):
            return
        await shown.page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not lead to {selector}")


async def test_the_keyboard_is_enough(server: Server) -> None:
    async with playground(server) as shown:
        keys = shown.page.keyboard
        await focus(shown, ".skip")
        await keys.press("Enter")
        await focus(shown, '[data-session="alice"] input[type=radio]')
        await keys.press("ArrowRight")
        await shown.connected("alice", "sse")
        await focus(shown, '[data-session="alice"] .send input')
        await keys.type("typed")
        await keys.press("Enter")
        await shown.hears("bob", "typed")
        await keys.type("and again")
        await keys.press("Enter")
        await shown.hears("bob", "and again")
        await focus(shown, '[data-member="bob"]')
        await keys.press("Enter")
        await shown.told("bob", "conversation.left")
        await shown.page.get_by_role("button", name="Admit bob").wait_for()
        await shown.page.wait_for_function("document.activeElement.dataset.member === 'bob'")
        await keys.press("Enter")
        await shown.told("bob", "conversation.joined")


async def test_the_language_changes_and_the_conversation_stays(server: Server) -> None:
    async with playground(server) as shown:
        await shown.say("alice", "hello")
        await shown.hears("bob", "hello")
        await shown.page.click("#language")
        await shown.page.get_by_role("button", name="移出 bob").wait_for()
        await shown.hears("bob", "hello")
        await shown.pane("bob").get_by_text("已连接").wait_for()
        assert await shown.page.get_attribute("html", "lang") == "zh-Hans"
        await shown.page.click("#language")
        await shown.page.get_by_role("button", name="Remove bob").wait_for()
        await shown.hears("bob", "hello")


async def test_frames_stand_beside_and_hold_no_token(server: Server) -> None:
    async with playground(server) as shown:
        await shown.say("bob", "over HTTP")
        await shown.hears("alice", "over HTTP")
        await shown.hears("bob", "over HTTP")
        sent, received = (shown.pane(who).locator(".frames") for who in ("bob", "alice"))
        await sent.get_by_text("↑ http POST /send_msg").wait_for()
        await sent.get_by_text("event: message").wait_for()
        await received.get_by_text('↓ ws {"MsgId"').wait_for()
        assert "eyJ" not in await shown.page.inner_text("body")


async def test_a_command_is_one_for_a_shell_and_shows_its_token_only_when_asked(server: Server) -> None:
    async with playground(server) as shown:
        await shown.say("alice", 'it\'s "quoted" $HOME')
        await shown.hears("bob", 'it\'s "quoted" $HOME')
        latest = shown.page.locator("#commands li").first
        words = shlex.split(await latest.locator("pre").inner_text())
        assert words[:3] == ["curl", "-s", f"{server.url}/send_msg"]
        assert "Authorization: Bearer $TOKEN_ALICE" in words
        assert 'it\'s \\"quoted\\" $HOME' in words[-1]
        await latest.get_by_role("button", name="Show token").click()
        assert "Bearer eyJ" in await latest.locator("pre").inner_text()
        await latest.get_by_role("button", name="Hide token").click()
        assert "eyJ" not in await shown.page.inner_text("body")
        titles = await shown.page.locator("#commands strong").all_inner_texts()
        assert {"Token for alice", "New conversation", "alice listens over ws", "alice sends"} <= set(titles)


async def test_each_user_has_a_shell_variable_of_his_own(server: Server) -> None:
    names = ["张三", "李四", "a-b", "a_b"]
    async with playground(server) as shown:
        for who in ("alice", "bob"):
            await shown.pane(who).locator(".close").click()
        for name in names:
            await shown.page.fill("#name", name)
            await shown.page.press("#name", "Enter")
            await shown.connected(name, "poll")
        titles = await shown.page.locator("#commands strong").all_inner_texts()
        done = dict(zip(titles, await shown.page.locator("#commands pre").all_inner_texts(), strict=True))
        variables = [done[f"Token for {name}"].partition("=")[0] for name in names]
        assert variables == ["TOKEN", "TOKEN_2", "TOKEN_A_B", "TOKEN_A_B_2"]
        for name, variable in zip(names, variables, strict=True):
            assert f'Bearer ${variable}"' in done[f"{name} listens over poll"]


@pytest.mark.settings(QUICKIM_INNER_API_KEYS="a-key-of-the-back-ends-own")
async def test_where_a_key_is_needed_the_page_asks_for_it(server: Server) -> None:
    async with screen(server) as shown:
        await shown.open("/")
        await shown.page.fill("#key-text", "a-key-of-the-back-ends-own")
        await shown.page.press("#key-text", "Enter")
        opened = Playground(shown.page)
        await opened.connected("alice", "ws")
        await opened.connected("bob", "sse")
        await shown.page.locator("#members li").nth(1).wait_for()
        await opened.say("alice", "let in")
        await opened.hears("bob", "let in")
