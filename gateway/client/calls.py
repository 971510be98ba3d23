"""The public endpoints by name; each is one call, and raises CallFailed."""

from abc import ABC, abstractmethod
from typing import Any

from gateway.client.events import Message


class Calls(ABC):
    """What a client can ask. Answers are the wire's."""

    @abstractmethod
    async def call(self, method: str, **params: Any) -> Any:
        """Call the endpoint ``method`` once. Raises CallFailed."""

    async def conversations(self) -> list[str]:
        """The ids of the session's conversations, newest activity first."""
        found: list[str] = (await self.call("get_joined_conversation"))["Conversations"]
        return found

    async def detail(self, conversation: str) -> dict[str, Any]:
        """What a conversation is and what its last message was."""
        found: dict[str, Any] = await self.call("get_conversation_detail", conversation_id=conversation)
        return found

    async def create(self, conversation_type: int, *sessions: str) -> str:
        """Create a conversation of this session and ``sessions``; its id."""
        made = await self.call("create_conversation", conversation_type=conversation_type, sessions=list(sessions))
        return str(made["ConversationId"])

    async def join(self, conversation: str) -> None:
        """Become a member."""
        await self.call("join_conversation", conversation_id=conversation)

    async def leave(self, conversation: str) -> None:
        """Be a member no longer."""
        await self.call("leave_conversation", conversation_id=conversation)

    async def is_member(self, conversation: str) -> bool:
        """Whether this session is one."""
        return bool((await self.call("check_joined_conversation", conversation_id=conversation))["Joined"])

    async def last_msg_id(self, conversation: str) -> str:
        """The MsgId of the last message; "" before the first."""
        return str((await self.call("get_lastone_msgid", conversation_id=conversation))["MsgId"])

    async def history(
        self, conversation: str, *, start: str = "", end: str = "", desc: bool = False
    ) -> tuple[list[Message], bool]:
        """At most 1,000 messages from ``start`` to ``end`` (MsgIds, both included; "" is open), and whether there are
        more. ``desc``: the newest first."""
        found = await self.call(
            "get_conversation_msg_by_range",
            conversation_id=conversation,
            start_msg_id=start,
            end_msg_id=end,
            desc=desc,
        )
        return found["Msg"], found["HasMore"]

    async def latest(self, conversation: str, *, desc: bool = False) -> list[Message]:
        """The last 30 messages."""
        return await self._messages("get_conversation_last_30_msg", conversation_id=conversation, desc=desc)

    async def before(self, conversation: str, msg_id: str, *, desc: bool = False) -> list[Message]:
        """The 30 messages before ``msg_id``."""
        name = "get_conversation_30msg_before_the_id"
        return await self._messages(name, conversation_id=conversation, msg_id=msg_id, desc=desc)

    async def after(self, conversation: str, msg_id: str, *, desc: bool = False) -> list[Message]:
        """The 30 messages after ``msg_id``."""
        name = "get_conversation_30msg_after_the_id"
        return await self._messages(name, conversation_id=conversation, msg_id=msg_id, desc=desc)

    async def last_message(self, conversation: str) -> Message | None:
        """The last message; None before the first."""
        found = await self._messages("get_conversation_lastone_msg", conversation_id=conversation)
        return found[0] if found else None

    async def _messages(self, method: str, **params: Any) -> list[Message]:
        found: list[Message] = (await self.call(method, **params))["Msg"]
        return found
