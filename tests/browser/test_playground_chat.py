"""Two users chat at the playground: on every pair of protocols, while they change, and when one is kept out."""

from itertools import product

import pytest

from tests.browser.playground import BOTH, playground
from tests.servers import Server

PROTOCOLS = ("ws", "sse", "poll")
PAIRS = list(product(PROTOCOLS, repeat=2))


async def test_two_users_chat_on_every_pair_of_protocols(server: Server) -> None:
    async with playground(server) as shown:
        texts: list[str] = []
        for first, second in PAIRS:
            await shown.use("alice", first)
            await shown.use("bob", second)
            await shown.connected("alice", first)
            await shown.connected("bob", second)
            for who in BOTH:
                texts.append(f"{who}: {first} to {second}")
                await shown.say(who, texts[-1])
                for hearer in BOTH:
                    await shown.hears(hearer, texts[-1])
        for who in BOTH:
            assert await shown.said(who) == texts


async def test_who_changes_protocols_while_messages_flow_loses_none_and_gets_none_twice(server: Server) -> None:
    async with playground(server) as shown:
        changes = ("poll", "ws", "sse", "ws", "poll", "sse")
        for protocol in changes:
            await shown.pane("alice").locator(".burst").click()
            await shown.use("bob", protocol)
            await shown.connected("bob", protocol)
        count = 20 * len(changes)
        expected = [f"{number}/20" for _ in changes for number in range(1, 21)]
        for who in BOTH:
            assert await shown.has(who, count) == expected
        # What is said last comes last: nothing more is on its way.
        await shown.say("alice", "the last")
        await shown.hears("bob", "the last")
        assert await shown.said("bob") == [*expected, "the last"]


async def test_a_removed_member_sees_it_and_comes_back_only_through_the_back_end(server: Server) -> None:
    async with playground(server) as shown:
        await shown.page.get_by_role("button", name="Remove bob").click()
        for who in BOTH:
            await shown.told(who, "conversation.left")
        await shown.say("alice", "not for bob")
        await shown.hears("alice", "not for bob")
        await shown.say("bob", "let me in")
        await shown.problem("bob", 90015)
        await shown.pane("bob").locator(".join").click()
        await shown.problem("bob", 90018)
        assert await shown.said("bob") == []

        await shown.page.get_by_role("button", name="Admit bob").click()
        await shown.told("bob", "conversation.joined")
        await shown.say("bob", "back again")
        for who in BOTH:
            await shown.hears(who, "back again")
        assert await shown.said("bob") == ["not for bob", "back again"], "history is a member's to read"


async def test_who_leaves_may_join_again(server: Server) -> None:
    async with playground(server) as shown:
        await shown.pane("bob").locator(".leave").click()
        await shown.page.get_by_role("button", name="Admit bob").wait_for()
        await shown.pane("bob").locator(".join").click()
        await shown.page.get_by_role("button", name="Remove bob").wait_for()
        await shown.say("bob", "hello again")
        await shown.hears("alice", "hello again")


async def test_an_archived_conversation_shows_and_takes_no_messages(server: Server) -> None:
    async with playground(server) as shown:
        await shown.page.click("#archive")
        for who in BOTH:
            await shown.told(who, "conversation.archived")
        assert await shown.page.locator("#archived").is_visible()
        await shown.say("alice", "too late")
        await shown.problem("alice", 90016)
        await shown.page.click("#archive")
        await shown.told("bob", "conversation.unarchived")
        await shown.say("alice", "open again")
        await shown.hears("bob", "open again")


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "javascript:alert(1)",
        "</p><svg onload=alert(1)>",
        "${alert(1)} {{ alert(1) }} '\"`\\",
    ],
)
async def test_what_looks_like_a_script_stays_text(server: Server, text: str) -> None:
    async with playground(server) as shown:
        await shown.page.evaluate("() => { window.alert = () => { throw new Error('executed'); }; }")
        await shown.say("alice", text)
        for who in BOTH:
            await shown.hears(who, text)
        assert await shown.page.locator(":is(.pane, #commands) :is(img, script, svg, a)").count() == 0


async def test_a_third_user_comes_and_another_conversation_begins(server: Server) -> None:
    async with playground(server) as shown:
        await shown.say("alice", "in the first")
        await shown.hears("bob", "in the first")
        first = await shown.page.input_value("#room")
        await shown.page.fill("#name", "查理")
        await shown.page.press("#name", "Enter")
        await shown.connected("查理", "poll")
        await shown.page.click("#create")
        await shown.page.locator("#members li:not(.stranger)").nth(2).wait_for()
        await shown.say("查理", "in the second")
        await shown.hears("alice", "in the second")
        assert await shown.said("alice") == ["in the second"]
        await shown.page.fill("#room", first)
        await shown.page.press("#room", "Enter")
        await shown.hears("alice", "in the first")
        assert await shown.said("查理") == []


async def test_a_reload_goes_on_where_it_was(server: Server) -> None:
    async with playground(server) as shown:
        await shown.use("bob", "poll")
        await shown.connected("bob", "poll")
        await shown.say("alice", "before")
        await shown.hears("bob", "before")
        await shown.page.reload()
        await shown.connected("bob", "poll")
        await shown.hears("bob", "before")
        await shown.say("bob", "after")
        await shown.hears("alice", "after")
        assert await shown.said("alice") == ["before", "after"]
