from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from melascope.images import Header, decode, read_header
from melascope.images.burned_text import SUSPECTED, text_score
from melascope.images.traits import TRAITS, measure

SKIN = (205, 160, 140)


def _skin(width: int = 128, height: int = 96, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, 3, (height, width, 1))
    return Image.fromarray(np.clip(np.array(SKIN) + noise, 0, 255).astype(np.uint8))


def _bytes(image: Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def _traits(image: Image.Image, kind: str = "JPEG", **how: object) -> dict[str, float]:
    data = _bytes(image, kind, **({"quality": 95} if kind == "JPEG" and not how else how))
    return measure(data, read_header(data), decode(data))


def test_every_trait_is_there_in_order():
    found = _traits(_skin())
    assert tuple(found) == TRAITS
    assert all(isinstance(value, float) for value in found.values())
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("quality", [1, 10, 30, 50, 75, 85, 90, 95, 98, 100])
def test_jpeg_quality_is_read_from_the_tables(quality):
    assert _traits(_skin(), quality=quality)["jpeg_quality"] == pytest.approx(quality, abs=1)


@pytest.mark.parametrize(("subsampling", "share"), [(0, 1.0), (1, 0.5), (2, 0.25)])
def test_chroma_resolution_is_read_from_the_frame(subsampling, share):
    assert _traits(_skin(), quality=90, subsampling=subsampling)["chroma_pixels"] == share


def test_other_formats_have_no_jpeg_traits():
    found = _traits(_skin(), "PNG")
    assert all(math.isnan(found[name]) for name in ("jpeg_quality", "chroma_pixels", "header_bytes"))
    assert found["compression"] > 0
    assert math.isnan(_traits(_skin().convert("L"), quality=90)["chroma_pixels"])


def test_metadata_are_counted_but_not_the_colour_profile():
    plain, commented = _traits(_skin(), quality=90), _traits(_skin(), quality=90, comment=b"x" * 100)
    assert commented["header_bytes"] - plain["header_bytes"] == 104
    assert _traits(_skin(), quality=90, icc_profile=b"y" * 500)["header_bytes"] == plain["header_bytes"]


def test_light_and_contrast():
    assert _traits(Image.new("RGB", (80, 80), "black"))["brightness"] == 0
    white = _traits(Image.new("RGB", (80, 80), "white"))
    assert (white["brightness"], white["uniformity"], white["clipped"], white["contrast"]) == pytest.approx(
        (255, 1, 1, 0)
    )
    half = Image.new("RGB", (80, 80), "black")
    half.paste("white", (40, 0, 80, 80))
    assert _traits(half)["contrast"] == pytest.approx(127.5, abs=2)


def test_sharpness_falls_with_blur():
    from PIL import ImageFilter

    fine = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    assert _traits(fine)["sharpness"] > 3 * _traits(fine.filter(ImageFilter.GaussianBlur(2)))["sharpness"]


def test_black_corners_are_a_vignette_and_a_dark_border():
    round_view = Image.new("RGB", (128, 96), "black")
    mask = Image.new("L", (128, 96), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, 127, 95), fill=255)
    round_view.paste(_skin(), mask=mask)
    dark, plain = _traits(round_view), _traits(_skin())
    assert dark["vignette"] > 0.8 > 0.1 > plain["vignette"]
    assert dark["dark_border"] > 0.8 > 0.0 == plain["dark_border"]
    assert dark["border_brightness"] < plain["border_brightness"]
    # The skin is measured where it is lit.
    assert dark["skin_light"] == pytest.approx(plain["skin_light"], abs=2)


def test_the_colour_of_the_skin_is_lab():
    found = _traits(Image.new("RGB", (80, 80), (200, 150, 130)), "PNG")
    # From an independent conversion (CIE 1976, D65).
    assert (found["skin_light"], found["skin_red"], found["skin_yellow"]) == pytest.approx((66.1, 16.2, 17.9), abs=0.3)


