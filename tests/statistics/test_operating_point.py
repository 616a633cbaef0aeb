from __future__ import annotations

import numpy as np
import pytest

from melascope import statistics as s


def test_59_with_none_missed_are_assured_58_are_not() -> None:
    assert s.is_assured(59, 59, 0.95)
    assert not s.is_assured(58, 58, 0.95)
    assert s.is_assured(92, 93, 0.95)
    assert not s.is_assured(91, 92, 0.95)
    assert not s.is_assured(58, 59, 0.95)
    assert not s.is_assured(0, 0, 0.95)


@pytest.mark.parametrize(("n", "assured"), [(58, False), (59, True)])
def test_assured_operating_point(n: int, assured: bool) -> None:
    p = np.r_[np.full(n, 0.6), np.linspace(0, 0.9, 40)]
    y = np.arange(n + 40) < n
    point = s.choose(p, y)
    assert point.threshold == 0.6
    assert point.assured is assured
    assert (point.n_positive, point.n_negative) == (n, 40)
    assert point.to_json()["assured"] is assured


def test_lower_bound_is_clopper_and_pearsons() -> None:
    stats = pytest.importorskip("scipy.stats")
    for k, n in ((59, 59), (58, 60), (5, 11), (1, 3), (400, 420)):
        assert s.lower_bound(k, n) == pytest.approx(stats.beta.ppf(0.05, k, n - k + 1))
    assert s.lower_bound(0, 5) == 0


def test_threshold_is_the_largest_that_reaches_the_target() -> None:
    p = np.r_[np.linspace(0.05, 1, 20), np.linspace(0, 1, 30)]
    y = np.arange(50) < 20
    point = s.choose(p, y, target=0.95)
    assert point.sensitivity.value == 0.95  # 19 of 20
    assert np.mean(p[y] >= np.nextafter(point.threshold, 2)) < 0.95
    assert not point.assured
    assert s.choose(p, y, target=1.0).threshold == p[y].min()


def test_assurance_can_be_paid_for_with_specificity() -> None:
    generator = np.random.default_rng(0)
    y = np.arange(400) < 120
    p = np.where(y, generator.beta(5, 2, 400), generator.beta(2, 5, 400))
    plain, assured = s.choose(p, y), s.choose(p, y, assure=True)
    assert not plain.assured
    assert assured.assured
    assert assured.threshold < plain.threshold
    assert assured.specificity.value < plain.specificity.value
    assert s.lower_bound(round(assured.sensitivity.value * 120), 120) >= 0.95
    few = np.r_[np.flatnonzero(y)[:30], np.flatnonzero(~y)]
    assert s.choose(p[few], y[few], assure=True) == s.choose(p[few], y[few])


def test_photographs_of_one_lesion_do_not_assure() -> None:
    p, y = np.r_[np.full(60, 0.6), np.full(40, 0.1)], np.arange(100) < 60
    assert s.choose(p, y).assured
    assert not s.choose(p, y, groups=np.arange(100) // 2).assured


def test_impossible_requests() -> None:
    for y in (np.ones(5, bool), np.zeros(5, bool)):
        with pytest.raises(ValueError, match="rows with it and rows without it"):
            s.choose(np.arange(5.0), y)
    with pytest.raises(ValueError, match="impossible"):
        s.choose(np.arange(5.0), np.arange(5) < 2, target=1.2)


def test_measure_alerts_at_the_threshold_itself() -> None:
    sensitivity, specificity = s.measure(np.array([0.5, 0.4, 0.5, 0.1]), np.array([True, True, False, False]), 0.5)
    assert (sensitivity.value, specificity.value) == (0.5, 0.5)
    assert (sensitivity.n, specificity.n) == (2, 2)
    assert (sensitivity.low, sensitivity.high) == (s.wilson(1, 2).low, s.wilson(1, 2).high)


def test_thresholds_of_draws_are_those_of_repeated_rows() -> None:
    generator = np.random.default_rng(1)
    p, y = np.round(generator.random(60), 2), np.arange(60) < 25
    w = generator.integers(0, 3, (60, 20)).astype(float)
    drawn = s.threshold_for(p, y, 0.9, w)
    for column in range(20):
        rows = np.repeat(np.arange(60), w[:, column].astype(int))
        assert drawn[column] == s.threshold_for(p[rows], y[rows], 0.9)
    assert np.isnan(s.threshold_for(p, y, 0.9, np.zeros((60, 1)))).all()


def test_predictive_values_need_a_prevalence() -> None:
    ppv, npv = s.predictive_values(0.9, 0.5, 0.02)
    assert ppv == pytest.approx(0.018 / (0.018 + 0.49))
    assert npv == pytest.approx(0.49 / (0.49 + 0.002))
    with pytest.raises(ValueError, match="prevalence"):
        s.predictive_values(0.9, 0.5, 0.0)


def test_net_benefit_of_a_perfect_model_is_the_prevalence() -> None:
    model, everybody = s.net_benefit(
        np.array([1.0, 1.0, 0.0]), np.array([True, True, False]), 0.1, np.array([0.1, 0.5])
    )
    assert model == pytest.approx([0.1, 0.1])
    assert everybody == pytest.approx([0.0, -0.8])


def test_sample_size() -> None:
    found = s.sample_size(16)
    assert (found["low"], found["high"]) == (s.wilson(15.2, 16).low, s.wilson(15.2, 16).high)
    needed = int(found["needed"])
    for n, wide in ((needed, False), (needed - 1, True)):
        around = s.wilson(0.95 * n, n)
        assert (around.high - around.low > 0.1) is wide
    assert s.sample_size(0)["width"] == 1
