"""A message as a first model of it would be."""

from typing import ClassVar

from django.db import models


class Message(models.Model):
    """One row for each message."""

    objects: ClassVar["models.Manager[Message]"] = models.Manager()

    room = models.CharField(max_length=100, db_index=True)
    text = models.TextField()
    sent_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "plain_channels"

    def __str__(self) -> str:
        return f"{self.room}: {self.text[:20]}"
