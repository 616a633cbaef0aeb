from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from melascope import statistics as s


def two_models(n: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = generator.random(n) < 0.4
    common = generator.normal(0, 1, n) + y
    return common + generator.normal(0, 0.7, n), common + generator.normal(0, 1.2, n), y


def test_delong_by_its_definition() -> None:
    a, b, y = two_models(60)
    found = s.delong(a, b, y)
    kernels = []
    for p in (a, b):
        gap = p[y][:, None] - p[~y][None, :]
        kernels.append((gap > 0) + 0.5 * (gap == 0))
    d10 = kernels[0].mean(axis=1) - kernels[1].mean(axis=1)
    d01 = kernels[0].mean(axis=0) - kernels[1].mean(axis=0)
    deviation = math.sqrt(d10.var(ddof=1) / len(d10) + d01.var(ddof=1) / len(d01))
    assert found.difference == pytest.approx(s.auc(a, y) - s.auc(b, y))
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * deviation, rel=1e-5)
    assert found.p_value == pytest.approx(math.erfc(abs(found.difference) / deviation / math.sqrt(2)))


def test_delong_with_groups_of_one_is_delong() -> None:
    a, b, y = two_models()
    grouped, plain = s.delong(a, b, y, np.arange(len(y))), s.delong(a, b, y)
    assert (grouped.low, grouped.high) == pytest.approx((plain.low, plain.high))


def test_copies_prove_nothing() -> None:
    a, b, y = two_models()
    once = s.delong(a, b, y)
    groups = np.tile(np.arange(len(y)), 4)
    again = s.delong(np.tile(a, 4), np.tile(b, 4), np.tile(y, 4), groups)
    assert again.difference == pytest.approx(once.difference)
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.02)
    fooled = s.delong(np.tile(a, 4), np.tile(b, 4), np.tile(y, 4))
    assert fooled.high - fooled.low < 0.6 * (once.high - once.low)


def test_delong_agrees_with_the_bootstrap() -> None:
    a, b, y = two_models(300, 3)
    found, drawn = s.delong(a, b, y), s.paired_bootstrap(lambda p, w: s.auc(p, y, w), a, b, None, y)
    assert drawn.value == pytest.approx(found.difference)
    assert drawn.high - drawn.low == pytest.approx(found.high - found.low, rel=0.1)


def test_a_model_and_itself() -> None:
    a, _, y = two_models()
    assert s.delong(a, a, y).p_value == 1
    assert s.delong(a, 2 * a + 1, y).difference == 0
    assert math.isnan(s.delong(a, a, np.ones(len(y), bool)).difference)
    same = s.paired_bootstrap(lambda p, w: s.auc(p, y, w), a, a, None, y, draws=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_repeated_cross_validation_is_corrected() -> None:
    differences = np.random.default_rng(1).normal(0.02, 0.03, (5, 10))
    found = s.repeated_cv_difference(differences)
    deviation = math.sqrt((1 / 50 + 1 / 9) * differences.var(ddof=1))
    assert found.value == pytest.approx(differences.mean())
    assert found.high - found.value == pytest.approx(2.009575 * deviation, rel=1e-5)  # t, 49 degrees of freedom
    with pytest.raises(ValueError, match="at least two folds"):
        s.repeated_cv_difference(np.zeros((3, 1)))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 49, 120])
def test_student_t(degrees: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for probability in (0.005, 0.3, 0.5, 0.9, 0.975, 0.999):
        expected = stats.t.ppf(probability, degrees)
        assert s.student_t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_holm() -> None:
    assert s.holm([0.04, 0.01, math.nan, 0.03])[:2] == [pytest.approx(0.06), pytest.approx(0.03)]
    assert s.holm([0.04, 0.01, math.nan, 0.03])[3] == pytest.approx(0.06)
    assert math.isnan(s.holm([math.nan])[0])


def test_the_p_value_of_folds_agrees_with_their_interval() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.5, 1.0, 2.0):
        d = shift + rng.normal(0, 1, (2, 5))
        p, estimate = s.repeated_cv_p_value(d), s.repeated_cv_difference(d)
        assert (p < 0.05) == (estimate.low > 0 or estimate.high < 0)
        # The interval that just touches zero has one minus p as its level.
        assert s.repeated_cv_difference(d, level=1 - p).low * np.sign(estimate.value) == pytest.approx(
            0 if estimate.value > 0 else abs(2 * estimate.value), abs=1e-6
        )
    assert np.isnan(s.repeated_cv_p_value(np.zeros((2, 5))))
    with pytest.raises(ValueError, match="two folds"):
        s.repeated_cv_p_value(np.zeros((3, 1)))


def test_some_pair_of_equal_recipes_often_looks_different_unless_corrected() -> None:
    rng = np.random.default_rng(0)
    alone = corrected = 0
    for _ in range(200):
        # Nadeau and Bengio's own picture: the trainings of a recipe share a fifth of their variance.
        six = rng.normal(0, np.sqrt(0.2), (6, 1)) + rng.normal(0, np.sqrt(0.8), (6, 5))
        p = [s.repeated_cv_p_value((six[a] - six[b])[None]) for a, b in itertools.combinations(range(6), 2)]
        alone += min(p) < 0.05
        corrected += min(s.holm(p)) < 0.05
    assert 70 <= alone <= 110  # docs/cross_validation.md: four of ten
    assert corrected <= 20
