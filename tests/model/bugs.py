"""The bugs that the model must find, each the smallest change that breaks one promise the way people really break it.

Law: a bug replaces functions of the product, for one test, and nothing else.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest

from conversations.announcements import announce
from gateway import entrance, members, missed, replay, resume, sweep
from gateway.connection import Connection
from gateway.hub import Hub
from gateway.missed import Page, Window
from gateway.room import Room
from gateway.transports.poll_connection import PollConnection
from messaging import append, ledger, services
from messaging.message import Committed, MessagesCommitted, Outcome, Receipt
from messaging.models import Draft
from tests.model.processes import current

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_commit(patch: pytest.MonkeyPatch) -> None:
    """The sender is told when all is written, and the commit follows."""
    original = append._append

    def acknowledge(*args: Any) -> list[Outcome]:
        outcomes = original(*args)
        writer = current().ledger._writer
        assert writer is not None
        told = [Receipt(o.message.msg_id, o.message.send_time) if isinstance(o, Committed) else o for o in outcomes]
        ledger._settle(writer.batch, told)
        return outcomes

    patch.setattr(append, "_append", acknowledge)


def forget_repeats(patch: pytest.MonkeyPatch) -> None:
    """A client_msg_id is neither looked up nor kept."""
    original = append._Plan.decide

    def decide(self: Any, draft: Any, *args: Any) -> Outcome:
        return original(self, dataclasses.replace(draft, client_msg_id=""), *args)

    patch.setattr(append._Plan, "decide", decide)


def no_sweep_of_drafts(patch: pytest.MonkeyPatch) -> None:
    """What a dead process had posted is left where it is."""
    patch.setattr(sweep, "sweep_drafts", lambda: 0)


def keep_drafts(patch: pytest.MonkeyPatch) -> None:
    """A draft that was appended stays in its table."""
    patch.setattr(append, "delete_drafts", lambda ids: None)


def no_sweep(patch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for in the database; only the clock is read."""

    async def compare_all(self: Any) -> list[Any]:
        return []

    read_findings = sweep.read_findings
    patch.setattr(sweep, "read_findings", lambda tick, look_back=0: read_findings(0))
    patch.setattr(sweep.Sweep, "_compare_all", compare_all)


def no_sweep_of_members(patch: pytest.MonkeyPatch) -> None:
    """The sweep looks for messages only."""
    read_findings = sweep.read_findings

    def read_messages(tick: int, look_back: int = 0) -> Any:
        return dataclasses.replace(read_findings(tick, look_back), members=[], states=[])

    patch.setattr(sweep, "read_findings", read_messages)


def announce_in_transaction(patch: pytest.MonkeyPatch) -> None:
    """Messages are announced before they are committed."""
    original = append._append

    def announce_first(*args: Any) -> list[Outcome]:
        outcomes = original(*args)
        committed = tuple(outcome for outcome in outcomes if isinstance(outcome, Committed))
        if committed:
            announce(MessagesCommitted(committed))
            time.sleep(0.002)
        return outcomes

    patch.setattr(append, "_append", announce_first)


def read_before_registering(patch: pytest.MonkeyPatch) -> None:
    """What is committed between the look into the database and the registration with the hub is nobody's."""
    heads: dict[Any, dict[int, int]] = {}
    original_attach, original_windows = Hub.attach, Hub.windows

    def attach(self: Hub, connection: Connection, load: Any) -> bool:
        heads[connection] = {seat.number: seat.last_seq for seat in load.seats}
        return original_attach(self, connection, load)

    def windows(self: Hub, connection: Connection) -> list[Window]:
        found = []
        for window in original_windows(self, connection):
            head = heads.get(connection, {}).pop(window.number, window.high)
            # The rest counts as given.
            connection.behind[window.number] = window.high
            found.append(Window(window.number, window.low, min(window.high, head)))
        return found

    patch.setattr(Hub, "attach", attach)
    patch.setattr(Hub, "windows", windows)
    patch.setattr(Hub, "_is_outdated", lambda self, load: False)


def no_merge(patch: pytest.MonkeyPatch) -> None:
    """Live messages overtake the replay."""

    def deliver(self: Connection, frame: Any) -> None:
        if not self.ended:
            self.push(frame)

    patch.setattr(Connection, "deliver", deliver)


def members_of_the_connect(patch: pytest.MonkeyPatch) -> None:
    """Membership is read when somebody connects, and an end of it is never heard of."""
    original = Hub._apply_row

    def apply_row(self: Any, room: Any, row: Any) -> bool:
        return bool(row.is_active and original(self, room, row))

    patch.setattr(Hub, "_apply_row", apply_row)