def test_hair_ruler_and_ink_are_seen():
    plain = _traits(_skin(192, 144))
    hairy = _skin(192, 144)
    draw = ImageDraw.Draw(hairy)
    for start in range(0, 192, 24):
        draw.line((start, 0, start + 40, 143), fill=(60, 40, 30), width=2)
    assert _traits(hairy)["hair"] > 0.1 > 0.01 > plain["hair"]
    ruled = _skin(192, 144)
    for x in range(6, 192, 15):
        ImageDraw.Draw(ruled).line((x, 130, x, 143), fill=(20, 20, 20), width=3)
    assert _traits(ruled)["ruler"] > 0.6
    assert plain["ruler"] < 0.3
    marked = _skin(192, 144)
    ImageDraw.Draw(marked).ellipse((150, 10, 185, 60), fill=(40, 90, 200))
    assert _traits(marked)["ink"] > 0.05 > 0.0 == plain["ink"]


@pytest.mark.parametrize("colour", ["white", "black"])
@pytest.mark.parametrize("size", [9, 11, 14, 18])
@pytest.mark.parametrize("place", ["top", "bottom"])
def test_a_burned_in_name_is_suspected(colour, size, place):
    image = _skin(256, 192, seed=size)
    font = ImageFont.load_default(size=size)
    y = 4 if place == "top" else 192 - size - 8
    ImageDraw.Draw(image).text((6, y), "JOHN DOE 1960-01-01", fill=colour, font=font)
    assert text_score(np.asarray(image)) >= SUSPECTED


def test_skin_hair_and_lesions_are_no_writing():
    from melascope.images import lesion

    for seed in range(12):
        assert text_score(lesion(seed, ("MEL", "NV", "BCC")[seed % 3], size=128)) < SUSPECTED
    assert text_score(np.asarray(_skin(256, 192))) == pytest.approx(0, abs=SUSPECTED / 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 2), (3, 40), (16, 16), (7, 9000), (63, 65)])
def test_odd_shapes_raise_nothing(shape):
    generator = np.random.default_rng(0)
    header = Header("PNG", shape[1], shape[0], "RGB", 1)
    for pixels in (
        generator.integers(0, 256, (*shape, 3), dtype=np.uint8),
        np.zeros((*shape, 3), np.uint8),
        np.full((*shape, 3), 255, np.uint8),
    ):
        found = measure(b"not an image at all", header, pixels)
        assert tuple(found) == TRAITS
        assert not any(math.isinf(value) for value in found.values())


def test_no_size_is_too_odd_for_the_search_for_writing():
    noise = np.random.default_rng(0).integers(0, 256, (130, 130, 3), dtype=np.uint8)
    for height in range(1, 130):
        for width in (1, 20, 28, 33, 40, 58, 59, 82, 130):
            assert text_score(noise[:height, :width]) >= 0


def test_damaged_headers_raise_nothing():
    data = _bytes(_skin(), quality=80)
    small, generator = decode(data), np.random.default_rng(1)
    header = read_header(data)
    for _ in range(200):
        damaged = bytearray(data[: generator.integers(0, 700)])
        for place in generator.integers(0, max(1, len(damaged)), 5):
            if damaged:
                damaged[place] = generator.integers(0, 256)
        assert tuple(measure(bytes(damaged), header, small[:16, :16])) == TRAITS


def test_a_copy_at_half_the_size_has_the_same_traits():
    large = _skin(512, 384).resize((512, 384))
    ImageDraw.Draw(large).ellipse((180, 120, 330, 260), fill=(110, 60, 50))
    a, b = _traits(large, "PNG"), _traits(large.resize((256, 192), Image.Resampling.BOX), "PNG")
    for name in ("brightness", "contrast", "vignette", "border_brightness", "skin_light", "skin_red", "skin_yellow"):
        assert a[name] == pytest.approx(b[name], rel=0.03, abs=0.5)


@pytest.mark.real_data
def test_writing_is_seldom_suspected_on_real_photographs(shared_data):
    paths = sorted((shared_data / "ham10000" / "images").glob("*.jpg"))[::50]
    scores = np.array([text_score(decode(path.read_bytes(), at_least=(128, 128))) for path in paths])
    assert (scores >= SUSPECTED).mean() < 0.02
    named = []
    for path in paths[::4]:
        image = Image.open(path).convert("RGB")
        ImageDraw.Draw(image).text((5, 5), "JOHN DOE 1960-01-01", fill="white", font=ImageFont.load_default(size=10))
        named.append(text_score(decode(_bytes(image, quality=85), at_least=(128, 128))))
    assert (np.array(named) >= SUSPECTED).mean() > 0.85
