from __future__ import annotations

import io
import logging
import os
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from melascope.errors import ImageError
from melascope.images import Limits, decode, read_file, read_header


def photograph(width: int = 48, height: int = 36, seed: int = 0) -> np.ndarray:
    """A smooth coloured image whose four corners differ, so that any turn is seen."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    pixels = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    pixels[: height // 3, : width // 3] = (220, 30, 30)
    return pixels


def encode(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def png(width: int, height: int, depth: int, colour: int, raw: bytes = b"", *extra: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def kind_of(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(ImageError) as raised:
        decode(data, limits=limits or Limits())
    assert str(raised.value).endswith(".")
    return raised.value.kind


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"keep_rgb": True}, {"optimize": True}],
)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_fast_path_equals_pillow_at_every_scale(options: dict[str, object], scale: int) -> None:
    data = encode(photograph(147, 101), "JPEG", quality=88, **options)
    pillow = Image.open(io.BytesIO(data))
    if scale > 1:
        pillow.draft("RGB", (147 // scale, 101 // scale))
    expected = np.asarray(pillow)
    assert np.array_equal(decode(data, at_least=(101 // scale, 147 // scale)), expected)


def test_a_jpeg_that_the_fast_path_refuses_is_decoded_by_pillow() -> None:
    data = encode(photograph(64, 64), "JPEG", progressive=True)
    first_scan = data.index(b"\xff\xda")
    odd = data[:first_scan] + b"\x00" * 7 + data[first_scan:]  # stray bytes between segments
    assert np.array_equal(decode(odd), decode(data))
    assert np.array_equal(decode(odd, at_least=(16, 16)), decode(data, at_least=(16, 16)))


def test_decoded_size_never_falls_below_what_was_asked() -> None:
    data = encode(photograph(300, 200), "JPEG")
    assert decode(data, at_least=(100, 100)).shape == (100, 150, 3)
    assert decode(data, at_least=(101, 100)).shape == (200, 300, 3)
    assert decode(data, at_least=(10, 151)).shape == (200, 300, 3)
    assert decode(data, at_least=(1, 1)).shape == (25, 38, 3)
    assert decode(data, at_least=lambda height, width: (height // 4, width // 4)).shape == (50, 75, 3)
    assert decode(encode(photograph(3, 3), "JPEG"), at_least=(1, 1)).shape[2] == 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    upright = photograph(40, 24)
    # The stored image is the one that the orientation turns into the upright one.
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    options: dict[str, object] = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encode(stored, kind, exif=exif(orientation), **options)
    header, pixels = read_header(data), decode(data)
    assert (header.height, header.width) == pixels.shape[:2] == (24, 40)
    assert np.abs(pixels.astype(int) - upright).mean() < 6
    if kind == "JPEG":
        assert decode(data, at_least=(5, 9)).shape == (6, 10, 3)


def test_orientation_in_xmp_alone_is_applied() -> None:
    packet = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="6"/>'
    data = encode(photograph(40, 24), "JPEG")
    tagged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet + data[2:]
    assert read_header(tagged).orientation == 6
    assert np.array_equal(decode(tagged), np.rot90(decode(data), -1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    pixels = decode(encode(photograph()[..., 0], kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert pixels.shape == (36, 48, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_the_same_colours(kind: str) -> None:
    rgb = photograph()
    pixels = decode(encode(Image.fromarray(rgb).convert("CMYK"), kind))
    assert np.abs(pixels.astype(int) - rgb).mean() < 4


def test_ycck_with_adobe_marker_becomes_the_same_colours() -> None:
    rgb = photograph()
    cmyk = np.array(Image.fromarray(rgb).convert("CMYK"))
    # An Adobe file stores YCbCr of the ink, and black inverted. Pillow writes plain CMYK, inverting each channel;
    # the Adobe marker then says that a transform was made (2).
    stored = np.dstack([255 - np.array(Image.fromarray(cmyk[..., :3]).convert("YCbCr")), cmyk[..., 3]])
    data = encode(Image.frombytes("CMYK", (48, 36), stored.tobytes()), "JPEG", quality=95, subsampling=0)
    marker = data.index(b"Adobe")
    ycck = data[: marker + 11] + b"\x02" + data[marker + 12 :]
    assert np.abs(decode(ycck).astype(int) - rgb).mean() < 5


def test_alpha_is_laid_over_white() -> None:
    rgba = np.dstack([photograph(), np.full((36, 48), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 128
    for kind in ("PNG", "TIFF", "WEBP"):
        pixels = decode(encode(rgba, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
        assert (pixels[:10] == 255).all()
        assert np.array_equal(pixels[20:], rgba[20:, :, :3])
        half = (rgba[10:20, :, :3].astype(float) + 255) / 2
        assert np.abs(pixels[10:20] - half).max() <= 2
    grey_alpha = Image.fromarray(rgba[..., 0]).copy()
    grey_alpha.putalpha(Image.fromarray(rgba[..., 3]))
    assert (decode(encode(grey_alpha, "PNG"))[:10] == 255).all()


def test_palette_and_its_transparency() -> None:
    flat = Image.fromarray(photograph()).quantize(8)
    assert np.array_equal(decode(encode(flat, "PNG")), np.array(flat.convert("RGB")))
    index = int(np.array(flat)[0, 0])
    clear = decode(encode(flat, "PNG", transparency=index))
    assert (clear[0, 0] == 255).all()
    assert decode(encode(Image.fromarray(photograph()[..., 0] > 100), "PNG")).max() == 255


def test_sixteen_bits_become_eight_by_their_high_byte() -> None:
    values = (np.arange(36 * 48).reshape(36, 48) * 37).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decode(encode(values, kind))[..., 0], values >> 8)
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in values)
    assert np.array_equal(decode(png(48, 36, 16, 2, rows))[..., 1], values >> 8)


def test_twelve_bit_tiff_is_scaled_by_its_own_range() -> None:
    packed = bytes([0xFF, 0xF8, 0x00]) * 4 * 4  # pairs of 4095 and 2048
    tags = [(256, 8), (257, 4), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4), (279, 48)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory + bytes(4)
    pixels = decode(data)
    assert (pixels[:, 0::2] == 255).all()
    assert (pixels[:, 1::2] == 128).all()


def test_icc_profile_is_converted_to_srgb() -> None:
    profile = linear_profile()
    grey = np.full((16, 16, 3), 55, np.uint8)
    for data in (
        encode(grey, "PNG", icc_profile=profile),
        encode(grey, "JPEG", quality=100, icc_profile=profile),
        encode(grey, "WEBP", lossless=True, icc_profile=profile),
    ):
        # 55/255 of linear light is 128 in sRGB.
        assert abs(int(decode(data)[8, 8, 0]) - 128) <= 2
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(encode(grey, "PNG", icc_profile=srgb))[8, 8, 0] == 55


def linear_profile() -> bytes:
    """The sRGB profile with its three tone curves replaced by the identity."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    for entry in range(132, 132 + 12 * count, 12):
        name, offset, size = struct.unpack(">4sII", profile[entry : entry + 12])
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            curve = b"curv" + bytes(8)
            profile[offset : offset + len(curve)] = curve
            profile[entry + 8 : entry + 12] = struct.pack(">I", min(size, 12))
        if name == b"desc":
            text = profile[offset : offset + size]
            for spelling in (b"sRGB", "sRGB".encode("utf-16-be")):
                text = text.replace(spelling, bytes(len(spelling) - 1) + b"L")
            profile[offset : offset + size] = text
    return bytes(profile)


