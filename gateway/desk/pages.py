"""The desk's addresses below ``/admin/``."""

from django.contrib.admin import AdminSite
from django.urls import URLPattern, URLResolver, path, register_converter
from django.urls.converters import StringConverter

from gateway.desk.action_views import act, act_on_many, erase
from gateway.desk.actions import ACTIONS
from gateway.desk.conversation_views import conversation, conversations, members, message
from gateway.desk.export import export
from gateway.desk.live import live
from gateway.desk.search_views import search_messages
from gateway.desk.trace import trace


class ActionConverter(StringConverter):
    """The name of a deed."""

    regex = "|".join(ACTIONS)


class ManyConverter(StringConverter):
    """The name of a deed that can be done to many at once."""

    regex = "|".join(name for name, action in ACTIONS.items() if action.many)


class MsgIdConverter(StringConverter):
    """A well-formed MsgId."""

    regex = r"[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{3}"


register_converter(ActionConverter, "deed")
register_converter(ManyConverter, "deed_to_many")
register_converter(MsgIdConverter, "msg_id")


def pages(site: AdminSite) -> list[URLPattern | URLResolver]:
    """The pages; two have the names under which Django's admin looks for a model's own."""
    return [
        path("conversations/", conversations, name="gateway_deskconversation_changelist"),
        path("conversations/<uuid:public_id>/", conversation, name="gateway_deskconversation_change"),
        path("conversations/<uuid:public_id>/members/", members, name="desk_members"),
        path("conversations/<uuid:public_id>/messages/<msg_id:msg_id>/", message, name="desk_message"),
        path("conversations/<uuid:public_id>/trace/", trace, name="desk_trace"),
        path("conversations/<uuid:public_id>/export/", export, name="desk_export"),
        path("conversations/<uuid:public_id>/<deed:name>/", act, name="desk_act"),
        path("conversations/<deed_to_many:name>/", act_on_many, name="desk_many"),
        path("search/", search_messages, name="desk_search"),
        path("erase/", erase, name="desk_erase"),
        path("live", live, name="desk_live"),
    ]
