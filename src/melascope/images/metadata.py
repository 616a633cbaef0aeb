"""Reading the metadata of an image file: EXIF, XMP, IPTC, comments and PNG text, as plain facts.

A reader of its own rather than Pillow's: it takes microseconds where there is
nothing, goes on behind a damaged entry, and decompresses no more than a limit.
"""

from __future__ import annotations

import html
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from melascope.images.file_traits import jpeg_segments


class Fact(NamedTuple):
    """One thing that a file states.

    Attributes:
        kind: `artist`, `rights`, `licence`, `owner`, `person`, `gps`, `place`, `taken`, `changed`, `serial`,
            `lens_serial`, `unique_id` or `comment`.
        value: As text.
    """

    kind: str
    value: str


_MOST_TEXT = 1 << 16
_MOST_ENTRIES = 512
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_EXIF_POINTER, _GPS_POINTER = 0x8769, 0x8825
_TAGS = {
    0x010E: "comment",  # ImageDescription
    0x013B: "artist",
    0x8298: "rights",
    0x0132: "changed",
    0x9003: "taken",
    0x9004: "taken",
    0x9286: "comment",  # UserComment
    **dict.fromkeys((0x9C9B, 0x9C9C, 0x9C9E, 0x9C9F), "comment"),  # Windows' title, comment, keywords, subject
    0x9C9D: "artist",  # Windows' author
    0xA420: "unique_id",
    0xA430: "owner",
    0xA431: "serial",
    0xA435: "lens_serial",
    0xC62F: "serial",
}
_IPTC = {
    55: "taken",
    62: "taken",
    80: "artist",
    90: "place",
    92: "place",
    110: "rights",
    116: "rights",
    118: "person",
    120: "comment",
    122: "artist",
}
_XMP = tuple(
    # <ns:Name>text or rdf:li</ns:Name>, or ns:Name="text"; bounded, so that no packet makes the search slow
    (
        kind,
        re.compile(
            rb"<(%b)\b[^>]{0,500}?(?:/>|>(.{0,2000}?)</\1>)|\b(?:%b)=\"([^\"]{0,500})\"" % (names, names), re.DOTALL
        ),
    )
    for kind, names in (
        ("artist", rb"dc:creator|tiff:Artist|photoshop:CaptionWriter"),
        ("rights", rb"dc:rights|tiff:Copyright|photoshop:Credit"),
        ("licence", rb"cc:license|xmpRights:WebStatement|xmpRights:UsageTerms|xmpRights:licen[cs]e"),
        ("owner", rb"aux:OwnerName|exifEX:CameraOwnerName|xmpRights:Owner"),
        ("person", rb"Iptc4xmpExt:PersonInImage|MPReg:PersonDisplayName|mwg-rs:Name"),
        ("gps", rb"exif:GPSLatitude|exif:GPSLongitude"),
        ("place", rb"photoshop:City|Iptc4xmpCore:Location|Iptc4xmpExt:Sublocation"),
        ("taken", rb"exif:DateTimeOriginal|photoshop:DateCreated|xmp:CreateDate"),
        ("changed", rb"xmp:ModifyDate"),
        ("serial", rb"aux:SerialNumber|exifEX:BodySerialNumber"),
        ("lens_serial", rb"aux:LensSerialNumber|exifEX:LensSerialNumber"),
        ("unique_id", rb"exif:ImageUniqueID"),
        ("comment", rb"dc:description|dc:title|exif:UserComment|photoshop:Headline"),
    )
)
_PNG_TEXT = {
    "author": "artist",
    "artist": "artist",
    "copyright": "rights",
    "license": "licence",
    "licence": "licence",
    "creation time": "taken",
    "date:create": "changed",
    "date:modify": "changed",
    "description": "comment",
    "comment": "comment",
    "title": "comment",
}


def _as_far_as_sound(read: Callable[[bytes], Iterator[Fact]]) -> Callable[[bytes], Iterator[Fact]]:
    """Let a reader end at the damage that it meets, so that what it read before and what stands behind are kept."""

    def reading(data: bytes) -> Iterator[Fact]:
        with suppress(struct.error, zlib.error, ValueError, IndexError, OverflowError):
            yield from read(data)

    return reading


def facts(data: bytes) -> list[Fact]:
    """Return what a file states beside its pixels; of damaged metadata what could be read, and never an error."""
    return list(islice(_facts(data), _MOST_ENTRIES))


@_as_far_as_sound
def _facts(data: bytes) -> Iterator[Fact]:
    if data[:2] == b"\xff\xd8":
        yield from _of_jpeg(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _of_png(data)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        yield from _of_exif(data)
        yield from _of_xmp(_packet(data))
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _of_webp(data)
    elif data[:4] == b"GIF8":
        for comment in re.finditer(rb"!\xfe([\x01-\xff])", data[:_MOST_TEXT]):
            yield Fact("comment", _text(data[comment.end() : comment.end() + comment.group(1)[0]]))
        yield from _of_xmp(_packet(data))


def _packet(data: bytes) -> bytes:
    start = data.find(b"<x:xmpmeta")
    return data[start : start + _MOST_TEXT] if start >= 0 else b""


def _of_jpeg(data: bytes) -> Iterator[Fact]:
    for marker, segment in jpeg_segments(data):
        if marker == 0xFE:
            yield Fact("comment", _text(segment))
        elif marker == 0xE1 and segment.startswith(b"Exif\0"):
            yield from _of_exif(segment[6:])
        elif marker == 0xE1 and segment.startswith(b"http://ns.adobe.com/"):
            yield from _of_xmp(segment)
        elif marker == 0xED and segment.startswith(b"Photoshop 3.0\0"):
            yield from _of_iptc(segment[14:])


def _of_png(data: bytes) -> Iterator[Fact]:
    position = 8
    for _ in range(_MOST_ENTRIES):
        if position + 8 > len(data):
            return
        length = int.from_bytes(data[position : position + 4], "big")
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + min(length, 1 << 24)]
        position += 12 + length
        if kind == b"eXIf":
            yield from _of_exif(body)
        elif kind == b"tIME" and len(body) == 7:
            yield Fact("changed", f"{int.from_bytes(body[:2], 'big')}-{body[2]}-{body[3]}")
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, text = _png_text(kind, body)
            if key == "xml:com.adobe.xmp":
                yield from _of_xmp(text)
            elif key in ("raw profile type exif", "raw profile type app1"):
                raw = bytes.fromhex("".join(re.findall(r"\b[0-9a-fA-F]{8,}\b", _text(text))))
                yield from _of_exif(raw.removeprefix(b"Exif\0\0"))
            elif key in _PNG_TEXT:
                yield Fact(_PNG_TEXT[key], _text(text))


