"""From a file's bytes to upright 8-bit sRGB pixels: the one path for training and serving.

A network learns its decoder's rounding, so whatever packs photographs for
training and whatever serves them must decode alike. JPEG goes through
libjpeg-turbo (simplejpeg, which lets other threads run meanwhile), scaled in
the cosine domain; everything else, and any JPEG that it refuses, goes through
Pillow. Both use the same library for JPEG, so their pixels are equal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from melascope.errors import ImageError
from melascope.images.header import (
    JpegHeader,
    Limits,
    jpeg_header,
    open_with_pillow,
    orientation_of,
    refusal,
    sniff,
)
from melascope.images.quiet import quiet_pillow

if TYPE_CHECKING:
    from PIL import Image

DECODER_VERSION = "1"
"""Raised whenever the pixels of some file change; packed arrays are keyed by it."""

AtLeast = tuple[int, int] | Callable[[int, int], tuple[int, int]]
"""(height, width) that the decoded image must not fall below, or a function that gives it from the upright size."""

_DEFAULT_LIMITS = Limits()


def read_file(path: str | os.PathLike[str], limits: Limits = _DEFAULT_LIMITS) -> bytes:
    """Return the bytes of a file whose size is within the limits.

    Raises:
        ImageError: `missing`, `unreadable` (a directory, a device, no permission), `empty` or `too_large`.
    """
    try:
        # A named pipe would block for ever on opening, so the kind of file is asked first.
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("unreadable", "This is a directory, not a file.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("unreadable", "This is not a regular file.")
        limits.check_bytes(status.st_size)
        with Path(path).open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except FileNotFoundError:
        raise ImageError("missing", "The file does not exist.") from None
    except PermissionError:
        raise ImageError("unreadable", "The file may not be read; check its permissions.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError("unreadable", f"The file cannot be read ({reason}).") from None
    if not data:
        raise ImageError("empty", "The file is empty (0 bytes).")
    limits.check_bytes(len(data))
    return data


def decode(data: bytes, at_least: AtLeast | None = None, limits: Limits = _DEFAULT_LIMITS) -> np.ndarray:
    """Decode a photograph into upright sRGB pixels.

    EXIF orientation and ICC profiles are applied, alpha is laid over white, 16
    bits become 8 by their high byte, and of an animation the first frame is taken.

    Args:
        data: The file's bytes: JPEG, PNG, TIFF, BMP, WebP or GIF.
        at_least: `(height, width)`; a JPEG may be decoded at a half, a quarter
            or an eighth as long as both sides stay at least as long. None
            decodes at full size.
        limits: Largest file and image, checked before anything is allocated.

    Returns:
        `(h, w, 3)` uint8, sRGB, writable.

    Raises:
        ImageError: `empty`, `not_an_image`, `truncated`, `too_large`, `unsupported` or `unreadable`.
    """
    kind = sniff(data)
    limits.check_bytes(len(data))
    try:
        if kind == "JPEG":
            return _decode_jpeg(data, at_least, limits)
        with quiet_pillow():
            return _decode_with_pillow(data, kind, limits)
    except ImageError:
        raise
    except Exception as error:  # a damaged file makes decoders raise almost anything
        raise refusal(data, kind, error) from None


def _decode_jpeg(data: bytes, at_least: AtLeast | None, limits: Limits) -> np.ndarray:
    header = jpeg_header(data)
    limits.check_pixels(header.width, header.height)
    # Every 8 x 8 block of the finest component takes at least one bit, so that a tiny file
    # which claims a huge image is known to be cut off before the image is allocated.
    if len(data) * 512 < header.width * header.height:
        raise ImageError("truncated", "The JPEG is far too short for its size in pixels; copy it again.")
    scale = _scale(header, at_least)
    if header.components == 4:
        return _upright(_jpeg_with_pillow(data, header, scale), header.orientation)
    height, width = -(-header.height // scale), -(-header.width // scale)
    grey = header.components == 1 and header.icc is not None
    try:
        pixels = simplejpeg.decode_jpeg(
            data,
            "GRAY" if grey else "RGB",
            min_height=height if scale > 1 else 0,
            min_width=width if scale > 1 else 0,
            min_factor=2 if scale > 1 else 1,
        )
    except ValueError as error:
        # "Premature end" leaves part of the image grey. Pillow lets some of those pass; a half lesion must not.
        if "premature end" in str(error).lower():
            raise
        return _upright(_jpeg_with_pillow(data, header, scale), header.orientation)
    if pixels.shape[:2] != (height, width):  # tiny images, where two scales give one size
        return _upright(_jpeg_with_pillow(data, header, scale), header.orientation)
    if header.icc is not None:
        from PIL import Image

        pixels = _pixels(_to_srgb(Image.fromarray(pixels[..., 0] if grey else pixels), header.icc))
    return _upright(pixels, header.orientation)


def _scale(header: JpegHeader, at_least: AtLeast | None) -> int:
    """Return the largest of 8, 4, 2 and 1 by which the stored image may be divided."""
    if at_least is None:
        return 1
    height, width = header.height, header.width
    if header.orientation >= 5:
        height, width = width, height
    least = at_least(height, width) if callable(at_least) else at_least
    for scale in (8, 4, 2):
        if min(height, width) >= scale and height >= scale * least[0] and width >= scale * least[1]:
            return scale
    return 1


def _jpeg_with_pillow(data: bytes, header: JpegHeader, scale: int) -> np.ndarray:
    from PIL import JpegImagePlugin

    with quiet_pillow():
        image = JpegImagePlugin.JpegImageFile(BytesIO(data))
        if scale > 1:
            image.draft(None, (header.width // scale, header.height // scale))
        image.load()
        return _pixels(_to_srgb(image, header.icc))


def _decode_with_pillow(data: bytes, kind: str, limits: Limits) -> np.ndarray:
    image = open_with_pillow(data, kind, limits)
    if kind == "PNG":
        _check_deflate(data, image.size)
    tags: Any = getattr(image, "tag_v2", {})
    bits, white_is_zero = tags.get(258, (16,)), tags.get(262) == 0
    image.load()
    orientation = orientation_of(image)  # after loading: a PNG may carry it behind its pixels; a TIFF is upright by now
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow takes it of 16-bit colour. Some TIFF store 12 bits in 16.
        grey = (np.asarray(image) >> (int(bits[0]) - 8)).astype(np.uint8)
        return _upright(np.repeat((255 - grey if white_is_zero else grey)[..., None], 3, axis=2), orientation)
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise ImageError(
            "unsupported", f"The {kind} stores pixels as {image.mode}, whose range is unknown; save it with 8 bits."
        )
    return _upright(_pixels(_to_srgb(image, image.info.get("icc_profile"))), orientation)


def _check_deflate(data: bytes, size: tuple[int, int]) -> None:
    # Deflate shrinks by 1,032 at most, so that a short file cannot hold a large image.
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(data[25], 1)
    if size[0] * size[1] * channels * data[24] > 8 * 1032 * len(data):
        raise ImageError("truncated", "The PNG is far too short for its size in pixels; copy it again.")


def _to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Return the image as RGB in sRGB, its alpha laid over white."""
    from PIL import Image

    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    transform = _transform(bytes(icc), image.mode) if icc else None
    if transform is not None:
        image = transform.apply(image)
    elif image.mode != "RGB":
        image = image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, (255, 255, 255)), alpha)
    return image


@lru_cache(maxsize=16)
def _transform(icc: bytes, mode: str) -> Any:
    """Return the transform of a profile to sRGB; None where none is needed, or the profile is unusable."""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return None
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        # A damaged profile, or one for another kind of pixels: viewers show such photographs as sRGB too.
        return None


def _pixels(image: Image.Image) -> np.ndarray:
    return np.array(image)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels as the EXIF orientation (1 to 8) says."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
