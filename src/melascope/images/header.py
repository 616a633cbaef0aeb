"""What a photograph's first bytes say: its format, its size, its orientation.

Everything is read from headers alone, so that a file which claims to be
60,000 pixels wide is refused before a single pixel is allocated.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from melascope.errors import ImageError
from melascope.images.quiet import quiet_pillow

if TYPE_CHECKING:
    from PIL import ImageFile

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")
"""The formats that are read; anything else is refused."""

# A progressive JPEG costs its whole size again for each scan; encoders write about ten.
_MOST_SCANS = 200
_ORIENTATION = 0x0112
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


@dataclass(frozen=True)
class Limits:
    """How large a photograph may be before it is refused.

    Attributes:
        max_bytes: Bytes of the file.
        max_pixels: Width times height, as the header states them.
    """

    max_bytes: int = 100_000_000
    max_pixels: int = 120_000_000

    def check_bytes(self, size: int) -> None:
        """Refuse a file of `size` bytes when that is too many; raises ImageError (`too_large`)."""
        if size > self.max_bytes:
            raise ImageError(
                "too_large", f"The file has {size / 1e6:,.0f} MB; at most {self.max_bytes / 1e6:,.0f} MB are read."
            )

    def check_pixels(self, width: int, height: int) -> None:
        """Refuse a photograph of this size when it is too large (`too_large`) or empty (`unreadable`)."""
        if width < 1 or height < 1:
            raise ImageError("unreadable", f"The image header states a size of {width} x {height} pixels.")
        if width * height > self.max_pixels:
            raise ImageError(
                "too_large",
                f"The image is {width:,} x {height:,} pixels; at most {self.max_pixels / 1e6:,.0f} megapixels "
                "are read.",
            )


@dataclass(frozen=True)
class Header:
    """What the header states.

    Attributes:
        format: One of `FORMATS`.
        width: Pixels, as the photograph is seen (orientation applied).
        height: Pixels, as the photograph is seen.
        mode: How pixels are stored, in Pillow's words: `RGB`, `L`, `CMYK`, `P`, `I;16`.
        orientation: The EXIF orientation, 1 to 8; 1 is upright.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int


@dataclass
class JpegHeader:
    """The markers of a JPEG file before its first scan; width and height as stored."""

    width: int = 0
    height: int = 0
    components: int = 0
    orientation: int = 1
    icc_parts: dict[int, bytes] = field(default_factory=dict)

    @property
    def icc(self) -> bytes | None:
        """The ICC profile, joined from its segments."""
        return b"".join(self.icc_parts[number] for number in sorted(self.icc_parts)) or None


def sniff(data: bytes) -> str:
    """Return the format that the first bytes announce, one of `FORMATS`.

    Raises:
        ImageError: `empty`, `unsupported` (an image of another kind) or `not_an_image`.
    """
    if not data:
        raise ImageError("empty", "The file is empty (0 bytes).")
    start = data[:16]
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    # Two letters are little; the header's own length and the reserved zeros make sure.
    if start[:2] == b"BM" and len(data) > 26 and data[6:10] == bytes(4) and data[14] in (12, 40, 52, 56, 64, 108, 124):
        return "BMP"
    raise _not_read(data)


def _not_read(data: bytes) -> ImageError:
    named = {b"ftyp": "HEIC or AVIF", b"jP  ": "JPEG 2000"}.get(data[4:8])
    if data[128:132] == b"DICM":
        named = "DICOM"
    if named:
        return ImageError(
            "unsupported", f"This is a {named} file, which is not read here; save it as JPEG, PNG or TIFF."
        )
    beginning = data[:512]
    if not beginning.strip(b"\0"):
        return ImageError("not_an_image", "The file begins with zero bytes only; its content was lost, copy it again.")
    if re.match(rb"\s*(<!doctype html|<html|<head|<\?xml)", beginning.removeprefix(b"\xef\xbb\xbf"), re.IGNORECASE):
        return ImageError("not_an_image", "This is a web page or XML, not a photograph; download the photograph again.")
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in beginning):
        return ImageError("not_an_image", "This is a text file, not a photograph.")
    return ImageError("not_an_image", f"This is not an image that can be read ({', '.join(FORMATS)}).")