def _png_text(kind: bytes, body: bytes) -> tuple[str, bytes]:
    key, _, rest = body.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\x01"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        text = zlib.decompressobj().decompress(rest, _MOST_TEXT) if packed else rest[:_MOST_TEXT]
    except zlib.error:
        text = b""
    return _text(key).lower(), text


def _of_webp(data: bytes) -> Iterator[Fact]:
    position = 12
    for _ in range(_MOST_ENTRIES):
        if position + 8 > len(data):
            return
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        kind, body = data[position : position + 4], data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
        if kind == b"EXIF":
            yield from _of_exif(body.removeprefix(b"Exif\0\0"))
        elif kind == b"XMP ":
            yield from _of_xmp(body)


@_as_far_as_sound
def _of_exif(tiff: bytes) -> Iterator[Fact]:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return
    first = struct.unpack_from(order + "I", tiff, 4)[0]
    waiting, seen = [(first, False)], set()
    while waiting:
        start, gps = waiting.pop(0)
        if start in seen:
            continue
        seen.add(start)
        for tag, kind, value in _entries(tiff, order, start):
            if gps:
                if tag in (2, 4) and any(value):
                    yield Fact("gps", "stated")
                elif tag == 29:
                    yield Fact("taken", _text(value))
            elif tag in (_EXIF_POINTER, _GPS_POINTER) and len(value) >= 4:
                waiting.append((struct.unpack_from(order + "I", value)[0], tag == _GPS_POINTER))
            elif tag == 0x02BC:
                yield from _of_xmp(value)
            elif tag in _TAGS:
                yield Fact(_TAGS[tag], _exif_text(tag, kind, value, order))


def _entries(tiff: bytes, order: str, start: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield tag, type and raw value of each entry of a directory; one that points outside the file is left out."""
    if start + 2 > len(tiff):
        return
    count = min(struct.unpack_from(order + "H", tiff, start)[0], _MOST_ENTRIES)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", tiff, entry)
        size = _SIZES.get(kind, 0) * number
        place = entry + 8 if size <= 4 else struct.unpack_from(order + "I", tiff, entry + 8)[0]
        value = tiff[place : place + min(size, _MOST_TEXT)]
        if value:
            yield tag, kind, value


def _exif_text(tag: int, kind: int, value: bytes, order: str) -> str:
    if 0x9C9B <= tag <= 0x9C9F:  # Windows writes these in UTF-16, as bytes
        return value.decode("utf-16-le", "replace").strip("\0 ")
    if tag == 0x9286:
        name, value = value[:8], value[8:]
        if name.startswith(b"UNICODE"):
            return value.decode("utf-16-le" if order == "<" else "utf-16-be", "replace").strip("\0 ")
    if kind in (3, 4):
        return str(int.from_bytes(value[: _SIZES[kind]], "little" if order == "<" else "big"))
    return _text(value)


def _of_xmp(packet: bytes) -> Iterator[Fact]:
    packet = packet[:_MOST_TEXT]
    for kind, pattern in _XMP:
        for hit in pattern.finditer(packet):
            inside = hit.group(2) if hit.group(3) is None else hit.group(3)
            # A licence is often an attribute of an empty element: <cc:license rdf:resource="..."/>
            address = re.search(rb"rdf:resource=\"([^\"]{0,500})\"", hit.group(0))
            text = address.group(1) if address else re.sub(rb"<[^>]*>", b" ", inside or b"")
            yield Fact(kind, html.unescape(_text(text)))


@_as_far_as_sound
def _of_iptc(resources: bytes) -> Iterator[Fact]:
    """Yield the facts of Photoshop's image resources: number 0x0404 holds the IPTC records."""
    position = 0
    while resources[position : position + 4] == b"8BIM" and position + 12 <= len(resources):
        number = int.from_bytes(resources[position + 4 : position + 6], "big")
        position += 6
        position += (resources[position] + 2) // 2 * 2  # a name, padded to an even length with its length byte
        size = int.from_bytes(resources[position : position + 4], "big")
        body = resources[position + 4 : position + 4 + size]
        position += 4 + size + size % 2
        if number != 0x0404:
            continue
        place = 0
        while place + 5 <= len(body) and body[place] == 0x1C:
            record, dataset, length = (
                body[place + 1],
                body[place + 2],
                int.from_bytes(body[place + 3 : place + 5], "big"),
            )
            if record == 2 and dataset in _IPTC:
                yield Fact(_IPTC[dataset], _text(body[place + 5 : place + 5 + length]))
            place += 5 + length


def _text(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.strip("\0 \t\r\n")
