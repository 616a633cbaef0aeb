"""A count and its noun: `1 photograph`, `2,357 photographs`. Apart, so that every room can say it."""

from __future__ import annotations


def plural(n: int, one: str, many: str | None = None) -> str:
    """Return a count with the noun, or noun and verb, that agrees with it.

    Example:
        >>> plural(1, "photograph stands", "photographs stand"), plural(2357, "lesion")
        ('1 photograph stands', '2,357 lesions')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
