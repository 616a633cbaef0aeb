"""The search dismisses nothing within its radius."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melascope.datasets import same_leaves
from melascope.datasets.fingerprint import FINGERPRINT_BYTES, coefficients_of, fingerprint
from melascope.datasets.same_index import (
    REACHES,
    SYMMETRIES,
    Reach,
    apply_symmetry,
    descriptors,
    invariants,
    reach_of,
    search,
)
from melascope.datasets.same_pairs import turned


def many(n: int, seed: int = 0) -> np.ndarray:
    """Coefficients of photographs of which many lie near another, turned anyhow."""
    generator = np.random.default_rng(seed)
    falling = 60 / (1 + np.hypot(*np.meshgrid(np.arange(16), np.arange(16)))) ** 1.5
    centres = generator.normal(size=(n // 3, 16, 16)) * falling
    coefficients = centres[generator.integers(len(centres), size=n)]
    coefficients = coefficients + generator.normal(size=coefficients.shape) * falling * generator.uniform(
        0, 0.3, (n, 1, 1)
    )
    coefficients[:, 0, 0] = 0
    return turned(coefficients.astype(np.float32), generator.integers(8, size=n))


def brute_force(whole: np.ndarray, cropped: np.ndarray, reach: Reach, itself: bool) -> dict[tuple[int, int], float]:
    """Every symmetry of every whole photograph against every window, one after the other."""
    least: dict[tuple[int, int], float] = {}
    views = [descriptors(turned(whole, np.full(len(whole), number))) for number in range(8)]
    for number, window in enumerate(reach.windows):
        cut = descriptors(cropped, window).astype(float)
        for view in views:
            for row, unit in enumerate(cut):
                distances = np.sqrt(((view - unit) ** 2).sum(axis=1))
                for other in np.flatnonzero(distances <= reach.radius):
                    if itself and (row == other or (number == 0 and row > other)):
                        continue
                    key = (row, int(other))
                    least[key] = min(least.get(key, 9.0), float(distances[other]))
    return least


@pytest.mark.parametrize("leaf", [7, 512])
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
def test_the_search_equals_brute_force(monkeypatch, leaf, itself, reach):
    monkeypatch.setattr(same_leaves, "_LEAF", leaf)
    monkeypatch.setattr(same_leaves, "_CHUNK", 3 * leaf)
    whole = many(150)
    cropped = whole if itself else np.concatenate([many(90, seed=1), whole[:40]])
    expected = brute_force(whole, cropped, reach, itself)
    found = search(whole, cropped, itself=itself, reach=reach, threads=2)
    pairs = {(int(a), int(b)): d for a, b, d in zip(found.cropped, found.whole, found.distance, strict=True)}
    # Rounding decides of the very edge.
    edge = reach.radius - 1e-4
    assert {pair for pair, distance in expected.items() if distance < edge} <= set(pairs)
    assert set(pairs) <= set(expected)
    assert len(pairs) > 10
    for pair, distance in pairs.items():
        assert distance == pytest.approx(expected[pair], abs=2e-3)


def test_crops_are_searched_among_any_number():
    assert reach_of(40_000) == "full"
    assert reach_of(1_000_000) == "near"
    assert REACHES["near"].windows[0] == REACHES["whole"].windows[0] == (0.0, 1.0, 0.0, 1.0)


def test_invariants_never_lengthen_a_distance():
    units = descriptors(many(200))
    apart = np.linalg.norm(units[:100] - units[100:], axis=1)
    assert (np.linalg.norm(invariants(units[:100]) - invariants(units[100:]), axis=1) <= apart + 1e-6).all()
    for number in range(8):
        same = descriptors(turned(many(200), np.full(200, number)))
        np.testing.assert_allclose(invariants(same), invariants(units), atol=1e-6)


@pytest.mark.parametrize("number", range(8))
def test_turning_coefficients_is_turning_pixels(make_pixels, number):
    image = make_pixels(3, (64, 64))
    planes = np.ascontiguousarray(np.moveaxis(apply_symmetry(np.moveaxis(image, -1, 0), number), 0, -1))
    column = pd.Series([fingerprint(image).hex(), fingerprint(planes).hex()], dtype="string")
    as_filed, as_turned = coefficients_of(column)
    np.testing.assert_allclose(turned(as_filed[None], np.array([number]))[0], as_turned, atol=0.5)


def test_the_inverse_of_a_quarter_turn_is_the_other():
    image = np.arange(12).reshape(3, 4)
    assert len(SYMMETRIES) == 8
    np.testing.assert_array_equal(apply_symmetry(image, 5), np.rot90(image, -1))
    np.testing.assert_array_equal(apply_symmetry(image, 6), np.rot90(image))
    np.testing.assert_array_equal(apply_symmetry(apply_symmetry(image, 5), 6), image)


def test_fingerprints(make_pixels):
    image = make_pixels(0, (64, 48))
    data = fingerprint(image)
    assert len(data) == FINGERPRINT_BYTES
    assert fingerprint(image) == data
    column = pd.Series([data.hex(), None, "00", fingerprint(np.full((9, 9, 3), 80, np.uint8)).hex()], dtype="string")
    coefficients = coefficients_of(column)
    assert coefficients.shape == (4, 16, 16)
    assert np.abs(coefficients[0]).max() > 5
    assert not coefficients[1:].any()
    # Near the coefficients of the pixels themselves.
    grey = image @ np.array([0.299, 0.587, 0.114])
    waves = np.cos(np.pi * 2 * (np.arange(48) + 0.5) / 48)
    assert coefficients[0, 2, 0] == pytest.approx(np.sqrt(2) * (waves @ grey.mean(axis=1)) / 48, abs=0.8)


def test_a_crop_follows_from_the_fingerprint():
    coarse = np.random.default_rng(5).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))
    column = pd.Series([fingerprint(image).hex(), fingerprint(image[:87, 9:]).hex()], dtype="string")
    whole, crop = coefficients_of(column)
    predicted = descriptors(whole[None], (0, 87 / 96, 9 / 96, 1.0))
    assert np.linalg.norm(predicted - descriptors(crop[None])) < 0.03
    assert np.linalg.norm(descriptors(whole[None]) - descriptors(crop[None])) > 0.1
