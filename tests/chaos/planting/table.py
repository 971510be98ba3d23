"""Where each planted bug shows, and by which rules: it must be found within three seeds, by one of these."""

from typing import NamedTuple


class Expected(NamedTuple):
    """``finds``: the invariants of which at least one must name it."""

    scenario: str
    finds: tuple[str, ...]


EXPECTED: dict[str, Expected] = {
    "acknowledge_before_commit": Expected("S1", ("I1",)),
    "number_without_the_lock": Expected("S7", ("I5", "I8", "I9", "I3")),
    "tick_by_own_clock": Expected("S13", ("I9",)),
    "forget_repeats": Expected("S2", ("I3",)),
    "no_sweep": Expected("S3", ("I6", "I11")),
    "announce_in_transaction": Expected("S1", ("I5", "I7")),
    "read_before_registering": Expected("S8", ("I5", "I6")),
    "no_merge": Expected("S8", ("I4", "I5")),
    "layer_fails_sends": Expected("S3", ("I11",)),
    "members_of_the_connect": Expected("S11", ("I10",)),
    "endless_outbox": Expected("S9", ("I12",)),
    "poll_position_on_send": Expected("S8", ("I5", "I6")),
    "sse_from_now": Expected("S8", ("I5", "I6")),
    "resume_includes_the_last": Expected("S8", ("I4",)),
    "history_by_time": Expected("S0", ("I7",)),
    "commit_later": Expected("S5", ("I1",)),
}
"""By name."""
