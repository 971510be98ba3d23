"""One-time connect tickets: what opens ``/notify`` once instead of a token, where only the address can carry it.

Laws: a ticket is good for thirty seconds and for one connection, whatever the number of nodes and with Redis away: it
is a row, and whoever deletes it comes in. It says what its token said, so that expiry and revocations hold. The
database is asked only about tickets that this deployment made.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

from django.conf import settings
from django.utils.crypto import salted_hmac

from gateway.claims import Identity
from gateway.models import ConnectTicket
from gateway.tokens import check_identity, refused
from quickim.database import database_clock, in_database, write_transaction
from quickim.rest.callers import Caller
from quickim.rest.rates import Buckets

TICKET_SECONDS = 30
_RANDOM_BYTES, _MARK_BYTES = 18, 15
_SHAPE = re.compile("[A-Za-z0-9_-]{44}")
_PRUNED_AT_ONCE = 5_000

_asked = Buckets("tickets")


async def issue_ticket(identity: Identity) -> str:
    """A ticket for whoever has a token that says ``identity``. Raises TooManyRequests, as for sends, and the
    database's errors."""
    _asked.spend(identity.caller.session, settings.QUICKIM.send_rate)
    drawn = secrets.token_bytes(_RANDOM_BYTES)
    ticket = urlsafe_b64encode(drawn + _mark(drawn)).decode()
    await in_database(_store, _digest(ticket), identity)
    return ticket


async def redeem_ticket(ticket: str) -> Identity:
    """What the ticket's token said; the ticket is spent. Raises InvalidToken, TokenRevoked, Unavailable, and the
    database's errors."""
    if _SHAPE.fullmatch(ticket) is None:
        raise refused("ticket")
    parts = urlsafe_b64decode(ticket)
    if not hmac.compare_digest(parts[_RANDOM_BYTES:], _mark(parts[:_RANDOM_BYTES])):
        raise refused("ticket")
    identity = await in_database(_spend, _digest(ticket))
    if identity is None:
        raise refused("ticket")
    check_identity(identity)
    return identity


def prune_tickets() -> None:
    """Delete those that nobody used in time. Synchronous."""
    old = ConnectTicket.objects.filter(ends_at__lt=database_clock())
    if not old.exists():
        return
    with write_transaction():
        # Nodes that do this at the same time share it out.
        some = old.order_by("ends_at").select_for_update(skip_locked=True).values_list("pk", flat=True)
        ConnectTicket.objects.filter(pk__in=list(some[:_PRUNED_AT_ONCE])).delete()


def _store(digest: str, identity: Identity) -> None:
    with write_transaction():
        ConnectTicket.objects.create(
            digest=digest,
            session=identity.caller.session,
            platform=identity.caller.platform,
            expires_at=identity.expires_at,
            issued_at=identity.issued_at,
            ends_at=database_clock() + TICKET_SECONDS * 1_000_000,
        )


def _spend(digest: str) -> Identity | None:
    with write_transaction():
        row = ConnectTicket.objects.filter(pk=digest).first()
        # Of several who come at once, one deletes it.
        if row is None or not ConnectTicket.objects.filter(pk=digest).delete()[0]:
            return None
        if row.ends_at < database_clock():
            return None
    return Identity(Caller(row.session, row.platform), row.expires_at, row.issued_at)


def _mark(drawn: bytes) -> bytes:
    """Shows that it was drawn here: whoever shares the secret key is of this deployment."""
    return salted_hmac("quickim.ticket", drawn, algorithm="sha256").digest()[:_MARK_BYTES]


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()
