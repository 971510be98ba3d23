"""HTTP to Django, WebSockets to the consumer; DJANGO_SETTINGS_MODULE names the settings."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

_django = get_asgi_application()

from bench.peers.plain_channels.consumers import RoomConsumer  # noqa: E402  # its model needs the apps to be ready

application = ProtocolTypeRouter(
    {"http": _django, "websocket": URLRouter([path("room/<room>", RoomConsumer.as_asgi())])}
)