def poll_position_on_send(patch: pytest.MonkeyPatch) -> None:
    """A poll goes on where the last answer ended, whether that arrived or not."""
    ends: dict[str, Any] = {}
    settle, start = PollConnection._settle, resume.load_session

    def remember(self: PollConnection, *, level: bool) -> None:
        settle(self, level=level)
        ends[self.caller.session] = entrance.parse_cursor(self.cursor)

    def load(session: str, cursor: Any) -> Any:
        return start(session, ends.get(session, cursor) if cursor is not None and not cursor.msg_id else cursor)

    patch.setattr(PollConnection, "_settle", remember)
    patch.setattr(entrance, "load_session", load)


def resume_from_now(patch: pytest.MonkeyPatch) -> None:
    """A connection begins now, whatever the client saw last."""
    load_session = resume.load_session
    patch.setattr(entrance, "load_session", lambda session, cursor: load_session(session, None))


def resume_includes_the_last(patch: pytest.MonkeyPatch) -> None:
    """``>=`` for ``>``: the message that the cursor names comes again."""
    original = Hub._place

    def place(self: Any, connection: Any, room: Any, position: int) -> None:
        original(self, connection, room, max(0, position - 1))

    patch.setattr(Hub, "_place", place)


def prune_silently(patch: pytest.MonkeyPatch) -> None:
    """Who comes back before what was pruned is not told."""
    load_session = resume.load_session

    def load(session: str, cursor: Any) -> Any:
        return dataclasses.replace(load_session(session, cursor), is_reset=False)

    def read_page(*args: Any) -> Page:
        page = missed.read_page(*args)
        return Page([], complete=True) if page.is_pruned else page

    patch.setattr(entrance, "load_session", load)
    patch.setattr(replay, "read_page", read_page)


def deliver_by_arrival(patch: pytest.MonkeyPatch) -> None:
    """Announcements are handed out as they come."""

    def receive(self: Hub, committed: Any) -> None:
        for item in committed:
            room = self.rooms.get(item.message.number)
            if room is not None and item.message.seq > room.delivered:
                room.delivered = item.message.seq - 1
        original(self, committed)

    original = Hub.receive
    patch.setattr(Hub, "receive", receive)


def replay_without_membership(patch: pytest.MonkeyPatch) -> None:
    """A replay begins where the cursor stands, also before the latest joining."""
    original = resume._seat

    def seat(row: Any, cursor: Any, own: Any) -> Any:
        return original(row._replace(joined_seq=0), cursor, own)

    def read_page(session: str, windows: list[Window], max_messages: int, max_characters: int) -> Page:
        frames = [frame for window in windows for frame in missed.read_window(window, max_messages)[0]]
        frames.sort(key=lambda frame: frame.msg_id)
        complete = len(frames) <= max_messages
        return Page(frames[:max_messages], complete)

    patch.setattr(resume, "_seat", seat)
    patch.setattr(replay, "read_page", read_page)


def apply_old_news(patch: pytest.MonkeyPatch) -> None:
    """What was announced late is believed, though something newer is known: versions are not compared."""
    original = Hub._apply_row

    def apply_row(self: Hub, room: Room, row: Any) -> bool:
        if (known := room.members.get(row.session)) is not None and known.version > row.version:
            known.version = -1
        return original(self, room, row)

    def changed(self: Hub, fact: Any, *, is_nameless: bool = False) -> None:
        room = self.rooms.get(fact.number)
        if room is not None and fact.event == "conversation.left":
            rows = [members.MemberRow(name, False, 0, fact.version, fact.at) for name in fact.sessions]
            for row in rows:
                if row.session in self.sessions:
                    self._apply_row(room, row)
        original_changed(self, fact, is_nameless=is_nameless)

    original_changed = Hub.changed
    patch.setattr(Hub, "_apply_row", apply_row)
    patch.setattr(Hub, "changed", changed)


def delete_drafts_first(patch: pytest.MonkeyPatch) -> None:
    """A draft is deleted before it is appended."""
    original = services._append_soon

    def append_soon(message: Any) -> None:
        Draft.objects.filter(pk=message.draft_id).delete()
        original(dataclasses.replace(message, draft_id=0))

    patch.setattr(services, "_append_soon", append_soon)


BUGS: tuple[Plant, ...] = (
    acknowledge_before_commit,
    forget_repeats,
    no_sweep_of_drafts,
    keep_drafts,
    no_sweep,
    no_sweep_of_members,
    announce_in_transaction,
    read_before_registering,
    no_merge,
    members_of_the_connect,
    poll_position_on_send,
    resume_from_now,
    resume_includes_the_last,
    prune_silently,
    deliver_by_arrival,
    replay_without_membership,
    apply_old_news,
    delete_drafts_first,
)
