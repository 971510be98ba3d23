"""The page that searches for words in messages."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.utils.http import urlencode

from conversations.models import Conversation
from gateway.desk import query, search
from gateway.desk.answers import conversation_of, desk_page, page
from gateway.desk.audit import record, record_viewing
from gateway.desk.carried import carried, carry
from gateway.desk.limits import time_limit
from gateway.desk.models import READ, VIEW
from quickim.database import write_transaction

MAX_WORD_CHARACTERS = 200
_PURPOSE = "search"


@desk_page(VIEW, READ)
def search_messages(request: HttpRequest) -> HttpResponse:
    """Words in the messages of one conversation, or of all in a stretch of time."""
    word, name = request.GET.get("word", "").strip(), request.GET.get("conversation", "").strip()
    since, until = (request.GET.get(end, "").strip() for end in ("since", "until"))
    below = request.GET.get("below", "")
    asked: Conversation | None = None
    found: search.Found | None = None
    problem = hint = go_on = ""
    if name:
        try:
            asked = conversation_of(uuid.UUID(name))
        except ValueError:
            problem = "That is no conversation's id."
    first, last = query.moment(since), query.moment(until, days=1)
    if problem or not word:
        pass
    elif len(word) > MAX_WORD_CHARACTERS:
        problem = f"That is too long: at most {MAX_WORD_CHARACTERS} characters are looked for."
    elif asked is not None:
        record_viewing(request, str(asked.public_id))
        with time_limit():
            found = search.in_conversation(asked, word, query.number(below))
        go_on = found.go_on
    elif first is None or last is None:
        problem = "Without a conversation, give the first and the last day to look at."
    else:
        what = [word, first, last]
        place = carried(request.user, _PURPOSE, what, below)
        if place is None:
            # A search is one line, however far it looks back; what was searched for does not go in there.
            with write_transaction():
                record(request.user, "all conversations", f"Searched messages of {since} to {until}.")
            hint = "The link to look further back was too old, or another search's: this one begins anew." * bool(below)
        with time_limit():
            found = search.in_time(word, first, last, place or "")
        below = place or ""
        go_on = carry(request.user, _PURPOSE, what, found.go_on) if found.go_on else ""
    return page(
        request,
        "search",
        "Search messages",
        word=word,
        conversation=asked,
        since=since,
        until=until,
        found=found,
        problem=problem,
        hint=hint,
        go_on=urlencode(query.kept(request, "below") | {"below": go_on}) if go_on else "",
        has_gone_on=bool(below),
    )
