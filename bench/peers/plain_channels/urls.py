"""django-eventstream's view for the events of a room, and one that says something in it."""

import django_eventstream
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path


def say(request: HttpRequest, room: str) -> HttpResponse:
    """Stores the body as an event, which the room's streams then get."""
    django_eventstream.send_event(room, "message", request.body.decode())
    return JsonResponse({})


urlpatterns = [
    path("say/<room>", say),
    path("hear/<channel>", include(django_eventstream.urls), {"format-channels": ["{channel}"]}),
]
