from __future__ import annotations

import numpy as np
import pytest

from melascope.statistics import auc, bootstrap, rates
from melascope.statistics.gaps import effective_cases, pairwise_gaps, tukey_width


@pytest.mark.parametrize("k", [2, 3, 7, 12])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_width_is_the_studentised_ranges(k, level):
    distributions = pytest.importorskip("scipy.stats")
    expected = distributions.studentized_range.ppf(level, k, np.inf) / 2**0.5
    assert tukey_width(k, level) == pytest.approx(expected, abs=1e-3)


def test_one_group_has_no_gap_and_no_width():
    assert pairwise_gaps([0.5], [20]) == []
    with pytest.raises(ValueError, match="two groups"):
        tukey_width(1)


@pytest.mark.parametrize(("values", "behind"), [([0.5, 1.2], [9, 9]), ([0.5], [9, 9]), ([0.5, 0.6], [9, 0])])
def test_impossible_groups_are_refused(values, behind):
    with pytest.raises(ValueError, match="Each group"):
        pairwise_gaps(values, behind)


def test_two_groups_have_newcombes_interval():
    # Newcombe 1998, Stat Med 17:873, example (a): 56 of 70 less 48 of 80, method 10.
    (gap,) = pairwise_gaps([48 / 80, 56 / 70], [80, 70])
    assert (gap.higher, gap.lower) == (1, 0)
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert gap.shown


def test_pairs_come_largest_first_and_wider_than_alone():
    pairs = pairwise_gaps([0.9, 0.5, 0.7], [50, 50, 50])
    assert [(gap.higher, gap.lower) for gap in pairs] == [(0, 1), (0, 2), (2, 1)] or pairs[1].value == pairs[2].value
    (alone,) = pairwise_gaps([0.9, 0.5], [50, 50])
    assert pairs[0].low < alone.low < alone.high < pairs[0].high


def test_a_score_of_all_or_nothing_keeps_its_width():
    (gap,) = pairwise_gaps([1.0, 1.0], [12, 15])
    assert gap.value == 0
    assert gap.low < -0.1
    assert gap.high > 0.1
    assert not gap.shown


@pytest.mark.parametrize("sizes", [[15, 15], [10, 20, 40, 80], [30] * 8])
def test_equal_groups_seldom_show_a_gap(sizes):
    generator = np.random.default_rng(0)
    sets, p = 400, 0.85
    shown = 0
    for _ in range(sets):
        values = [generator.binomial(n, p) / n for n in sizes]
        shown += any(gap.shown for gap in pairwise_gaps(values, sizes))
    # 5 % and three standard errors of 400 sets
    assert shown / sets < 0.05 + 3 * (0.05 * 0.95 / sets) ** 0.5


def test_equal_groups_of_an_auc_seldom_show_a_gap():
    generator = np.random.default_rng(1)
    sets, shown = 150, 0
    y = np.arange(60) < 15
    for made in range(sets):
        values, behind = [], []
        for _ in range(4):
            risk = generator.normal(size=60) + 1.2 * y
            samples = bootstrap(lambda w, risk=risk: auc(risk, y, w), None, y, 100, made, 60)
            values.append(float(auc(risk, y)))
            behind.append(effective_cases(values[-1], samples, 15))
        shown += any(gap.shown for gap in pairwise_gaps(values, behind))
    assert shown / sets < 0.05 + 3 * (0.05 * 0.95 / sets) ** 0.5


def test_photographs_of_one_lesion_count_once():
    generator = np.random.default_rng(2)
    found = generator.random(60) < 0.8
    truth = np.ones(120, bool)

    def behind(groups):
        samples = bootstrap(lambda w: rates(np.r_[found, found], truth, w)[0], groups, truth, 1000)
        return effective_cases(float(found.mean()), samples, len(set(groups)), 120)

    assert behind(list(np.tile(np.arange(60), 2))) == pytest.approx(60, rel=0.15)
    assert behind(list(range(120))) == pytest.approx(120, rel=0.15)
    assert effective_cases(1.0, np.ones(100), 33, 50) == 33
