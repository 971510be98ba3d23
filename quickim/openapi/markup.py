"""The few marks that the document's texts use (a part of CommonMark) as HTML.

Paragraphs apart by a blank line, ``- `` items, `code` and **strong**; everything else is text and is escaped.
"""

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")


def to_html(text: str) -> SafeString:
    """``text`` as paragraphs and lists."""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    # Escaped piece by piece below; the marks themselves hold no text.
    return mark_safe("\n".join(_block(block) for block in blocks))  # noqa: S308


def to_inline_html(text: str) -> SafeString:
    """``text`` as part of a line."""
    return mark_safe(_inline(text))  # noqa: S308


def _block(block: str) -> str:
    lines = block.splitlines()
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>"
    return f"<p>{_inline(block)}</p>"


def _inline(text: str) -> str:
    return _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text)))
