"""The consumer of Channels' tutorial, with a row saved before the group is told."""

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from bench.peers.plain_channels.models import Message


class RoomConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # Channels carries no types
    """Everybody in the room of the URL hears what one says; the one is told when it is saved and out."""

    async def connect(self) -> None:
        """Join the room."""
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave it."""
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Save, tell the room, acknowledge."""
        message = await Message.objects.acreate(room=self.room, text=content["text"])
        said = {"type": "said", "id": message.pk, "text": message.text}
        await self.channel_layer.group_send(self.room, said)
        await self.send_json({"saved": message.pk})

    async def said(self, event: dict[str, Any]) -> None:
        """Someone said something."""
        await self.send_json({"id": event["id"], "text": event["text"]})
