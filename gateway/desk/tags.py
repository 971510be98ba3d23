"""What the desk's templates need beyond Django's own tags."""

import zlib
from datetime import UTC, datetime, timedelta

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TONES = 8


@register.filter
def moment(microseconds: int) -> SafeString | str:
    """A ``<time>`` in UTC, which the page's script turns into the viewer's zone; a dash for 0."""
    if not microseconds:
        return "–"
    at = _EPOCH + timedelta(microseconds=int(microseconds))
    text = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}Z", text, text
    )


@register.filter
def tone(session: str) -> int:
    """One of a few colours, the same for a session everywhere."""
    return zlib.crc32(session.encode(errors="replace")) % _TONES


@register.filter
def thousands(number: int) -> str:
    """``1234567`` as ``1,234,567``."""
    return f"{int(number):,}"