def test_an_unusable_icc_profile_counts_as_srgb() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (lab, b"nonsense", linear_profile()[:200]):
        for pixels in (photograph(), photograph()[..., 0]):
            assert np.array_equal(decode(encode(pixels, "JPEG", icc_profile=profile)), decode(encode(pixels, "JPEG")))


def test_the_first_frame_of_an_animation_is_taken() -> None:
    first, second = (Image.fromarray(photograph(seed=seed)) for seed in (0, 1))
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})):
        data = encode(first, kind, save_all=True, append_images=[second], **options)
        assert np.abs(decode(data).astype(int) - np.array(first)).mean() < 8, kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"patient,age\n1,44\n", "not_an_image"),
        ("Überweisung: siehe Akte\n".encode(), "not_an_image"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
        (bytes(4096), "not_an_image"),
        (b"BM is how this note begins, and it goes on for a while", "not_an_image"),
        (bytes(range(7, 250)) * 4, "not_an_image"),
        (bytes(128) + b"DICM" + bytes(100), "unsupported"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "unsupported"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "unsupported"),
        (b"\xff\xd8\xff\xd9", "truncated"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"II*\0", "truncated"),
        (b"GIF89a", "truncated"),
        (b"RIFF\xff\0\0\0WEBP", "truncated"),
    ],
)
def test_what_is_not_a_photograph_is_named(data: bytes, kind: str) -> None:
    assert kind_of(data) == kind
    with pytest.raises(ImageError) as raised:
        read_header(data)
    assert raised.value.kind == kind


