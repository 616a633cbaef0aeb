"""What a file tells before its pixels: how it was compressed, and how much stands beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np

from melascope.images.header import Header

# The luminance table of the JPEG standard (ITU T.81, annex K), row by row.
_LUMINANCE = np.frombuffer(
    bytes.fromhex(
        "100b0a101828333d0c0c0e131a3a3c370e0d1018283945380e11161d3357503e"
        "12162538446d674d182337405168715c31404e5767797865485c5f6270646763"
    ),
    np.uint8,
).astype(np.int64)


def file_traits(data: bytes, header: Header) -> dict[str, float]:
    """Return `compression` and, of a JPEG, `jpeg_quality`, `chroma_pixels`, `header_bytes`: see `traits`.

    Nothing is decoded, and what is damaged or missing is left out.
    """
    found = {"compression": len(data) / max(1, header.width * header.height)}
    if header.format != "JPEG":
        return found
    described = 0
    for marker, segment in jpeg_segments(data):
        if marker == 0xDB and "jpeg_quality" not in found:
            found["jpeg_quality"] = _quality(segment)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            found["chroma_pixels"] = _chroma_pixels(segment)
        elif marker == 0xFE or (0xE0 <= marker <= 0xEF and not segment.startswith(b"ICC_PROFILE")):
            described += len(segment) + 4
    found["header_bytes"] = float(described)
    return found


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment before a JPEG's pixels; what is damaged ends it."""
    position = 2
    for _ in range(1000):
        position = data.find(b"\xff", position)
        while 0 <= position < len(data) and data[position] == 0xFF:
            position += 1
        if position < 0 or position + 3 > len(data):
            return
        marker = data[position]
        position += 1
        if marker == 0 or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these carry no length
            continue
        if marker in (0xDA, 0xD9):
            return
        length = max(2, int.from_bytes(data[position : position + 2], "big"))
        yield marker, data[position + 2 : position + length]
        position += length


def _quality(tables: bytes) -> float:
    """Return the quality whose standard luminance table has the sum nearest to the first table's."""
    wide = bool(tables[:1]) and tables[0] >> 4 == 1
    body = tables[1 : 129 if wide else 65]
    if len(body) < (128 if wide else 64):
        return math.nan
    total = int(np.frombuffer(body, ">u2" if wide else "u1").sum())
    return float(np.abs(_sums() - total).argmin() + 1)


@cache
def _sums() -> np.ndarray:
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables = np.clip((_LUMINANCE[None] * scale[:, None] + 50) // 100, 1, 255)
    sums: np.ndarray = tables.sum(axis=1)
    return sums


def _chroma_pixels(frame: bytes) -> float:
    if len(frame) < 12 or frame[5] < 3:
        return math.nan
    luma, chroma = frame[7], frame[10]
    pixels, colours = (luma >> 4) * (luma & 15), (chroma >> 4) * (chroma & 15)
    return colours / pixels if pixels else math.nan
