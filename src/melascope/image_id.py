"""The canonical id of a photograph: the one spelling by which sets, tables and findings agree.

Apart from `datasets`, so that a finding can be given without loading tables.
"""

from __future__ import annotations

import re

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif", ".dcm")
)
"""Endings that are no part of an image's id."""

_COPY = re.compile(r"^(.*\d.*?)\s*\(\d{1,3}\)$", re.DOTALL)
_DOWNSAMPLED = re.compile(r"_downsampled$", re.IGNORECASE)
_BALANCING = re.compile(r"^(.+)_COPY\d{4,}$", re.DOTALL)


def canonical_id(name: str) -> str:
    """Return the one spelling of an image's id: no folder, extension, copy counter or `_downsampled`; upper case.

    A counter such as ` (1)` is taken off only where a number is left:
    `ISIC_0000001 (1)` is a copy of `ISIC_0000001`, but `melanoma (1)` to
    `melanoma (400)` is how file managers name 400 different photographs.

    Example:
        >>> canonical_id("Train/isic_0000001_downsampled (1).JPG")
        'ISIC_0000001'
    """
    plain = re.split(r"[\\/]", str(name).strip())[-1]
    while True:
        stem, dot, ending = plain.rpartition(".")
        shorter = stem if stem and f".{ending.lower()}" in EXTENSIONS and dot else plain
        shorter = _DOWNSAMPLED.sub("", shorter)
        copy = _COPY.match(shorter)
        if copy is not None:
            shorter = copy.group(1)
        shorter = shorter.strip()
        if shorter == plain or not shorter:
            return plain.upper()
        plain = shorter


def copy_source(image_id: str) -> str | None:
    """Return the id of the photograph of which `data balance` made this one, or None for an original.

    Args:
        image_id: Canonical.

    Example:
        >>> copy_source("ISIC_0000001_COPY0012"), copy_source("ISIC_0000001")
        ('ISIC_0000001', None)
    """
    found = _BALANCING.match(image_id)
    return found.group(1) if found else None
