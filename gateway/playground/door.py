"""What the playground's page may ask of the server beyond the public endpoints: ``POST /playground/<deed>``.

Law: each deed is an inner endpoint by another door. Fields, checks, services and errors are that endpoint's own; only
who may call differs (gateway.playground.admission), and that is fewer. None of them is in the OpenAPI document, since
products have ``/inner/*``.
"""

from django.http import HttpRequest
from django.urls import URLPattern, path

from conversations.api import (
    InnerCreateConversation,
    InnerGetConversationMembers,
    InnerJoinConversation,
    InnerKickoutConversation,
    InnerSetArchiveConversations,
)
from gateway.api import InnerGetToken
from gateway.playground.admission import guard_door
from quickim.rest.callers import Caller
from quickim.rest.endpoint import InnerEndpoint


class Deed(InnerEndpoint):
    """An inner endpoint for the playground's page."""

    def identify(self, request: HttpRequest) -> Caller:
        """The system. Raises NotAllowed."""
        guard_door(request)
        return Caller.SYSTEM


class GetToken(Deed, InnerGetToken):
    """A token for a session on the page."""

    name = "get_token"


class CreateConversation(Deed, InnerCreateConversation):
    """A conversation of the sessions on the page."""

    name = "create_conversation"


class JoinConversation(Deed, InnerJoinConversation):
    """Members, also those who were kicked."""

    name = "join_conversation"


class KickoutConversation(Deed, InnerKickoutConversation):
    """Removes a member."""

    name = "kickout_conversation"


class GetConversationMembers(Deed, InnerGetConversationMembers):
    """Who is a member."""

    name = "get_conversation_members"


class SetArchiveConversations(Deed, InnerSetArchiveConversations):
    """Archives, and the opposite."""

    name = "set_archive_conversations"


DEEDS: tuple[type[Deed], ...] = (
    GetToken,
    CreateConversation,
    JoinConversation,
    KickoutConversation,
    GetConversationMembers,
    SetArchiveConversations,
)

urlpatterns: list[URLPattern] = [path(deed.name, deed.as_view(), name=f"playground_{deed.name}") for deed in DEEDS]
