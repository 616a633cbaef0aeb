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
    assert point.threshold == pytest.approx(0.6, rel=1e-4)
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
    assert np.mean(p[y] >= point.threshold * 1.001) < 0.95
    assert not point.assured
    assert s.choose(p, y, target=1.0).threshold == pytest.approx(p[y].min(), rel=1e-4)


def test_no_risk_lies_on_a_threshold() -> None:
    p, y = np.array([0.2, 0.3, 0.3 - 1e-6, 0.7]), np.array([False, True, False, True])
    for aim in ("sensitivity", "specificity", "youden"):
        point = s.choose(p, y, 1.0, aim=aim)
        assert point.threshold < 0.3
        assert np.abs(p - point.threshold).min() > 1e-7
        # It divides the risks as the risk itself would.
        assert (point.sensitivity.value, point.specificity.value) == (1.0, 1.0)
    assert s.choose(np.array([0.0, 0.0, 1.0]), np.array([True, False, True])).threshold == 0.0


def test_rule_in_reaches_its_specificity_and_assures_it() -> None:
    y = np.arange(300) < 100
    p = np.where(y, np.linspace(0.3, 1, 300), np.linspace(0, 0.6, 300))
    point = s.choose(p, y, 0.95, "rule-in", aim="specificity")
    assert point.aim == "specificity"
    assert point.specificity.value >= 0.95
    assert s.measure(p, y, float(p[p < point.threshold].max()))[1].value < 0.95
    assert not point.assured
    clear = np.r_[np.full(100, 0.9), np.full(200, 0.1)]
    found = s.choose(clear, y, 0.95, aim="specificity")
    assert found.assured
    assert found.specificity.value == 1.0
    # 200 photographs of 40 lesions do not assure it.
    assert not s.choose(clear, y, 0.95, groups=np.arange(300) // 5, aim="specificity").assured
    # Where the largest risks are those of others, nothing may alert.
    upside = s.choose(np.r_[np.full(100, 0.1), np.full(200, 0.9)], y, 0.95, aim="specificity")
    assert (upside.sensitivity.value, upside.specificity.value) == (0.0, 1.0)


def test_balanced_has_the_largest_youden_index() -> None:
    generator = np.random.default_rng(3)
    y = generator.random(400) < 0.2
    p = np.where(y, generator.beta(4, 3, 400), generator.beta(2, 5, 400))
    point = s.choose(p, y, name="balanced", aim="youden")
    index = {t: (p[y] >= t).mean() + (p[~y] < t).mean() for t in p}
    assert point.sensitivity.value + point.specificity.value == pytest.approx(max(index.values()))
    assert not point.assured
    assert point.to_json()["target"] is None
    assert point.to_json()["aim"] == "youden"


def test_known_truth_gives_the_known_threshold() -> None:
    """Two normal distributions 2 apart: each threshold is a quantile, and Youden's lies half way."""
    from statistics import NormalDist

    generator = np.random.default_rng(4)
    y = np.arange(40_000) < 20_000
    x = generator.normal(0, 1, 40_000) + 2 * y
    p = 1 / (1 + np.exp(-x))
    wanted = {
        "sensitivity": NormalDist(2, 1).inv_cdf(0.05),
        "specificity": NormalDist(0, 1).inv_cdf(0.95),
        "youden": 1.0,
    }
    for aim, at in wanted.items():
        threshold = s.threshold_of(aim, p, y, 0.95)
        assert np.log(threshold / (1 - threshold)) == pytest.approx(at, abs=0.1 if aim == "youden" else 0.04)


def test_what_decides_where_none_is_asked_for() -> None:
    assert s.deployed({"balanced": 1, "screening": 2}) == "screening"
    assert s.deployed({"mine": 1}) == "mine"
    assert s.deployed({}) is None


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
    for aim in ("sensitivity", "specificity", "youden"):
        drawn = s.threshold_of(aim, p, y, 0.9, w)
        for column in range(20):
            rows = np.repeat(np.arange(60), w[:, column].astype(int))
            assert drawn[column] == s.threshold_of(aim, p[rows], y[rows], 0.9)
        assert np.isnan(s.threshold_of(aim, p, y, 0.9, np.zeros((60, 1)))).all()
        lacking = np.full(60, aim == "specificity")
        assert np.isnan(s.threshold_of(aim, p, lacking, 0.9))


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
