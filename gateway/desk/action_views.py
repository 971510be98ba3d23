"""Pages to act: each asks first, with what it means and a field for the reason; nothing happens on a GET."""

import time
import uuid
from dataclasses import asdict

from django.contrib import messages
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from conversations.models import Conversation
from gateway.desk.actions import ACTIONS, Action, AlreadyDone, NothingToDo, OneSession, Reason, perform
from gateway.desk.answers import conversation_of, desk_page, in_words, page, refused
from gateway.desk.audit import record
from gateway.desk.carried import carried, carry
from gateway.desk.models import ERASE, VIEW, permission
from messaging.redaction import Erased, erase_session
from quickim.database import write_transaction
from quickim.errors import QuickimError

MANY = 200
"""How many conversations one deed is done to at most."""
ERASE_SECONDS = 5.0
"""How long one request erases; the page goes on with the next."""
_PURPOSE = "erase"
_REFUSALS = (NothingToDo, QuickimError, OperationalError, InterfaceError)


@desk_page(VIEW)
def act(request: HttpRequest, public_id: uuid.UUID, name: str) -> HttpResponse:
    """One deed in one conversation."""
    action, conversation = ACTIONS[name], conversation_of(public_id)
    if (refusal := _refusal(request, action)) is not None:
        return refusal
    back = HttpResponseRedirect(reverse("admin:gateway_deskconversation_change", args=[public_id]))
    given = {key: request.GET[key] for key in ("session", "msg_id") if key in request.GET}
    form = action.form(request.POST) if request.method == "POST" else action.form(initial=given)
    if request.method == "POST" and form.is_valid():
        try:
            messages.success(request, perform(action, request.user, conversation, form.cleaned_data))
        except AlreadyDone as error:
            messages.info(request, str(error))
            return back
        except _REFUSALS as error:
            form.add_error(None, in_words(error))
        else:
            return back
    status = 400 if form.errors else 200
    return page(request, "action", action.label, status, action=action, conversation=conversation, form=form)


@desk_page(VIEW)
def act_on_many(request: HttpRequest, name: str) -> HttpResponse:
    """One deed in several conversations: first the question, then, with a reason, the deed."""
    action = ACTIONS[name]
    if (refusal := _refusal(request, action)) is not None:
        return refusal
    back = HttpResponseRedirect(reverse("admin:gateway_deskconversation_changelist"))
    ids = [given for text in request.POST.getlist("id")[:MANY] if (given := _as_uuid(text)) is not None]
    found = list(Conversation.objects.filter(public_id__in=ids).order_by("id"))
    if not found:
        messages.warning(request, "No conversation was chosen.")
        return back
    is_confirmed = "confirmed" in request.POST
    form = Reason(request.POST) if is_confirmed else Reason()
    if is_confirmed and form.is_valid():
        done, problems = 0, []
        for conversation in found:
            try:
                perform(action, request.user, conversation, form.cleaned_data)
                done += 1
            except _REFUSALS as error:
                problems.append(f"{conversation.public_id}: {in_words(error)}")
        if done:
            messages.success(request, f"{action.label}: done in {done} of {len(found)}.")
        for problem in problems[:10]:
            messages.warning(request, problem)
        return back
    status = 400 if form.errors else 200
    return page(request, "many", action.label, status, action=action, conversations=found, form=form)


@desk_page(ERASE)
def erase(request: HttpRequest) -> HttpResponse:
    """Take back all that a person wrote: some seconds of it with each request, until it is through."""
    if request.method != "POST":
        form = OneSession(initial={"session": request.GET.get("session", "")})
        return page(request, "erase", "Erase a person", form=form)
    form = OneSession(request.POST)
    if not form.is_valid():
        return page(request, "erase", "Erase a person", 400, form=form)
    session, reason = form.cleaned_data["session"], form.cleaned_data["reason"]
    # Browsers change the line ends of what they send back.
    asked = [session, reason.split()]
    progress = carried(request.user, _PURPOSE, asked, request.POST.get("progress", ""))
    if progress is None:
        with write_transaction():
            record(request.user, session, "Erase all that this person wrote: begun.", reason)
    erased = Erased(**(progress or {}))
    deadline = time.monotonic() + ERASE_SECONDS
    problem = ""
    try:
        is_through = True
        for _ in erase_session(session, erased):
            if time.monotonic() > deadline:
                is_through = False
                break
    except (QuickimError, OperationalError, InterfaceError) as error:
        is_through, problem = False, in_words(error)
    if is_through:
        with write_transaction():
            record(request.user, session, f"Erased {erased.messages} messages.", reason)
    return page(
        request,
        "erase",
        "Erase a person",
        form=form,
        session=session,
        reason=reason,
        erased=erased,
        progress=carry(request.user, _PURPOSE, asked, asdict(erased)),
        is_through=is_through,
        problem=problem,
    )


def _refusal(request: HttpRequest, action: Action) -> HttpResponse | None:
    if request.user.has_perm(permission(action.permission)):
        return None
    text = f"Your account lacks the permission {action.permission}. An administrator can give it."
    return refused(request, 403, "Not allowed", text)


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
