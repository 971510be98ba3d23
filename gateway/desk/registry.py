"""What Django's admin knows of the desk: its place on the front page, and the log, which nobody can change."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.functional import cached_property

from gateway.desk.answers import TOO_LONG, refused
from gateway.desk.limits import TookTooLong, time_limit
from gateway.desk.models import DeskConversation
from gateway.desk.tags import moment

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
    """Who did what, to which conversation or person, and why: the latest first, which is the order of the ids."""

    list_display = ("when", "user", "object_repr", "change_message")
    list_filter = ("action_time",)
    # What is searched for: see get_search_results. Django shows the field only where something stands here.
    search_fields: ClassVar = ["=object_id", "=user__username"]
    search_help_text = "A conversation's whole id, a session, or a login's name"
    list_select_related = ("user", "content_type")
    list_per_page = 50
    ordering = ("-id",)
    # Any other order would sort the whole log.
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    fields = ("when", "user", "object_repr", "change_message")
    readonly_fields = fields

    @admin.display(description="Time")
    def when(self, entry: LogEntry) -> str:
        """In UTC, which the page's script turns into the viewer's zone."""
        return moment(int(entry.action_time.timestamp() * 1_000_000))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LogEntry], search_term: str
    ) -> tuple[QuerySet[LogEntry], bool]:
        """By the whole of what was asked for, as an index finds it."""
        if not search_term:
            return queryset, False
        login = User.objects.filter(username=search_term).values_list("pk", flat=True).first()
        is_theirs = Q() if login is None else Q(user_id=login)
        return queryset.filter(Q(object_id=search_term) | is_theirs), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, rendered here, for it asks the database only then."""
        try:
            with time_limit():
                response = super().changelist_view(request, extra_context)
                return response.render() if isinstance(response, TemplateResponse) else response
        except TookTooLong:
            return refused(request, 503, "Too much to look at", TOO_LONG)
