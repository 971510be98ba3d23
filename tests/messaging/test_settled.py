"""The settled clock waits for every append that is under way, however long its process is stopped before COMMIT."""

import threading
from typing import Any

import pytest
from django.db import connection

from conversations.models import Conversation
from messaging import append
from messaging.message import Committed, Outcome
from quickim import database
from quickim.database import settled_clock
from tests.messaging.conftest import draft


@pytest.mark.django_db(transaction=True)
def test_the_settled_clock_waits_for_an_append_that_stopped_before_its_commit(
    room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, go_on = threading.Event(), threading.Event()
    times: list[int] = []
    append_all = append._append

    def append_and_stop(*args: Any) -> list[Outcome]:
        outcomes = append_all(*args)
        times.extend(outcome.message.send_time for outcome in outcomes if isinstance(outcome, Committed))
        stopped.set()
        go_on.wait(10)
        return outcomes

    def work() -> None:
        try:
            append.append_batch([draft(room)])
        finally:
            connection.close()

    monkeypatch.setattr(append, "_append", append_and_stop)
    appending = threading.Thread(target=work)
    appending.start()
    try:
        assert stopped.wait(10)
        # Otherwise it would take three seconds to see it.
        monkeypatch.setattr(database, "MAX_WRITE_SECONDS", 0.0)
        assert settled_clock() <= times[0]
    finally:
        go_on.set()
        appending.join()
    assert settled_clock() > times[0]
