"""Cells of a CSV that a spreadsheet must not take for formulas; see OWASP, CSV injection.

A text that begins like a formula is written with an apostrophe before it, and
so is one that begins with apostrophes and then like a formula; a reader takes
one apostrophe off again, so that the text comes back as it was.
"""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with; the wide ones are the same signs in East Asian typing."""


def quoted(text: str) -> str:
    """Return a text as it is written into a CSV.

    Example:
        >>> quoted("=HYPERLINK(1)")
        "'=HYPERLINK(1)"
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA) else text


def unquoted(text: str) -> str:
    """Return a text as it was before `quoted`.

    Example:
        >>> unquoted("'=HYPERLINK(1)"), unquoted("'tis")
        ('=HYPERLINK(1)', "'tis")
    """
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA) else text
