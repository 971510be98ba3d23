"""django-eventstream's two plugs: who may read a channel, and what is replayed on it. A channel is a conversation.

Law: deny by default. ``/notify`` does not use that package's own loop (gateway.transports.sse has ours); whatever is
ever mounted on it is authorised and replayed by these.
"""

from typing import Any

from django.http import HttpRequest
from django_eventstream.channelmanager import ChannelManagerBase
from django_eventstream.event import Event
from django_eventstream.storage import EventDoesNotExist, StorageBase

from conversations.access import find_conversation, is_member
from messaging.history import COLUMNS, msg_objects
from messaging.models import Message
from quickim.errors import ConversationNotFound
from quickim.rest.callers import Caller


class ChannelManager(ChannelManagerBase):
    """A member may read his conversation's channel; nobody else may read any."""

    def get_channels_for_request(self, request: HttpRequest, view_kwargs: dict[str, Any]) -> set[str]:
        """The channels that a view names in its URL configuration; none by query parameters."""
        return set(view_kwargs.get("channels", ()))

    def can_read_channel(self, user: Any, channel: str) -> bool:
        """Whether ``user`` is a Caller and an active member of the conversation ``channel``."""
        if not isinstance(user, Caller) or user.is_system:
            return False
        try:
            return is_member(find_conversation(channel), user.session)
        except ConversationNotFound:
            return False

    def is_channel_reliable(self, channel: str) -> bool:
        """Every conversation is kept."""
        return True


class MessageStorage(StorageBase):
    """Replays from the message table, by Seq. Events are never appended here: the ledger alone stores messages."""

    def append_event(self, channel: str, event_type: str, data: Any) -> Event:
        """Always an error: see the class."""
        raise TypeError("messages are stored by the ledger only")

    def get_events(self, channel: str, last_id: int, limit: int = 100) -> list[Event]:
        """The messages of ``channel`` above Seq ``last_id``. Raises EventDoesNotExist when they are not kept."""
        conversation = find_conversation(channel)
        if not conversation.first_seq - 1 <= last_id <= conversation.last_seq:
            raise EventDoesNotExist("not kept", conversation.last_seq)
        rows = Message.objects.filter(conversation=conversation, seq__gt=last_id).order_by("seq")
        return [
            Event(channel, "message", message, id=message["Seq"])
            for message in msg_objects(channel, list(rows.values_list(*COLUMNS)[:limit]))
        ]

    def get_current_id(self, channel: str) -> int:
        """The last Seq of ``channel``."""
        return find_conversation(channel).last_seq
