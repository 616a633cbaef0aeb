from __future__ import annotations

import math

import numpy as np
import pytest

from melascope.statistics import Estimate, auc, bootstrap, interval, proportion, resamples, units, wilson


def test_wilson_known_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81/263, 15/148, 0/20, 1/29.
    for successes, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = wilson(successes, n)
        assert found.low == pytest.approx(low, abs=1e-4)
        assert found.high == pytest.approx(high, abs=1e-4)
    assert wilson(20, 20).high == 1.0


def test_nothing_out_of_nothing_is_null() -> None:
    assert wilson(0, 0).to_json() == {"value": None, "low": None, "high": None, "n": 0}
    assert proportion([]).to_json()["value"] is None


def test_impossible_successes() -> None:
    with pytest.raises(ValueError, match="impossible"):
        wilson(3, 2)


def test_a_row_without_a_group_stands_for_itself() -> None:
    assert len(set(units(["a", None, "a", math.nan, "", "<NA>"], 6))) == 5
    with pytest.raises(ValueError, match="2 groups were given for 3 rows"):
        units(["a", "b"], 3)


def test_groups_are_drawn_whole_and_strata_keep_their_size() -> None:
    groups = ["a", "a", "b", "c", "c", "c", "d", "e"]
    strata = ["MEL", "MEL", "MEL", "NV", "NV", "NV", "NV", "NV"]
    w = np.concatenate(list(resamples(groups, strata, 8, draws=300)), axis=1)
    assert w.shape == (8, 300)
    assert (w[0] == w[1]).all()
    assert (w[3] == w[5]).all()
    assert (w[[0, 2]].sum(axis=0) == 2).all()  # two groups of melanoma in every draw
    assert (w[[3, 6, 7]].sum(axis=0) == 3).all()
    assert len(np.unique(w[0])) == 3


def test_a_group_of_two_classes_belongs_to_the_rarer() -> None:
    groups = ["a", "a", "b", "c", "d"]
    strata = ["MEL", "NV", "NV", "NV", "NV"]
    w = np.concatenate(list(resamples(groups, strata, 5, draws=50)), axis=1)
    assert (w[0] == 1).all()


def test_bootstrap_repeats_by_seed_and_agrees_with_resampled_rows() -> None:
    generator = np.random.default_rng(0)
    y = generator.random(60) < 0.4
    p = y * 0.5 + generator.random(60)
    first = bootstrap(lambda w: auc(p, y, w), None, y, draws=64, seed=3)
    assert np.array_equal(first, bootstrap(lambda w: auc(p, y, w), None, y, draws=64, seed=3))
    assert not np.array_equal(first, bootstrap(lambda w: auc(p, y, w), None, y, draws=64, seed=4))
    w = next(iter(resamples(None, y, 60, draws=64, seed=3))).astype(int)
    rows = np.repeat(np.arange(60), w[:, 7])
    assert first[7] == pytest.approx(auc(p[rows], y[rows]))


def test_grouped_interval_is_wider_than_one_that_takes_copies_for_cases() -> None:
    hit = np.repeat(np.random.default_rng(1).random(40) < 0.7, 5)
    grouped = proportion(hit, np.repeat(np.arange(40), 5))
    naive = proportion(hit)
    assert grouped.value == naive.value
    assert grouped.high - grouped.low > 1.8 * (naive.high - naive.low)


def test_percentile_interval_near_the_exact_one_for_plain_rows() -> None:
    found = proportion(np.arange(100) < 80)
    assert found.low == pytest.approx(0.72, abs=0.011)
    assert found.high == pytest.approx(0.87, abs=0.021)


@pytest.mark.parametrize("hits", [np.ones(40), np.zeros(40), np.arange(8) < 4])
def test_wilson_where_percentiles_collapse(hits: np.ndarray) -> None:
    found = proportion(hits)
    assert found == wilson(hits.sum(), len(hits))


def test_few_groups_count_as_few_however_many_photographs() -> None:
    found = proportion(np.arange(60) % 2 == 0, np.arange(60) // 12)
    assert (found.low, found.high) == (wilson(2.5, 5).low, wilson(2.5, 5).high)
    assert found.n == 60


def test_a_score_that_no_draw_changes_is_not_certain() -> None:
    found = interval(np.full(200, 0.19), 0.19, 63)
    assert (found.low, found.high) == (wilson(0.19 * 63, 63).low, wilson(0.19 * 63, 63).high)
    assert interval(np.zeros(200), 0.0, 63, proportion=False).high == 0  # a difference that never was


def test_undefined_draws() -> None:
    samples = np.array([0.4, np.nan, 0.6, 0.5])
    assert interval(samples, 0.5, 30).low == pytest.approx(0.405)
    assert math.isnan(interval(np.array([0.4, np.nan, np.nan, np.nan]), 0.5, 30).low)
    assert interval(samples, 1.0, 30, proportion=False).high == pytest.approx(0.595)
    assert interval(samples, math.nan, 30).to_json() == Estimate(math.nan, math.nan, math.nan, 30).to_json()


def test_coverage_of_the_grouped_interval() -> None:
    """Over 200 simulated tests of 60 lesions the 95 % interval holds the true sensitivity about 95 % of the time."""
    generator, held = np.random.default_rng(5), 0
    for seed in range(200):
        rate = generator.beta(4, 1, 60)  # each lesion has its own difficulty: photographs of it agree
        hit = generator.random(180) < np.repeat(rate, 3)
        found = proportion(hit, np.repeat(np.arange(60), 3), draws=400, seed=seed)
        held += found.low <= 0.8 <= found.high
    assert 0.89 <= held / 200 <= 0.99
