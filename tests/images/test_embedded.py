from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from melascope.images.embedded import KINDS, attribution, licence_name, personal

PIXELS = Image.fromarray(np.full((16, 20, 3), 180, np.uint8))


def _saved(kind: str = "JPEG", **how: object) -> bytes:
    out = io.BytesIO()
    PIXELS.save(out, kind, **how)
    return out.getvalue()


def _exif(base: dict[int, object] | None = None, ifd: dict[int, object] | None = None, gps: bool = False) -> bytes:
    exif = Image.Exif()
    for tag, value in (base or {}).items():
        exif[tag] = value
    if ifd:
        exif.get_ifd(0x8769).update(ifd)
    if gps:
        exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0), 3: "E", 4: (16.0, 22.0, 0.0)})
    return exif.tobytes()


def _with_segment(marker: int, content: bytes) -> bytes:
    plain = _saved()
    return plain[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content + plain[2:]


def _xmp(inside: str) -> bytes:
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description {inside}</rdf:RDF></x:xmpmeta>'
    return _with_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet.encode())


FULL = {
    "base": {0x013B: "Jane Roe", 0x8298: "(c) Clinic", 0x0132: "2019:03:01 10:00:00"},
    "ifd": {0x9003: "2019:03:01 09:59:00", 0xA430: "J. Roe", 0xA431: "4711", 0xA435: "0815", 0xA420: "ab12"},
    "gps": True,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_plain_files_say_nothing(kind):
    assert personal(_saved(kind)) == []
    assert attribution(_saved(kind)) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_is_read_in_every_format_and_no_value_is_repeated(kind):
    found = personal(_saved(kind, exif=_exif(**FULL)))
    assert found == [
        "GPS position",
        "artist's name",
        "owner's name",
        "date taken",
        "date of a change",
        "camera's serial number",
        "lens's serial number",
        "image's unique id",
    ]
    assert set(found) <= set(KINDS)
    assert "Roe" not in " ".join(found)
    assert attribution(_saved(kind, exif=_exif(**FULL))) == "(c) Clinic; by Jane Roe"


def test_what_a_camera_writes_everywhere_is_no_personal_data():
    exif = _exif({0x010F: "Canon", 0x0110: "EOS", 0x010E: "OLYMPUS DIGITAL CAMERA", 0x0112: 1, 0x0131: "Adobe"})
    assert personal(_saved(exif=exif)) == []
    assert personal(_saved(exif=_exif({0x0132: "0000:00:00 00:00:00", 0x013B: "  "}))) == []
    for comment in (
        "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90",
        "LEAD Technologies Inc. V1.01",
        "Lavc57",
    ):
        assert personal(_saved(comment=comment.encode())) == []


@pytest.mark.parametrize(
    "comment", ["John Doe", "DOE^JOHN", "Doe, John 12", "Patient: 12345", "JOHN DOE", "Dr. Anna Smith, room 4"]
)
def test_comments_like_names_are_named(comment):
    assert "comment that may hold a name" in personal(_saved(comment=comment.encode()))


@pytest.mark.parametrize("comment", ["1960-01-01", "born 3.12.1984", "taken 2019/03/01 in the morning"])
def test_comments_with_dates_are_named(comment):
    assert "comment that holds a date" in personal(_saved(comment=comment.encode()))
    assert personal(_saved(comment=b"version 1.2.3 of 20 images, 1234567890")) == []


def test_a_windows_author_and_a_unicode_comment_are_read():
    exif = _exif(
        {0x9C9D: "Jane Roe".encode("utf-16-le") + b"\0\0"}, {0x9286: b"UNICODE\0" + "Jane Roe".encode("utf-16-be")}
    )
    # Pillow writes big-endian or little-endian EXIF by platform; the artist is read either way.
    assert "artist's name" in personal(_saved(exif=exif))


def test_xmp_is_read_as_elements_and_as_attributes():
    data = _xmp(
        'exif:GPSLatitude="48,12N" aux:SerialNumber="12" photoshop:DateCreated="2019-03-01">'
        "<dc:creator><rdf:Seq><rdf:li>Jane Roe</rdf:li></rdf:Seq></dc:creator>"
        "<Iptc4xmpExt:PersonInImage><rdf:Bag><rdf:li>X Y</rdf:li></rdf:Bag></Iptc4xmpExt:PersonInImage>"
        '<cc:license rdf:resource="http://creativecommons.org/licenses/by-nc/4.0/"/>'
        "<dc:rights><rdf:Alt><rdf:li>ViDIR &amp; Clinic</rdf:li></rdf:Alt></dc:rights></rdf:Description>"
    )
    assert personal(data) == [
        "GPS position", "artist's name", "name of a person shown", "date taken", "camera's serial number",
    ]  # fmt: skip
    assert attribution(data) == "CC BY-NC; ViDIR & Clinic; by Jane Roe"


def test_iptc_is_read():
    def dataset(number: int, text: bytes) -> bytes:
        return b"\x1c\x02" + bytes((number,)) + struct.pack(">H", len(text)) + text

    records = dataset(80, b"Jane Roe") + dataset(55, b"20190301") + dataset(90, b"Vienna") + dataset(116, b"CC-0")
    resource = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(records)) + records
    data = _with_segment(0xED, b"Photoshop 3.0\0" + resource)
    assert personal(data) == ["place's name", "artist's name", "date taken"]
    assert attribution(data) == "CC-0; by Jane Roe"


