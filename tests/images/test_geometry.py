from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melascope.images import Geometry, decode, lesion, prepare, resize
from melascope.images.geometry import prepare_with_photograph


def bars(width: int, height: int) -> np.ndarray:
    """Red, green and blue thirds from left to right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for channel in range(3):
        pixels[:, channel * width // 3 : (channel + 1) * width // 3, channel] = 200
    return pixels


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0, **options)
    return buffer.getvalue()


def test_crop_keeps_the_centre() -> None:
    fitted = resize(bars(90, 30), Geometry(30, 30, "crop"))
    assert fitted.shape == (30, 30, 3)
    assert fitted[..., 1].min() > 150


def test_squash_keeps_everything() -> None:
    fitted = resize(bars(90, 30), Geometry(30, 30, "squash"))
    assert [int(fitted[15, x].argmax()) for x in (4, 15, 26)] == [0, 1, 2]
    assert fitted.min(axis=(0, 1)).max() == 0


def test_pad_keeps_the_shape_between_black_bars() -> None:
    fitted = resize(bars(90, 30), Geometry(30, 30, "pad"))
    assert not fitted[:10].any()
    assert not fitted[20:].any()
    assert [int(fitted[15, x].argmax()) for x in (4, 15, 26)] == [0, 1, 2]
    assert fitted[10:20].any(axis=2).all()
    tall = resize(np.full((90, 30, 3), 99, np.uint8), Geometry(30, 30, "pad"))
    assert (tall[:, 10:20] == 99).all()
    assert not tall[:, :10].any()


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (3, 7), (33, 32), (640, 479)])
@pytest.mark.parametrize("target", [(16, 16), (24, 40), (1, 9)])
def test_every_shape_fits(mode: str, width: int, height: int, target: tuple[int, int]) -> None:
    geometry = Geometry(*target, mode)  # type: ignore[arg-type]
    pixels = np.full((height, width, 3), 120, np.uint8)
    fitted = resize(pixels, geometry)
    assert fitted.shape == (*target, 3)
    assert fitted.dtype == np.uint8
    assert fitted.max() == 120
    if mode != "pad":
        assert fitted.min() == 120
    assert prepare(jpeg(pixels), geometry).shape == (*target, 3)
    top, left, bottom, right = geometry.source_box(height, width)
    assert 0 <= top < bottom <= height
    assert 0 <= left < right <= width


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_prepare_from_a_scaled_decode_equals_the_full_one(mode: str, orientation: int) -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(
        (1024, 700), Image.Resampling.BICUBIC
    )
    block = Image.Exif()
    block[0x0112] = orientation
    data = jpeg(np.array(smooth), exif=block)
    geometry = Geometry(48, 64, mode)  # type: ignore[arg-type]
    full = resize(decode(data), geometry)
    assert np.abs(prepare(data, geometry).astype(int) - full).mean() < 1.5


def test_decoding_keeps_twice_the_target_where_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def watch(array: np.ndarray, geometry: Geometry) -> np.ndarray:
        seen.append(array.shape[:2])
        return resize(array, geometry)

    monkeypatch.setattr("melascope.images.geometry.resize", watch)
    data = jpeg(np.zeros((800, 1600, 3), np.uint8))
    for mode in ("crop", "squash", "pad"):
        prepare(data, Geometry(100, 100, mode))  # type: ignore[arg-type]
    # Padded, the photograph is only 100 x 50 in the input, so that an eighth is enough.
    assert seen == [(200, 400), (200, 400), (100, 200)]


def test_resizing_is_antialiased() -> None:
    board = np.zeros((512, 512, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    fitted = resize(board, Geometry(37, 37, "squash"))
    assert np.abs(fitted[2:-2, 2:-2].astype(int) - 128).max() < 12


def test_an_image_of_the_right_size_is_copied_unchanged() -> None:
    pixels = bars(32, 32)
    fitted = resize(pixels, Geometry(32, 32, "crop"))
    assert np.array_equal(fitted, pixels)
    fitted[:] = 0
    assert pixels.any()


def test_json_round_trip() -> None:
    geometry = Geometry(128, 96, "pad")
    assert geometry.to_json() == {"height": 128, "width": 96, "mode": "pad"}
    assert Geometry.from_json(geometry.to_json()) == geometry
    for wrong in ({}, {"height": 1, "width": 2}, {"height": 1, "width": 2, "mode": "crop", "depth": 3}):
        with pytest.raises(ValueError, match="geometry"):
            Geometry.from_json(wrong)


@pytest.mark.parametrize(
    ("height", "width", "mode"), [(0, 8, "crop"), (8, 5000, "crop"), (8.0, 8, "crop"), (8, 8, "fit")]
)
def test_impossible_geometries_are_refused(height: int, width: int, mode: str) -> None:
    with pytest.raises(ValueError, match="geometry"):
        Geometry(height, width, mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("target", [(16, 16), (144, 192), (224, 224)])
@pytest.mark.parametrize(("height", "width"), [(120, 90), (150, 200), (450, 600), (1201, 1599), (300, 2400)])
def test_with_its_photograph_the_input_is_the_same(mode: str, target: tuple[int, int], height: int, width: int) -> None:
    geometry = Geometry(*target, mode)  # type: ignore[arg-type]
    data = jpeg(lesion(1, "NV", (height, width)))
    prepared = prepare_with_photograph(data, geometry, 150)
    assert prepared.image.tobytes() == prepare(data, geometry).tobytes()
    assert prepared.size == (height, width)
    assert min(prepared.photograph.shape[:2]) >= min(150, height, width)
    # One decoding for both, where it is large enough for both.
    shared = decode(data, geometry._at_least)
    if min(shared.shape[:2]) >= 150:
        assert prepared.photograph.shape == shared.shape
    assert prepared.photograph.size <= max(shared.size, 4 * 300 * 2400 * 3)


def test_the_photograph_is_upright_and_so_is_its_size() -> None:
    block = Image.Exif()
    block[0x0112] = 6
    data = jpeg(bars(900, 600), exif=block)
    prepared = prepare_with_photograph(data, Geometry(32, 32), 150)
    assert prepared.size == (900, 600)
    assert prepared.photograph.shape == (225, 150, 3)
    buffer = io.BytesIO()
    Image.fromarray(bars(40, 30)).save(buffer, "PNG")
    png = prepare_with_photograph(buffer.getvalue(), Geometry(8, 8), 150)
    assert (png.size, png.photograph.shape) == ((30, 40), (30, 40, 3))


@pytest.mark.real_data
def test_real_photographs_give_the_same_input_with_their_photograph(shared_data: Path) -> None:
    for file in [
        *sorted((shared_data / "originals").glob("*.jpg")),
        *sorted((shared_data / "isic2017").rglob("*.jpg"))[:5],
    ]:
        data = file.read_bytes()
        for geometry in (Geometry(144, 192), Geometry(128, 128, "squash"), Geometry(32, 32, "pad")):
            prepared = prepare_with_photograph(data, geometry, 150)
            assert prepared.image.tobytes() == prepare(data, geometry).tobytes()