def stated_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Return (width, height) from the first bytes of a PNG, GIF or WebP, or None where those do not tell."""
    if kind == "PNG" and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if kind == "GIF" and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    if kind == "WEBP" and len(data) >= 30:
        # Pillow's WebP decoder allocates its canvas on opening, so the size must be known before.
        if data[12:16] == b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        if data[12:16] == b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if data[12:16] == b"VP8 ":
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF
    return None


def jpeg_header(data: bytes) -> JpegHeader:
    """Read the markers of a JPEG up to its first scan, in about ten microseconds.

    Raises:
        ImageError: `truncated`, `unsupported` (lossless, 12-bit, two components, or too many scans) or `unreadable`.
    """
    found = JpegHeader()
    position = 2
    while True:
        position = data.find(b"\xff", position)
        while 0 <= position < len(data) and data[position] == 0xFF:
            position += 1
        if position < 0 or position + 3 > len(data):
            raise ImageError("truncated", "The JPEG ends before its pixels begin; copy it again.")
        marker = data[position]
        position += 1
        if marker == 0 or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these carry no length
            continue
        if marker in (0xDA, 0xD9):
            break
        length = int.from_bytes(data[position : position + 2], "big")
        segment = data[position + 2 : position + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            _frame(found, marker, segment)
        elif marker == 0xE1 and segment.startswith(b"Exif\0"):
            found.orientation = _exif_orientation(segment[6:]) or found.orientation
        elif marker == 0xE1 and found.orientation == 1:
            xmp = _XMP_ORIENTATION.search(segment)
            found.orientation = int(xmp.group(1)) if xmp else 1
        elif marker == 0xE2 and segment.startswith(b"ICC_PROFILE\0") and len(segment) > 14:
            found.icc_parts[segment[12]] = segment[14:]
        position += max(length, 2)
    if not found.components:
        raise ImageError("unreadable", "The JPEG has no frame header; the file is damaged.")
    _check_scans(data, position, found)
    return found


def _frame(found: JpegHeader, marker: int, segment: bytes) -> None:
    if len(segment) < 6:
        raise ImageError("truncated", "The JPEG ends within its frame header; copy it again.")
    precision, found.height, found.width, found.components = struct.unpack(">BHHB", segment[:6])
    if precision != 8 or marker not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA) or found.components not in (1, 3, 4):
        raise ImageError(
            "unsupported",
            f"This JPEG is of a rare kind ({precision} bits, {found.components} components, process {marker - 0xC0}); "
            "save it as an ordinary 8-bit JPEG.",
        )


def _check_scans(data: bytes, position: int, found: JpegHeader) -> None:
    scans = data.count(b"\xff\xda", position)
    if scans > _MOST_SCANS:
        raise ImageError("unsupported", f"The JPEG has {scans} scans, more than any camera writes; save it again.")


def _exif_orientation(tiff: bytes) -> int | None:
    """Return the orientation tag of an EXIF block, or None; damaged EXIF counts as none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return None
    start = struct.unpack_from(order + "I", tiff, 4)[0]
    if start + 2 > len(tiff):
        return None
    entries = struct.unpack_from(order + "H", tiff, start)[0]
    for entry in range(start + 2, min(start + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, _count, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == _ORIENTATION:
            return value if kind == 3 and 1 <= value <= 8 else None
    return None


def read_header(data: bytes) -> Header:
    """Return what a photograph's header states, without decoding a pixel.

    Args:
        data: The file's bytes.

    Raises:
        ImageError: As `decode` does, but for damage past the header, which is not seen, and for the limit on
            pixels, which is not checked (but for WebP): a report wants to name the size of what was refused.

    Example:
        >>> read_header(Path("lesion.jpg").read_bytes())
        Header(format='JPEG', width=1024, height=768, mode='RGB', orientation=1)
    """
    kind = sniff(data)
    if kind == "JPEG":
        jpeg = jpeg_header(data)
        width, height, orientation = jpeg.width, jpeg.height, jpeg.orientation
        mode = {1: "L", 3: "RGB", 4: "CMYK"}[jpeg.components]
    else:
        with quiet_pillow():
            try:
                # Only WebP allocates on opening.
                image = open_with_pillow(data, kind, Limits() if kind == "WEBP" else Limits(max_pixels=2**62))
                (width, height), mode = image.size, image.mode
                orientation = 1 if kind == "TIFF" else orientation_of(image)  # Pillow gives a TIFF's size upright
            except ImageError:
                raise
            except Exception as error:
                raise refusal(data, kind, error) from None
    if orientation >= 5:
        width, height = height, width
    return Header(kind, width, height, mode, orientation)


def open_with_pillow(data: bytes, kind: str, limits: Limits) -> ImageFile.ImageFile:
    """Open a file with the one Pillow plugin of its format, sizes checked first.

    `PIL.Image.open` is not used: it tries every plugin installed, and raises or
    warns by limits of its own, which are global to the process.
    """
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    plugins: dict[str, Callable[[BytesIO], ImageFile.ImageFile]] = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "GIF": GifImagePlugin.GifImageFile,
    }
    size = stated_size(data, kind)
    if size is not None:
        limits.check_pixels(*size)
    image = plugins[kind](BytesIO(data))
    limits.check_pixels(*image.size)
    return image


def orientation_of(image: ImageFile.ImageFile) -> int:
    """Return the EXIF orientation of an image opened by Pillow, 1 where it states none or nonsense."""
    from PIL import Image

    # Pillow's PNG plugin would decode all pixels first, to look for EXIF behind them.
    value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def refusal(data: bytes, kind: str, error: Exception) -> ImageError:
    """Turn whatever a decoder raised into the sentence for the user: `truncated` or `unreadable`."""
    if isinstance(error, MemoryError):
        return ImageError("too_large", "There is not enough memory to decode this image.")
    said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    if _ends_early(data, kind) or re.search(r"truncated|premature end", said, re.IGNORECASE):
        return ImageError("truncated", f"The {kind} file ends before its image does; copy or export it again.")
    return ImageError("unreadable", f"The {kind} file is damaged and cannot be decoded ({said}).")


def _ends_early(data: bytes, kind: str) -> bool:
    if kind == "JPEG":
        return b"\xff\xd9" not in data[-2:]
    if kind == "PNG":
        return b"IEND\xaeB`\x82" not in data
    if kind == "WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if kind == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if kind == "BMP":
        return len(data) < int.from_bytes(data[2:6], "little")
    directory = data[4:8] if data[:2] == b"MM" else data[7:3:-1]
    return len(data) < max(int.from_bytes(directory, "big") + 2, 10)
