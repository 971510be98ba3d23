"""Messages and drafts. Rows are written by the ledger (messaging.append) and by nobody else."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from conversations.fields import BytewiseField
from conversations.models import Conversation


class Message(models.Model):
    """A committed message. The key finds it and orders all; (conversation, seq) fills gaps and resumes; (conversation,
    msg_id) pages history; (conversation, session, client_msg_id) makes a repeated send find the first."""

    msg_id = BytewiseField(max_length=19, primary_key=True)
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="messages", db_index=False)
    seq = models.BigIntegerField()
    session = models.CharField(max_length=128, blank=True)
    """Who sent it; empty: the system."""
    send_time = models.BigIntegerField()
    """Microseconds since the Unix epoch."""
    status = models.IntegerField(default=0)
    type = models.IntegerField(default=0)
    content = models.TextField(blank=True)
    client_msg_id = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["conversation", "seq"], name="message_seq_once"),
            models.UniqueConstraint(
                fields=["conversation", "session", "client_msg_id"],
                condition=~Q(client_msg_id=""),
                name="message_client_msg_id_once",
            ),
            models.CheckConstraint(condition=Q(seq__gte=1), name="message_seq_positive"),
        ]
        indexes: ClassVar = [models.Index(fields=["conversation", "msg_id"], name="message_history")]

    def __str__(self) -> str:
        return str(self.msg_id)


class Draft(models.Model):
    """A message posted inside a product's own transaction; the ledger appends it and deletes this row in one."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="drafts")
    session = models.CharField(max_length=128, blank=True)
    status = models.IntegerField(default=0)
    type = models.IntegerField(default=0)
    content = models.TextField(blank=True)
    client_msg_id = models.CharField(max_length=64, blank=True, default="")
    created_at = models.BigIntegerField()
    refused_code = models.IntegerField(default=0, db_index=True)
    """The error code that the ledger refused it with, kept for the product to see; 0: waiting."""

    def __str__(self) -> str:
        return f"draft {self.pk}"


class Redaction(models.Model):
    """That a message's content was taken back; its row in the message table only has an empty content since."""

    id = models.BigAutoField(primary_key=True)
    """Rises within a conversation, in the order of the commits: it is given under the conversation's lock."""
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="redactions", db_index=False)
    msg_id = BytewiseField(max_length=19, unique=True)
    seq = models.BigIntegerField()
    at = models.BigIntegerField(db_index=True)
    """Microseconds since the Unix epoch, written inside ``quickim.database.timely``: sweeps find by it."""

    class Meta:
        indexes: ClassVar = [models.Index(fields=["conversation", "at"], name="redaction_of_conversation")]

    def __str__(self) -> str:
        return f"redaction of {self.msg_id}"
