"""Every address: endpoints, push, health, documents, admin, playground; whatever else is asked for gets the
envelope."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

import conversations.api
import gateway.api
import gateway.playground.door
import messaging.api
from quickim.errors import InternalError, InvalidParameter, NotAllowed, UnknownInterface
from quickim.health import healthz, readyz
from quickim.pages import docs, landing, openapi
from quickim.rest.answers import failure
from quickim.scrape import metrics

ENDPOINTS = (
    *conversations.api.PUBLIC,
    *messaging.api.PUBLIC,
    *gateway.api.PUBLIC,
    *gateway.api.INNER,
    *conversations.api.INNER,
    *messaging.api.INNER,
)

urlpatterns: list[URLPattern | URLResolver] = [
    *(path(endpoint.name, endpoint.as_view(), name=endpoint.name) for endpoint in ENDPOINTS),
    path("notify", gateway.api.notify, name="notify"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("openapi.json", openapi, name="openapi"),
    path("docs", docs, name="docs"),
    path("", landing, name="landing"),
]
if settings.QUICKIM.admin:
    urlpatterns += [
        path("admin", RedirectView.as_view(url="/admin/"), name="admin"),
        path("admin/", admin.site.urls),
    ]
if settings.QUICKIM.playground != "off":
    urlpatterns += [path("playground/", include(gateway.playground.door))]


def handler400(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """A request that Django could not read."""
    return failure(InvalidParameter())


def handler403(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """A request that Django refused."""
    return failure(NotAllowed())


def handler404(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """An unknown path."""
    return failure(UnknownInterface())


def handler500(request: HttpRequest) -> HttpResponse:
    """A crash, which Django has logged."""
    return failure(InternalError())