def test_random_bytes_are_not_an_image() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        assert kind_of(rng.bytes(500)) in ("not_an_image", "unreadable")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_truncated_files_are_called_so(kind: str, share: float) -> None:
    data = encode(photograph(64, 64), kind)
    assert kind_of(data[: int(len(data) * share)]) == "truncated"


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_closed_after_half_its_pixels_is_truncated(progressive: bool) -> None:
    rng = np.random.default_rng(0)
    data = encode(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG", quality=90, progressive=progressive)
    start = data.index(b"\xff\xda")
    cut = start + (len(data) - start) // 2 if not progressive else start + 120
    assert kind_of(data[:cut] + b"\xff\xd9") == "truncated"
    assert kind_of(data[:-2]) == "truncated"


def huge(kind: str) -> bytes:
    if kind == "PNG":
        return png(60_000, 60_000, 8, 2, b"\0" * 1000)
    if kind == "GIF":
        data = bytearray(encode(photograph(), "GIF"))
        data[6:10] = struct.pack("<HH", 60_000, 60_000)
        return bytes(data)
    if kind == "WEBP":
        body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (59_999).to_bytes(3, "little") * 2 + bytes(64)
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    if kind == "BMP":
        data = bytearray(encode(photograph(), "BMP"))
        data[18:26] = struct.pack("<ii", 60_000, 60_000)
        return bytes(data)
    if kind == "JPEG":
        data = bytearray(encode(photograph(), "JPEG"))
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
        return bytes(data)
    data = bytearray(encode(photograph(), "TIFF"))
    directory = struct.unpack("<I", data[4:8])[0]
    for entry in range(directory + 2, directory + 2 + 24, 12):
        data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 60_000)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"])
def test_huge_headers_are_refused_at_once(kind: str) -> None:
    data = huge(kind)
    kind_of(data)  # plugins are imported on first use
    start = time.perf_counter()
    assert kind_of(data) == "too_large"
    assert time.perf_counter() - start < 0.1
    if kind != "WEBP":
        assert read_header(data).width == 60_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_small_files_that_claim_large_images_are_refused_before_allocating(kind: str) -> None:
    if kind == "PNG":
        data = png(10_000, 10_000, 8, 6, bytes(1000))
    else:
        made = bytearray(encode(photograph(), "JPEG"))
        frame = made.index(b"\xff\xc0")
        made[frame + 5 : frame + 9] = struct.pack(">HH", 10_000, 10_000)
        data = bytes(made)
    kind_of(data)
    start = time.perf_counter()
    assert kind_of(data) == "truncated"
    assert time.perf_counter() - start < 0.1


def test_limits_are_the_callers() -> None:
    data = encode(photograph(48, 36), "JPEG")
    assert kind_of(data, Limits(max_pixels=48 * 36 - 1)) == "too_large"
    assert kind_of(data, Limits(max_bytes=len(data) - 1)) == "too_large"
    assert decode(data, limits=Limits(len(data), 48 * 36)).shape == (36, 48, 3)