def test_png_text_is_read_packed_or_not():
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Jane Roe", zip=True)
    info.add_itxt("Copyright", "© Clinic", zip=True)
    info.add_text("Creation Time", "2019-03-01")
    info.add_text("Software", "John Doe")
    data = _saved("PNG", pnginfo=info)
    assert personal(data) == ["artist's name", "date taken"]
    assert attribution(data) == "© Clinic; by Jane Roe"


def test_a_packed_text_may_not_fill_the_memory():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 30_000_000, zip=True)
    assert personal(_saved("PNG", pnginfo=info)) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC BY-NC 4.0", "CC BY-NC"),
        ("CC-BY-NC", "CC BY-NC"),
        ("CC-BY", "CC BY"),
        ("CC-0", "CC-0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC-0"),
        ("Creative Commons Attribution-NonCommercial 4.0", "CC BY-NC"),
        ("https://creativecommons.org/licenses/by-sa/4.0", "CC BY-SA"),
        ("All rights reserved.", "all rights reserved"),
        ("(c) Clinic", None),
    ],
)
def test_licences_are_recognised(text, name):
    assert licence_name(text) == name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_damaged_metadata_yield_what_could_be_read_and_never_raise(kind):
    data = _saved(kind, exif=_exif(**FULL))
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), 12):
            damaged[place] = generator.integers(0, 256)
        cut = bytes(damaged[: generator.integers(0, len(data))])
        for content in (bytes(damaged), cut):
            assert set(personal(content)) <= set(KINDS)
            attribution(content)
    # A directory that points outside the file keeps what stands before it.
    exif = _exif({0x013B: "Jane Roe"}, {0x9003: "2019:03:01 09:59:00"})
    cut = exif[: exif.find(b"2019")]
    whole = _saved()
    segment = b"\xff\xe1" + struct.pack(">H", len(cut) + 2) + cut
    assert personal(whole[:2] + segment + whole[2:]) == ["artist's name"]


def test_other_files_say_nothing():
    for data in (
        b"",
        b"\xff\xd8",
        b"plain text",
        b"RIFF0000WEBP",
        b"\x89PNG\r\n\x1a\n",
        b"II*\0",
        b"MM\0*\xff\xff\xff\xff",
    ):
        assert personal(data) == []
        assert attribution(data) is None
