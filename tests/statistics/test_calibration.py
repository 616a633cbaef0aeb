from __future__ import annotations

import numpy as np
import pytest

from melascope import statistics as s


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_temperature_is_found_again() -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(0, 2, (6000, 4))
    y = (s.softmax(z).cumsum(axis=1) > generator.random((6000, 1))).argmax(axis=1)
    for temperature in (0.5, 1.0, 3.0):
        assert s.fit_temperature(z * temperature, y) == pytest.approx(temperature, rel=0.05)


def test_temperature_minimises_the_log_loss() -> None:
    generator = np.random.default_rng(1)
    z, y = generator.normal(0, 2, (200, 3)), generator.integers(0, 3, 200)
    z[np.arange(200), y] += 1
    best = s.fit_temperature(z, y)
    losses = [s.log_loss(s.softmax(z, best * factor), y) for factor in (0.99, 1, 1.01)]
    assert losses[1] == min(losses)


def test_temperature_stays_within_bounds() -> None:
    assert s.fit_temperature(np.eye(3) * 9, np.arange(3)) == 0.02
    assert s.fit_temperature(np.eye(3) * 9, np.array([1, 2, 0])) == 50.0
    assert 0.02 <= s.fit_temperature(np.zeros((4, 2)), np.zeros(4, int)) <= 50.0
    with pytest.raises(ValueError, match="finite"):
        s.fit_temperature(np.array([[np.inf, 0]]), np.array([0]))
    with pytest.raises(ValueError, match="at least one row"):
        s.fit_temperature(np.empty((0, 3)), np.empty(0, int))


def test_softmax_of_large_logits() -> None:
    assert s.softmax(np.array([[1e4, 0.0], [-1e4, -1e4]])) == pytest.approx(np.array([[1, 0], [0.5, 0.5]]))


def test_slope_and_intercept_say_what_was_done_to_the_risks() -> None:
    generator = np.random.default_rng(2)
    z = generator.normal(-1, 1.5, 40_000)
    y = generator.random(len(z)) < sigmoid(z)
    assert s.slope_intercept(sigmoid(z), y) == (pytest.approx(1, abs=0.04), pytest.approx(0, abs=0.04))
    assert s.slope_intercept(sigmoid(2 * z), y)[0] == pytest.approx(0.5, abs=0.02)
    assert s.slope_intercept(sigmoid(z - 0.7), y)[1] == pytest.approx(0.7, abs=0.04)


def test_slope_is_that_of_an_unpenalised_logistic_regression() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    generator = np.random.default_rng(3)
    p = generator.uniform(0.02, 0.98, 300)
    y = generator.random(300) < p**1.4
    w = generator.integers(0, 3, (300, 4)).astype(float)
    slopes, _ = s.slope_intercept(p, y, w)
    for column in range(4):
        model = linear.LogisticRegression(C=1e9, tol=1e-10, max_iter=500)
        model.fit(np.log(p / (1 - p))[:, None], y, sample_weight=w[:, column])
        assert slopes[column] == pytest.approx(model.coef_[0, 0], rel=1e-3)


def test_slope_that_does_not_exist_is_nan() -> None:
    y = np.array([False, False, True, True])
    assert np.isnan(s.slope_intercept(np.array([0.1, 0.2, 0.8, 0.9]), y)[0])  # separated
    assert np.isnan(s.slope_intercept(np.full(4, 0.3), y)[0])  # constant
    assert s.slope_intercept(np.full(4, 0.3), y)[1] == pytest.approx(np.log(7 / 3))
    assert np.isnan(s.slope_intercept(np.array([0.1, 0.2, 0.8, 0.9]), np.zeros(4, bool))).all()
    assert np.isfinite(s.slope_intercept(np.array([0.0, 1.0, 0.0, 1.0]), y)).all()


def test_bins_of_equal_mass_share_no_risk() -> None:
    p = np.r_[np.zeros(30), np.linspace(0.1, 0.9, 70)]
    y = np.random.default_rng(4).random(100) < p
    found = s.reliability(p, y)
    assert found.n.sum() == 100
    assert (found.high[:-1] < found.low[1:]).all()
    assert found.n[0] == 30
    assert found.n[1:].max() <= 11
    for i in range(len(found.n)):
        inside = found.bin_of_row == i
        assert found.predicted[i] == pytest.approx(p[inside].mean())
        assert found.observed[i] == pytest.approx(y[inside].mean())


def test_expected_calibration_error() -> None:
    p, y = np.repeat([0.2, 0.8], 50), np.r_[np.arange(50) < 10, np.arange(50) < 30]
    assert s.expected_calibration_error(p, y) == pytest.approx(0.1)
    doubled = s.expected_calibration_error(p, y, weights=np.full((100, 2), 2.0))
    assert doubled == pytest.approx([0.1, 0.1])
    assert len(s.reliability(np.empty(0), np.empty(0)).n) == 0
