from __future__ import annotations

import numpy as np
import pytest

from melascope.training.balancing import class_weights, order, quotas

LABELS = np.repeat([0, 1, 3], [90, 9, 1])


def test_class_weights_are_inverse_to_counts_and_one_on_average() -> None:
    weights = class_weights(LABELS, 4)
    assert weights[2] == 0
    assert weights[1] == pytest.approx(10 * weights[0])
    assert weights[LABELS].mean() == pytest.approx(1)


@pytest.mark.parametrize(("sampling", "expected"), [("none", [90, 9, 0, 1]), ("balanced", [34, 33, 0, 33])])
def test_quotas_fill_an_epoch(sampling: str, expected: list[int]) -> None:
    found = quotas(LABELS, sampling)  # type: ignore[arg-type]
    assert sorted(found) == sorted(expected)
    assert found.sum() == len(LABELS)


def test_sqrt_goes_by_the_root_of_the_counts() -> None:
    found = quotas(LABELS, "sqrt")
    roots = np.sqrt([90, 9, 0, 1])
    np.testing.assert_allclose(found, 100 * roots / roots.sum(), atol=1)


@pytest.mark.parametrize("sampling", ["none", "balanced", "sqrt"])
def test_the_order_depends_on_seed_and_epoch_only(sampling: str) -> None:
    first = order(LABELS, 3, 7, sampling)  # type: ignore[arg-type]
    np.random.default_rng(1).random(5)
    np.testing.assert_array_equal(first, order(LABELS, 3, 7, sampling))  # type: ignore[arg-type]
    assert not np.array_equal(first, order(LABELS, 4, 7, sampling))  # type: ignore[arg-type]
    assert not np.array_equal(first, order(LABELS, 3, 8, sampling))  # type: ignore[arg-type]
    assert len(first) == len(LABELS)


def test_without_sampling_each_photograph_comes_once() -> None:
    np.testing.assert_array_equal(np.sort(order(LABELS, 0, 0)), np.arange(len(LABELS)))


def test_balanced_epochs_walk_through_a_large_class_before_repeating() -> None:
    seen = np.concatenate([order(LABELS, epoch, 0, "balanced") for epoch in range(8)])
    times = np.bincount(seen, minlength=len(LABELS))
    assert times[:90].max() - times[:90].min() <= 1
    assert times[99] == 8 * quotas(LABELS, "balanced")[3]


def test_what_sampling_makes_up_for_is_not_weighted_once_more() -> None:
    labels = np.repeat([0, 1], [900, 100])
    np.testing.assert_allclose(class_weights(labels, 3, "balanced"), [1, 1, 0])
    sqrt = class_weights(labels, 2, "sqrt")
    shares = quotas(labels, "sqrt") / len(labels)
    np.testing.assert_allclose(shares * sqrt, [0.5, 0.5], atol=1e-6)
