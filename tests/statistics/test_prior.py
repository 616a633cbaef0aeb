from __future__ import annotations

import numpy as np
import pytest
from test_scaling import known_truth

from melascope import statistics as s


def test_the_first_choice_weighs_the_prior_away() -> None:
    p = np.array([[0.2, 0.7, 0.1], [0.05, 0.9, 0.05]])
    assert s.first_choice(p).tolist() == [1, 1]
    assert s.first_choice(p, [0.1, 0.8, 0.1]).tolist() == [0, 1]
    np.testing.assert_allclose(s.weighed(p, [0.1, 0.8, 0.1])[0], np.array([2, 0.875, 1]) / 3.875)
    assert s.weighed(p, None) is p
    assert s.first_choice(p[0], [0.1, 0.8, 0.1]) == 0


def test_weighing_gives_the_balanced_accuracy_that_the_truth_allows() -> None:
    true, y = known_truth(3000, shares=np.array([0.05, 0.8, 0.1, 0.05]))
    p = s.softmax(true)
    found = s.choose_prior(p, y, s.grouped_folds(y))
    assert found.prior == pytest.approx([0.05, 0.8, 0.1, 0.05], abs=0.02)
    assert found.plain is not None
    assert found.gained is not None
    assert found.gained.low > 0.05
    # Under equal priors the best possible choice is the largest likelihood.
    best = s.balanced_accuracy(y, (true - np.log([0.05, 0.8, 0.1, 0.05])).argmax(axis=1))
    assert found.plain + found.gained.value == pytest.approx(best, abs=0.02)


def test_a_class_of_fewer_than_ten_lesions_is_weighed_as_if_it_had_ten_and_not_judged() -> None:
    true, y = known_truth(3000, shares=np.array([0.05, 0.8, 0.149, 0.001]))
    assert 0 < (y == 3).sum() < 10
    found = s.choose_prior(s.softmax(true), y, s.grouped_folds(y))
    assert found.scarce == (3,)
    assert found.prior is not None
    assert found.prior[3] == pytest.approx(10 / 3000, rel=0.02)
    assert found.gained is not None
    assert found.gained.n == (y != 3).sum()
    common = y != 3
    plain = s.balanced_accuracy(y[common], s.softmax(true)[common].argmax(axis=1))
    assert found.plain == pytest.approx(float(plain))


def test_where_fewer_than_two_classes_have_ten_lesions_nothing_is_weighed() -> None:
    y = np.repeat([0, 1, 2], [30, 18, 12])
    lesions = np.arange(60) // 2
    found = s.choose_prior(np.full((60, 3), 1 / 3), y, s.grouped_folds(y, lesions), lesions)
    assert found.prior is None
    assert found.scarce == (1, 2)
    assert found.gained is None


def test_what_lowers_balanced_accuracy_is_not_done() -> None:
    # Probabilities that are not calibrated for the set's mix: they count all classes alike already.
    true, y = known_truth(2000, shares=np.array([0.1, 0.7, 0.1, 0.1]))
    alike = s.softmax(true - np.log([0.1, 0.7, 0.1, 0.1]))
    found = s.choose_prior(alike, y, s.grouped_folds(y))
    assert found.gained is not None
    assert found.gained.value < 0
    assert found.prior is None
    assert found.scarce == ()
