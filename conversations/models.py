"""Conversations and memberships, with constraints that say what must never be false.

All times are integers: microseconds since the Unix epoch by the database's clock. ``changed_at`` is written inside
``quickim.database.timely`` and nowhere else: sweeps and resumes find by it what they missed.
"""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from conversations.fields import BytewiseField


class Conversation(models.Model):
    """A conversation, its state, and its head: the last message, kept by the ledger under this row's lock."""

    class LastEvent(models.TextChoices):
        """The last change of state, as its notice is named."""

        NONE = "", "none"
        ARCHIVED = "conversation.archived", "archived"
        UNARCHIVED = "conversation.unarchived", "unarchived"
        DELETED = "conversation.deleted", "deleted"
        RESTORED = "conversation.restored", "restored"

    id = models.BigAutoField(primary_key=True)
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    type = models.BigIntegerField()
    created_at = models.BigIntegerField()
    is_archived = models.BooleanField(default=False)
    is_deleted = models.BooleanField(default=False)
    last_event = models.CharField(max_length=32, choices=LastEvent, default=LastEvent.NONE, blank=True)
    changed_at = models.BigIntegerField(default=0, db_index=True)
    state_version = models.BigIntegerField(default=0)
    """The member_version that ``last_event`` made."""
    member_version = models.BigIntegerField(default=0)
    """Raised by every change of membership or state, in its transaction."""
    member_count = models.BigIntegerField(default=0)
    first_seq = models.BigIntegerField(default=1)
    """The lowest Seq that is still kept."""
    pruned_msg_id = BytewiseField(max_length=19, default="", db_default="", blank=True)
    """The highest MsgId that is not kept any more (the message before ``first_seq``); "" before the first pruning."""
    last_seq = models.BigIntegerField(default=0)
    last_msg_id = BytewiseField(max_length=19, default="", blank=True)
    last_send_time = models.BigIntegerField(default=0)
    last_send_session = models.CharField(max_length=128, default="", blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(type__gte=0), name="conversation_type_not_negative"),
            models.CheckConstraint(condition=Q(member_count__gte=0), name="conversation_member_count_not_negative"),
            models.CheckConstraint(
                condition=Q(first_seq__gte=1) & Q(last_seq__gte=models.F("first_seq") - 1),
                name="conversation_seq_range",
            ),
            models.CheckConstraint(
                condition=Q(last_seq=0, last_msg_id="") | Q(last_seq__gt=0) & ~Q(last_msg_id=""),
                name="conversation_head_is_whole",
            ),
        ]
        indexes: ClassVar = [
            # SQLite's one counter of ticks must not fall back when the highest message is pruned.
            models.Index(fields=["pruned_msg_id"], condition=~Q(pruned_msg_id=""), name="conversation_pruned"),
        ]

    def __str__(self) -> str:
        return str(self.public_id)


class Membership(models.Model):
    """That a session is, or was, a member; one row for each pair, brought up to date as the session comes and goes."""

    class State(models.IntegerChoices):
        """Only active members read, write and receive; a kicked one may not rejoin by himself."""

        ACTIVE = 1
        LEFT = 2
        KICKED = 3

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="memberships", db_index=False)
    session = models.CharField(max_length=128)
    state = models.SmallIntegerField(choices=State, default=State.ACTIVE)
    joined_at = models.BigIntegerField()
    joined_seq = models.BigIntegerField(default=0)
    """The conversation's last Seq when the membership began: live delivery and resuming bring only what lies above."""
    ended_at = models.BigIntegerField(default=0)
    version = models.BigIntegerField()
    """The conversation's member_version that this row's last change made."""
    changed_at = models.BigIntegerField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["conversation", "session"], name="membership_once"),
            models.CheckConstraint(condition=Q(state__in=[1, 2, 3]), name="membership_state_known"),
            models.CheckConstraint(
                condition=Q(state=1, ended_at=0) | ~Q(state=1) & Q(ended_at__gt=0),
                name="membership_end_matches_state",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["session", "state"], name="membership_of_session"),
            models.Index(fields=["conversation", "version"], name="membership_by_version"),
        ]

    def __str__(self) -> str:
        return f"{self.session} in {self.conversation_id}"