def test_rare_jpegs_are_named() -> None:
    data = bytearray(encode(photograph(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    twelve_bit, lossless = bytearray(data), bytearray(data)
    twelve_bit[frame + 4] = 12
    lossless[frame + 1] = 0xC3
    assert kind_of(bytes(twelve_bit)) == kind_of(bytes(lossless)) == "unsupported"
    assert kind_of(bytes(data) + b"\xff\xda" * 300) == "unsupported"


def test_pixels_of_unknown_range_are_refused() -> None:
    assert kind_of(encode(np.zeros((4, 4), np.float32), "TIFF")) == "unsupported"
    assert kind_of(encode(np.zeros((4, 4), np.int32), "TIFF")) == "unsupported"


def samples() -> dict[str, bytes]:
    pixels = photograph(32, 24)
    rgb = Image.fromarray(pixels)
    rgba = rgb.convert("RGBA")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sixteen = pixels[..., 0].astype(np.uint16) * 257
    return {
        "jpeg": encode(rgb, "JPEG", exif=exif(6), icc_profile=srgb),
        "progressive": encode(rgb, "JPEG", progressive=True),
        "cmyk": encode(rgb.convert("CMYK"), "JPEG"),
        "png": encode(rgba, "PNG", exif=exif(3)),
        "palette": encode(rgb.quantize(16), "PNG", transparency=3),
        "sixteen": encode(sixteen, "PNG"),
        "tiff": encode(rgb, "TIFF", exif=exif(8)),
        "tiff16": encode(sixteen, "TIFF"),
        "bmp": encode(rgb, "BMP"),
        "webp": encode(rgba, "WEBP", exif=exif(5)),
        "gif": encode(rgb, "GIF", save_all=True, append_images=[rgb.rotate(90)]),
    }


@pytest.mark.parametrize("name", sorted(samples()))
def test_flipped_bytes_raise_image_errors_and_nothing_else(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    data, rng = samples()[name], np.random.default_rng(len(name))
    refused: list[ImageError] = []
    for attempt in range(250):
        damaged = bytearray(data)
        reach = len(data) if attempt % 2 else min(len(data), 160)
        for _ in range(int(rng.integers(1, 4))):
            damaged[int(rng.integers(reach))] = int(rng.integers(256))
        if attempt % 5 == 0:
            del damaged[int(rng.integers(len(data))) :]
        for read in (decode, read_header):
            try:
                result = read(bytes(damaged))
            except ImageError as error:
                refused.append(error)
            else:
                assert read is read_header or (result.dtype == np.uint8 and result.ndim == 3)
    known = {"empty", "not_an_image", "truncated", "too_large", "unsupported", "unreadable"}
    assert {error.kind for error in refused} <= known
    assert not any("\n" in str(error) for error in refused)


def test_threads_decode_alike_and_leave_the_warning_filters_alone() -> None:
    files = list(samples().values()) * 6
    filters = list(warnings.filters)
    expected = [decode(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        for pixels, same in zip(pool.map(decode, files), expected, strict=True):
            assert np.array_equal(pixels, same)
    assert list(warnings.filters) == filters


def test_process_wide_limits_of_pillow_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for name, data in samples().items():
        # Two plugins ask for that limit themselves, above twice its value; by default that is beyond our own.
        if not name.startswith(("webp", "tiff")):
            assert decode(data).size, name


def test_pixels_may_be_written_to() -> None:
    for data in samples().values():
        assert decode(data).flags.writeable


def test_read_file(tmp_path: Path) -> None:
    path = tmp_path / "lesion.jpg"
    path.write_bytes(b"abc")
    assert read_file(path) == b"abc"
    (tmp_path / "empty.jpg").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, kind in (
        ("missing.jpg", "missing"),
        ("empty.jpg", "empty"),
        ("", "unreadable"),
        ("pipe.jpg", "unreadable"),
        ("lesion.jpg/inside.jpg", "unreadable"),
        ("x" * 300, "unreadable"),
        ("a\0b", "unreadable"),
    ):
        with pytest.raises(ImageError) as raised:
            read_file(tmp_path / name)
        assert raised.value.kind == kind, name
    with pytest.raises(ImageError) as raised:
        read_file(path, Limits(max_bytes=2))
    assert raised.value.kind == "too_large"


def test_a_file_without_permission_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lesion.jpg"
    path.write_bytes(b"abc")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # permissions do not bind the superuser
    with pytest.raises(ImageError, match="permissions"):
        read_file(path)


@pytest.mark.real_data
def test_real_photographs_take_the_fast_path_with_pillows_pixels(shared_data: Path) -> None:
    for path in (
        sorted((shared_data / "originals").glob("*.jpg"))[:4] + sorted(shared_data.glob("isic9/Test/*/*.jpg"))[::9]
    ):
        data = read_file(path)
        assert np.array_equal(decode(data), np.asarray(Image.open(path).convert("RGB")))
