"""The gateway's models: revoked tokens, connect tickets, and the nonces of signed requests; the desk's has no table.

Times are microseconds since the Unix epoch by the database's clock, where nothing else is said.
"""

from typing import ClassVar

from django.db import models

from conversations.fields import BytewiseField
from gateway.desk.models import DeskConversation

__all__ = ["ConnectTicket", "DeskConversation", "Nonce", "TokenRevocation"]


class TokenRevocation(models.Model):
    """Tokens that count no more (see gateway.revocation); as good as one row for each session and platform."""

    id = models.BigAutoField(primary_key=True)
    session = models.CharField(max_length=128, blank=True)
    """"" for everybody."""
    platform = models.IntegerField()
    """-1 for all."""
    before = models.BigIntegerField()
    at = models.BigIntegerField(db_index=True)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["session", "platform"], name="revocation_of_session")]

    def __str__(self) -> str:
        return f"revocation {self.pk}"


class ConnectTicket(models.Model):
    """A ticket that was not used yet (see gateway.tickets), with what its token said; whoever deletes it comes in."""

    digest = BytewiseField(max_length=64, primary_key=True)
    """SHA-256 of the ticket, in hex: who reads the table has no tickets."""
    session = models.CharField(max_length=128)
    platform = models.IntegerField()
    expires_at = models.BigIntegerField()
    """Of the token, in seconds."""
    issued_at = models.BigIntegerField()
    """Of the token."""
    ends_at = models.BigIntegerField(db_index=True)
    """Of the ticket."""

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"ticket until {self.ends_at}"


class Nonce(models.Model):
    """One signed request to /inner/* that was let pass (gateway.signatures)."""

    digest = models.CharField(max_length=64, primary_key=True)
    expires_at = models.BigIntegerField(db_index=True)
    """Unix seconds after which its time refuses it anyway."""

    class Meta:
        # Nothing for people to look at.
        default_permissions = ()

    def __str__(self) -> str:
        return self.digest
