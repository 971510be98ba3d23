"""What pages read of a query string. What is malformed counts as absent: it was typed into the address bar."""

from datetime import UTC, datetime

from django.http import HttpRequest

from quickim.rest.fields import SESSION_PATTERN


def kept(request: HttpRequest, *but: str) -> dict[str, str]:
    """What the next page is asked with again."""
    return {name: str(value) for name, value in request.GET.items() if name not in but and value}


def number(text: str) -> int | None:
    """A number from 0 on that the database can hold."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def session(text: str) -> str:
    """A session, as it is; "" for what can be none."""
    return text if SESSION_PATTERN.fullmatch(text) else ""


def moment(text: str, *, days: int = 0, offset_minutes: str = "") -> int | None:
    """Microseconds of a day or moment as browsers send them, ``days`` later; ``offset_minutes`` (west is positive, as
    browsers count) says in which zone, UTC if absent."""
    try:
        at = datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)
        shift = max(-1_440, min(1_440, int(offset_minutes or 0)))
    except ValueError:
        return None
    return int(at.timestamp() + days * 86_400 + shift * 60) * 1_000_000
