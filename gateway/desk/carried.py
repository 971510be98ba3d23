"""What a page hands on to the request that goes on where it stopped: a search that looks further back, an erasure.

Law: it is signed for the login and for what was asked, and holds for a while. So a request that goes on with something
has its line in the log already; one that cannot show it begins anew, with a line of its own.
"""

import json
from collections.abc import Sequence
from typing import Any

from django.core import signing

CARRIED_SECONDS = 1_800
"""As long as one viewing of a transcript."""


def carry(user: Any, purpose: str, asked: Sequence[Any], reached: Any) -> str:
    """``reached`` (plain JSON) as text for a link or a form."""
    return signing.dumps(reached, salt=_salt(user, purpose, asked))


def carried(user: Any, purpose: str, asked: Sequence[Any], text: str) -> Any:
    """What ``carry`` was given; None when ``text`` is another login's, for something else, too old, or made up."""
    try:
        return signing.loads(text, salt=_salt(user, purpose, asked), max_age=CARRIED_SECONDS)
    except signing.BadSignature:
        return None


def _salt(user: Any, purpose: str, asked: Sequence[Any]) -> str:
    return f"gateway.desk {json.dumps([purpose, user.pk, *asked])}"
