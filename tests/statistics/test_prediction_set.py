from __future__ import annotations

import numpy as np
import pytest

from melascope import statistics as s


@pytest.mark.parametrize(("coverage", "enough"), [(0.9, 9), (0.95, 19)])
def test_a_class_of_too_few_is_always_in_the_set(coverage: float, enough: int) -> None:
    for n, infinite in ((enough, False), (enough - 1, True)):
        p = np.column_stack([np.linspace(0.5, 0.9, n), np.linspace(0.5, 0.1, n)])
        limits = s.quantiles(p, np.zeros(n, int), 2, coverage)
        assert np.isinf(limits[0]) == infinite
        assert np.isinf(limits[1])  # a class that was never seen
        assert s.members(np.array([[0.0, 1.0]]), limits)[0].tolist() == [infinite, True]


def test_one_photograph_per_lesion() -> None:
    p = np.column_stack([np.r_[np.full(9, 0.8), np.full(90, 0.1)], np.full(99, 0.5)])
    groups = np.r_[np.arange(9), np.zeros(90)]
    assert s.quantiles(p, np.zeros(99, int), 2, groups=groups)[0] == pytest.approx(0.2, abs=1e-5)


def test_null_in_a_decision_means_always() -> None:
    assert s.members(np.array([[0.0, 0.3, 0.7]]), [None, 0.5, 0.5]).tolist() == [[True, False, True]]


def test_the_most_probable_class_is_never_left_out() -> None:
    # The first class is told with .7 or more nine times in ten; at .5 nothing else is as likely all the same.
    assert s.members(np.array([[0.5, 0.4, 0.1]]), [0.3, 0.7, 0.7]).tolist() == [[True, True, False]]
    assert s.members(np.array([[0.5, 0.5]]), [0.1, 0.1]).tolist() == [[True, True]]


def test_coverage_holds_for_every_class() -> None:
    generator = np.random.default_rng(0)

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = generator.choice(3, n, p=[0.7, 0.2, 0.1])
        z = generator.normal(0, 1, (n, 3))
        z[np.arange(n), y] += 1
        return s.softmax(z), y

    p, y = sample(3000)
    fresh, truth = sample(20_000)
    inside = s.members(fresh, s.quantiles(p, y, 3, 0.9))
    for code in range(3):
        assert inside[truth == code, code].mean() == pytest.approx(0.9, abs=0.04)


def test_impossible_coverage() -> None:
    with pytest.raises(ValueError, match="coverage"):
        s.quantiles(np.ones((1, 1)), np.zeros(1, int), 1, 1.0)
