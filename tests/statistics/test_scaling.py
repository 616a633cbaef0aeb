from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest

from melascope import statistics as s
from melascope.statistics import scaling

SHARES = np.array([0.15, 0.55, 0.2, 0.1])


def known_truth(n: int, seed: int = 0, shares: np.ndarray = SHARES) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms `(n, c)` of the true probabilities, up to a constant in each row, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    y = generator.choice(len(shares), n, p=shares)
    x = generator.normal(0, 1, (n, len(shares)))
    x[np.arange(n), y] += 1.5
    # Normal with unit variance around 1.5 or 0: the likelihood ratio of a class is exp(1.5 x - 1.5^2 / 2).
    return 1.5 * x + np.log(shares), y


def inverse(matrix: np.ndarray, offsets: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Logits whose calibration by `matrix` and `offsets` gives back the truth."""
    p = s.softmax(true)
    z: np.ndarray = np.linalg.solve(matrix, (np.log(p) - offsets).T).T
    return z


@pytest.mark.parametrize("method", scaling.METHODS)
def test_each_method_finds_the_truth_that_it_can_express(method: scaling.Method) -> None:
    true, y = known_truth(6000)
    matrix = {
        "temperature": np.eye(4) / 2.5,
        "vector": np.diag([0.5, 1.0, 1.4, 0.8]),
        "dirichlet": np.array([[0.9, 0.3, 0, 0], [-0.2, 1.1, 0.2, 0], [0, 0.1, 0.7, -0.3], [0.2, 0, 0, 1.0]]),
    }[method]
    offsets = np.zeros(4) if method == "temperature" else np.array([0.6, -0.5, 0.3, -0.4])
    z = inverse(matrix, offsets, true)
    found = s.fit_scaling(z, y, method, strength=1e-4).probabilities(z)
    assert np.abs(found - s.softmax(true)).mean() < 0.012
    assert np.abs(s.softmax(z) - s.softmax(true)).mean() > 0.05
    assert found.sum(axis=1) == pytest.approx(np.ones(6000))


def test_temperature_is_the_calibration_of_before() -> None:
    true, y = known_truth(300)
    found = s.fit_scaling(true * 3, y, "temperature")
    temperature = s.fit_temperature(true * 3, y)
    np.testing.assert_allclose(found.probabilities(true * 3), s.softmax(true * 3, temperature))
    assert found.to_json() == {"method": "temperature", "temperature": pytest.approx(temperature)}


@pytest.mark.parametrize("method", scaling.METHODS)
def test_a_constant_added_to_all_logits_changes_nothing(method: scaling.Method) -> None:
    true, y = known_truth(200)
    one, other = (s.fit_scaling(z, y, method).probabilities(z) for z in (true, true + 700.0))
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("method", scaling.METHODS[1:])
def test_the_fit_minimises_the_penalised_loss(method: scaling.Method) -> None:
    true, y = known_truth(300)
    strength = 0.05
    fit = s.fit_scaling(true * 2, y, method, strength)
    centre = s.fit_scaling(true * 2, y, "temperature")
    off = ~np.eye(4, dtype=bool)

    def loss(weights: np.ndarray, offsets: np.ndarray) -> float:
        p = scaling.Scaling(method, weights, offsets).probabilities(true * 2)
        penalty = strength * ((weights[off] ** 2).mean() + (offsets**2).mean())
        return float(s.log_loss(p, y) + penalty + 1e-3 * (np.diag(weights - centre.weights) ** 2).mean())

    best = loss(fit.weights, fit.offsets)
    generator = np.random.default_rng(1)
    for _ in range(30):
        step = generator.normal(0, 0.02, (4, 4)) * (~off if method == "vector" else 1)
        assert loss(fit.weights + step, fit.offsets + generator.normal(0, 0.02, 4)) > best


def test_the_penalty_holds_off_diagonals_and_offsets() -> None:
    true, y = known_truth(300)
    weak, strong = (s.fit_scaling(true, y, "dirichlet", strength) for strength in (1e-3, 10.0))
    off = ~np.eye(4, dtype=bool)
    assert np.abs(strong.weights[off]).max() < 0.05 < np.abs(weak.weights[off]).max()
    assert np.abs(strong.offsets).max() < 0.05


def test_a_class_without_rows_leaves_everything_finite() -> None:
    true, y = known_truth(200)
    z, y = true[y != 3], y[y != 3]
    for method in scaling.METHODS:
        fit = s.fit_scaling(z, y, method)
        assert np.isfinite(fit.probabilities(z)).all()
        assert np.abs(fit.weights).max() < 50
    separated = s.fit_scaling(np.eye(4)[y] * 30, y, "dirichlet")
    assert np.isfinite(separated.weights).all()


def test_the_slope_is_that_of_the_scores() -> None:
    true, y = known_truth(200)
    for method in scaling.METHODS:
        fit = s.fit_scaling(true, y, method, 0.01)
        z, step = true[0], 1e-6
        p = fit.probabilities(z[None])
        for k in range(4):
            moved = np.log(fit.probabilities((z + step * np.eye(4)[k])[None])) - np.log(p)
            expected = fit.slope(z)[:, k]
            # A score is known up to what moves all of them alike.
            found = moved[0] / step
            np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-4)


def test_folds_keep_groups_together_and_classes_apart() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 2)
    y = np.repeat(generator.choice(3, 200, p=[0.7, 0.2, 0.1]), 2)
    folds = s.grouped_folds(y, groups)
    assert set(folds) == set(range(5))
    for group in range(200):
        assert len(set(folds[groups == group])) == 1
    for code in range(3):
        counts = np.bincount(folds[y == code], minlength=5)
        assert counts.max() - counts.min() <= 2
    assert (folds != s.grouped_folds(y, groups, seed=1)).any()


def test_the_simplest_calibrator_that_suffices_is_chosen() -> None:
    true, y = known_truth(600)
    groups = np.arange(600) // 2
    mixing = np.array([[1, 0.5, 0, 0], [-0.4, 1.1, 0.3, 0], [0, 0.4, 0.6, -0.5], [0.5, 0, 0, 1.0]])
    offsets = np.array([0.7, -0.7, 0.4, -0.4])
    for expected, z in (
        ("temperature", 2 * true),
        ("vector", inverse(np.diag([0.6, 1.2, 1.0, 0.7]), offsets, true)),
        ("dirichlet", inverse(mixing, offsets, true)),
    ):
        found = s.choose_scaling(z, y, groups)
        assert found.scaling.method == expected
        assert set(found.log_loss) == set(get_args(scaling.Method))
        best = min(found.log_loss.values())
        assert found.log_loss[expected] <= best + 0.01
        told = found.to_json()
        assert json.loads(json.dumps(told, allow_nan=False))["cross_fitted"]["gained"]["vector"]["n"] == 600
        # Out of fold: no row was calibrated by what it taught.
        assert s.log_loss(found.out_of_fold, y) == pytest.approx(found.log_loss[expected])


def test_few_groups_get_a_temperature_only() -> None:
    true, y = known_truth(400)
    found = s.choose_scaling(true @ np.diag([0.3, 3, 1, 1]), y, np.arange(400) % 49)
    assert found.scaling.method == "temperature"
    assert set(found.log_loss) == {"temperature"}
    assert s.choose_scaling(true[:1], y[:1]).scaling.method == "temperature"


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="isotonic"):
        s.fit_scaling(np.zeros((3, 2)), np.zeros(3, int), "isotonic")  # type: ignore[arg-type]


def test_a_score_of_rows_does_not_make_a_class_certain() -> None:
    """Fifteen rows of a class, all told well: chance enough for a steep slope, and no reason for certainty."""
    generator = np.random.default_rng(3)
    n, rare = 1500, 15
    labels = np.r_[np.repeat([0, 1], (n - rare) // 2 + 1)[: n - rare], np.full(rare, 2)]
    logits = generator.normal(0, 1.5, (n, 3)) + 3.0 * np.eye(3)[labels]
    logits[:, 2] -= 4.0
    logits[labels == 2, 2] += 6.0
    plain = scaling.fit_scaling(logits, labels, "temperature").weights[0, 0]
    slopes = np.diag(scaling.fit_scaling(logits, labels, "vector", 0.001).weights)
    assert slopes[2] < 2 * plain
    # With a hundred times as many rows what they say counts.
    many = np.tile(logits, (100, 1)), np.tile(labels, 100)
    assert np.diag(scaling.fit_scaling(*many, "vector", 0.001).weights)[2] > slopes[2]
