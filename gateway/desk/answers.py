"""What the desk's pages share: who may see them, how they are rendered, and what they say when they cannot."""

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin import site
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from conversations.models import Conversation
from gateway.desk.limits import TookTooLong
from gateway.desk.models import permission
from quickim.errors import QuickimError

View = Callable[..., HttpResponseBase]

TOO_LONG = "That took too long and was stopped. Narrow it down: fewer days, one conversation, another order."


def page(request: HttpRequest, template: str, title: str, status: int = 200, **context: Any) -> HttpResponse:
    """A page of the desk."""
    everywhere = site.each_context(request)
    return render(request, f"admin/desk/{template}.html", {**everywhere, "title": title, **context}, status=status)


def refused(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    """A page that says why not."""
    return page(request, "refused", title, status, text=text)


def desk_page(*permissions: str) -> Callable[[View], View]:
    """A page behind the login, for those who have all of ``permissions``; it says in words what goes wrong."""

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if missing := [name for name in permissions if not request.user.has_perm(permission(name))]:
                text = f"Your account lacks the permission {', '.join(missing)}. An administrator can give it."
                return refused(request, 403, "Not allowed", text)
            try:
                return view(request, *args, **kwargs)
            except Conversation.DoesNotExist:
                return refused(
                    request, 404, "No such conversation", "There is none with this id, not even a deleted one."
                )
            except TookTooLong:
                return refused(request, 503, "Too much to look at", TOO_LONG)

        return site.admin_view(answer)

    return decorate


def conversation_of(public_id: uuid.UUID) -> Conversation:
    """The conversation, also a deleted one. Raises Conversation.DoesNotExist."""
    return Conversation.objects.get(public_id=public_id)


def in_words(error: Exception) -> str:
    """What the domain or the database refused, for people."""
    if isinstance(error, QuickimError):
        problems = "; ".join(f"{name} {problem}" for name, problem in (error.detail or {}).items())
        return f"Refused: {error.text()}{f' ({problems})' if problems else ''}."
    if isinstance(error, OperationalError | InterfaceError):
        return "The database did not do it: something else holds the conversation, or it is away. Try again."
    return str(error)
