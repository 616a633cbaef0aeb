"""The checks of heat maps, on maps and models of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from melascope.evaluation import heatmaps

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def lesion() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (y - 12) ** 2 + (x - 16) ** 2 < 8**2


def test_a_map_on_the_lesion_scores_one_and_one_beside_it_nothing(lesion):
    on = lesion.astype(float)
    assert heatmaps.place(on, lesion) == pytest.approx((1.0, 1.0))
    assert heatmaps.place(1 - on, lesion) == pytest.approx((0.0, 0.0))
    energy, pointed = heatmaps.place(np.ones((4, 6)), lesion)
    # A flat map points everywhere: at the lesion as often as chance would.
    assert energy == pytest.approx(lesion.mean())
    assert pointed == pytest.approx(lesion.mean())
    assert np.isnan(heatmaps.place(np.zeros((4, 6)), lesion)).all()


def test_what_knows_nothing_stands_in_the_middle_or_anywhere():
    middle = heatmaps.centred(HEIGHT, WIDTH)
    assert np.unravel_index(middle.argmax(), middle.shape) in [(19, 29), (19, 30), (20, 29), (20, 30)]
    assert middle[0, 0] < 0.05
    drawn = heatmaps.noise(HEIGHT, WIDTH, np.random.default_rng(0))
    assert drawn.shape == (HEIGHT, WIDTH)
    assert 0 <= drawn.min() < drawn.max() <= 1


def test_taking_the_lesion_away_first_lets_the_risk_fall_early(lesion):
    image = np.where(lesion[..., None], 40, 200).astype(np.uint8).repeat(3, axis=2)
    gone = np.full_like(image, 180)

    def risk(images: np.ndarray) -> np.ndarray:
        # A model that sees nothing but dark pixels.
        return np.asarray((images[..., 0] < 100).mean(axis=(1, 2)) / lesion.mean())

    less, more = heatmaps.curves(image, lesion.astype(float), risk, gone, steps=10)
    assert (less[0], less[-1], more[0], more[-1]) == pytest.approx((1, 0, 0, 1))
    early, late = heatmaps.under(less), heatmaps.under(more)
    beside, after = (heatmaps.under(one) for one in heatmaps.curves(image, 1.0 - lesion, risk, gone, steps=10))
    assert early < 0.1 < 0.8 < beside
    assert after < 0.1 < 0.8 < late


def test_the_mean_leaves_empty_maps_out_and_has_an_interval_over_lesions():
    rng = np.random.default_rng(0)
    values = rng.normal(0.6, 0.1, 80)
    values[:20] = np.nan
    found = heatmaps.summary({"energy": values, "none": np.full(80, np.nan)}, np.arange(80) // 2, draws=400)
    assert found["energy"]["n"] == 60
    assert found["energy"]["low"] < np.nanmean(values) < found["energy"]["high"]
    assert found["none"] == {"value": None, "low": None, "high": None, "n": 0}
