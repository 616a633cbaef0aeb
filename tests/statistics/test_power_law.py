from __future__ import annotations

import numpy as np
import pytest

from melascope.statistics.power_law import extrapolate, fit_power_law

SIZES = np.array([60.0, 120, 240, 480])


@pytest.mark.parametrize("law", [(0.8, 1.2, 0.5), (0.75, 0.5, 0.2), (0.95, 5.0, 0.9), (0.5, -0.3, 0.4)])
def test_a_law_is_found_again(law: tuple[float, float, float]) -> None:
    a, b, c = law
    found = fit_power_law(SIZES, a - b * SIZES**-c)
    np.testing.assert_allclose(found.at(960), a - b * 960.0**-c, atol=0.003)
    np.testing.assert_allclose(found.at(120), a - b * 120.0**-c, atol=0.003)


def test_equal_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes that differ"):
        fit_power_law(np.array([30.0, 30.0, 30.0]), np.array([0.5, 0.6, 0.7]))


def test_no_law_promises_more_than_perfect() -> None:
    found = fit_power_law(SIZES, np.array([0.4, 0.6, 0.8, 0.99]))
    assert found.a <= 1
    assert found.at(1e9) <= 1


def test_rows_are_fitted_on_their_own() -> None:
    curves = np.stack([0.8 - 1.2 * SIZES**-0.5, 0.6 - 0.0 * SIZES])
    both = fit_power_law(SIZES, curves)
    for row in range(2):
        one = fit_power_law(SIZES, curves[row])
        np.testing.assert_allclose(both.at(960)[row], one.at(960))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth, twice = 0.8 - 1.2 * SIZES**-0.5, 0.8 - 1.2 * 960**-0.5
    hits = gains = 0
    for trial in range(100):
        # What all curves share, a fold's own, a training's own.
        y = truth + rng.normal(0, 0.02) + rng.normal(0, 0.03, (6, 1)) + rng.normal(0, 0.03, (6, 4))
        found = extrapolate(SIZES, y, folds=3, draws=200, seed=trial)
        hits += found.score.low <= twice <= found.score.high
        gains += found.gain.low <= twice - truth[-1] <= found.gain.high
    assert hits >= 92
    assert gains >= 88


def test_the_score_is_still_covered_where_trainings_share_their_errors() -> None:
    # The gain is not, as the docstring says: what all curves have in common no draw of curves can show.
    rng = np.random.default_rng(0)
    truth, twice = 0.8 - 1.2 * SIZES**-0.5, 0.8 - 1.2 * 960**-0.5
    hits = 0
    for trial in range(100):
        shared, own = np.sqrt(1 / 3) * rng.normal(0, 0.03, (1, 4)), np.sqrt(2 / 3) * rng.normal(0, 0.03, (6, 4))
        found = extrapolate(SIZES, truth + shared + own + rng.normal(0, 0.03, (6, 1)), 3, draws=200, seed=trial)
        hits += found.score.low <= twice <= found.score.high
    assert hits >= 90


def test_with_many_curves_that_share_their_errors_the_interval_is_too_narrow_as_the_docs_say() -> None:
    rng = np.random.default_rng(0)
    truth, twice = 0.8 - 1.2 * SIZES**-0.5, 0.8 - 1.2 * 960**-0.5
    hits = gains = 0
    for trial in range(100):
        shared, own = np.sqrt(1 / 3) * rng.normal(0, 0.03, (1, 4)), np.sqrt(2 / 3) * rng.normal(0, 0.03, (10, 4))
        found = extrapolate(SIZES, truth + shared + own, 5, draws=200, seed=trial)
        hits += found.score.low <= twice <= found.score.high
        gains += found.gain.low <= twice - truth[-1] <= found.gain.high
    assert 75 <= hits <= 90
    assert 58 <= gains <= 78


def test_noise_alone_gains_nothing_for_sure() -> None:
    y = np.random.default_rng(1).normal(0.6, 0.05, (3, 4))
    found = extrapolate(SIZES, y, folds=3)
    assert found.gain.low < 0 < found.gain.high
    assert found.size == 960


def test_too_little_is_refused() -> None:
    for shape in ((3, 2), (1, 4)):
        with pytest.raises(ValueError, match="three sizes"):
            extrapolate(SIZES[: shape[1]], np.zeros(shape), folds=3)


def test_curves_that_are_one_have_no_interval() -> None:
    found = extrapolate(SIZES, np.tile([0.4, 0.5, 0.55, 0.6], (3, 1)), folds=3)
    assert np.isnan([found.score.low, found.score.high, found.gain.low, found.gain.high]).all()
    assert found.gain.value > 0
