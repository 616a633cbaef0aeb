from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from melascope.images import lesion
from melascope.images.skin_tone import BANDS, band_of, estimate, lab


def _skin(colour: tuple[int, int, int], lesion_colour: tuple[int, int, int] = (90, 50, 40)) -> np.ndarray:
    picture = Image.new("RGB", (160, 120), colour)
    ImageDraw.Draw(picture).ellipse((50, 30, 110, 90), fill=lesion_colour)
    return np.asarray(picture)


def _ita(colour: tuple[int, int, int]) -> float:
    light, _, yellow = lab(np.array([colour]))[0]
    return math.degrees(math.atan((light - 50) / yellow))


@pytest.mark.parametrize(
    ("srgb", "expected"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_lab_is_that_of_the_standard(srgb, expected):
    assert lab(np.array([srgb]))[0] == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("colour", [(238, 205, 180), (212, 166, 138), (183, 134, 104), (139, 97, 74), (97, 67, 54)])
def test_the_angle_is_that_of_the_skin_around(colour):
    found = estimate(_skin(colour))
    assert found.ita == pytest.approx(_ita(colour), abs=0.01)
    assert found.band == band_of(found.ita)
    assert 0.5 < found.share < 0.9


def test_bands_begin_above_their_angle():
    assert [band_of(angle) for angle in (70, 55, 41, 28, 10, -30, -31, -89)] == [
        "very light", "light", "intermediate", "tan", "brown", "dark", "dark", "dark",
    ]  # fmt: skip
    assert band_of(math.nan) is None
    assert [angle for angle, _ in BANDS] == sorted((angle for angle, _ in BANDS), reverse=True)


def test_the_mask_of_the_lesion_is_used_where_given():
    image = _skin((212, 166, 138), (200, 150, 120))
    true = np.zeros(image.shape[:2], bool)
    true[30:91, 50:111] = True
    assert estimate(image, true).ita == pytest.approx(_ita((212, 166, 138)), abs=0.01)
    everything = estimate(image, np.ones(image.shape[:2], bool))
    assert math.isnan(everything.ita)
    assert (everything.band, everything.share) == (None, 0)
    with pytest.raises(ValueError, match="mask"):
        estimate(image, true[:50])


def test_hair_ink_and_black_corners_are_left_out():
    plain = _skin((212, 166, 138))
    picture = Image.fromarray(plain)
    draw = ImageDraw.Draw(picture)
    for number in range(10):
        draw.line((16 * number, 0, 16 * number + 10, 120), fill=(30, 20, 15), width=1)
    draw.rectangle((0, 50, 20, 80), fill=(40, 50, 150))
    image = np.asarray(picture).copy()
    y, x = np.ogrid[:120, :160]
    image[np.hypot(y - 60, x - 80) > 85] = 4
    assert estimate(image).ita == pytest.approx(_ita((212, 166, 138)), abs=2.5)


def test_blue_skin_has_no_angle():
    found = estimate(_skin((190, 180, 210)))
    assert math.isnan(found.ita)
    assert found.band is None
    assert found.share > 0.5


@pytest.mark.parametrize("level", [0, 255])
def test_without_skin_there_is_no_angle(level):
    assert estimate(np.full((50, 70, 3), level, np.uint8)).band is None


def test_generated_skin_darkens_with_its_type():
    angles = [np.median([estimate(lesion(seed, "NV", 128, tone)).ita for seed in range(6)]) for tone in range(1, 7)]
    assert all(later < earlier for earlier, later in itertools.pairwise(angles))
    assert band_of(angles[0]) == "very light"
    assert band_of(angles[5]) == "dark"
