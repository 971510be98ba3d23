"""What Django's admin knows of the desk: its place on the front page, and the log, which nobody can change."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.functional import cached_property

from gateway.desk.models import DeskConversation

COUNTED = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counts no further than some hundred pages."""

    @cached_property
    def count(self) -> int:
        """How many, up to ``COUNTED``."""
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNTED].count())


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Nobody adds, changes or deletes here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


@admin.register(DeskConversation)
class ConversationAdmin(ReadOnly):
    """An entry on the front page; the pages are the desk's own (gateway.desk.pages)."""

    def get_urls(self) -> list[URLPattern]:
        """None of Django's."""
        return []


@admin.register(LogEntry)
class LogAdmin(ReadOnly):
    """Who did what, to which conversation or person, and why."""

    list_display = ("action_time", "user", "object_repr", "change_message")
    list_filter = ("action_time",)
    search_fields: ClassVar = ["=object_id", "=user__username"]
    search_help_text = "A conversation's whole id, a session, or a user name"
    list_select_related = ("user", "content_type")
    list_per_page = 50
    show_full_result_count = False
    paginator = BoundedPaginator
    fields = ("action_time", "user", "object_repr", "change_message")
    readonly_fields = fields
