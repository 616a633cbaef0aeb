"""Every score beside the implementation that defines it."""

from __future__ import annotations

import numpy as np
import pytest

from melascope import statistics as s

metrics = pytest.importorskip("sklearn.metrics")


def binary(seed: int, n: int = 80, digits: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = generator.random(n) < 0.3
    return np.round(np.clip(y * 0.25 + generator.random(n) * 0.75, 0, 1), digits), y


def several(seed: int, n: int = 120, c: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(c), n), generator.integers(0, c, n)


def weights(seed: int, n: int, k: int = 6) -> np.ndarray:
    return np.random.default_rng(seed + 100).integers(0, 4, (n, k)).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("digits", [1, 6])
def test_ranking_is_scikit_learns_with_ties_and_weights(seed: int, digits: int) -> None:
    p, y = binary(seed, digits=digits)
    w = weights(seed, len(p))
    assert s.auc(p, y) == pytest.approx(metrics.roc_auc_score(y, p))
    assert s.average_precision(p, y) == pytest.approx(metrics.average_precision_score(y, p))
    for column, (a, b) in enumerate(zip(s.auc(p, y, w), s.average_precision(p, y, w), strict=True)):
        assert a == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w[:, column]))
        assert b == pytest.approx(metrics.average_precision_score(y, p, sample_weight=w[:, column]))


# Given by isic-challenge-scoring 5.6.0 (auc_above_sensitivity at 0.8, auc, average_precision, and the first weighted
# by 0 to 3) on the data that `binary` made of these seeds, numbers and digits, followed by draws of the same generator.
ISIC = (
    (0, 40, 1, 0.44458333333333333, 0.5783333333333334, 0.28004999386578333, 0.3235271317829458),
    (1, 118, 2, 0.5520934959349594, 0.7965785907859079, 0.703499245030277, 0.5518118086929428),
    (2, 60, 6, 0.4814814814814815, 0.7155555555555555, 0.5207480943665154, 0.4170673076923077),
    (3, 300, 3, 0.4440909090909091, 0.7225284090909091, 0.5723183593057368, 0.4698688866540023),
)


@pytest.mark.parametrize(("seed", "n", "digits", "partial", "auc", "precision", "weighted"), ISIC)
def test_scores_of_the_official_isic_scorer(
    seed: int, n: int, digits: int, partial: float, auc: float, precision: float, weighted: float
) -> None:
    generator = np.random.default_rng(seed)
    y = generator.random(n) < 0.3
    p = np.round(np.clip(y * 0.25 + generator.random(n) * 0.75, 0, 1), digits)
    generator.integers(0, 4, n)
    generator.dirichlet(np.ones(4), n)
    w = generator.integers(0, 4, n).astype(float)
    assert s.partial_auc(p, y) == pytest.approx(partial, abs=1e-12)
    assert s.auc(p, y) == pytest.approx(auc, abs=1e-12)
    assert s.average_precision(p, y) == pytest.approx(precision, abs=1e-12)
    assert s.partial_auc(p, y, w) == pytest.approx(weighted, abs=1e-12)


@pytest.mark.parametrize("above", [0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("digits", [1, 2, 6])
def test_partial_auc_is_the_area_right_of_the_least_sensitivity(above: float, digits: int) -> None:
    p, y = binary(7, 90, digits)
    fpr, tpr, _ = metrics.roc_curve(y, p, drop_intermediate=False)
    first = tpr.searchsorted(above)
    start = np.interp(above, tpr[first - 1 : first + 1], fpr[first - 1 : first + 1])
    area = metrics.auc(np.r_[start, fpr[first:]], np.r_[above, tpr[first:]])
    assert s.partial_auc(p, y, above=above) == pytest.approx(area)


def test_extremes_of_ranking() -> None:
    y = np.array([True, True, False, False])
    perfect = s.ranking(np.array([0.9, 0.8, 0.2, 0.1]), y)
    assert (perfect.auc, perfect.partial_auc, perfect.average_precision) == (1, 1, 1)
    constant = s.ranking(np.full(4, 0.5), y)
    assert (constant.auc, constant.average_precision) == (0.5, 0.5)
    assert constant.partial_auc == pytest.approx(0.18)  # 0.2 wide, 0.9 high on average
    for one_class in (np.ones(4, bool), np.zeros(4, bool)):
        assert np.isnan(s.auc(np.arange(4.0), one_class))
    # A draw without positives or without negatives is undefined, not 0.
    assert np.isnan(s.auc(np.arange(4.0), y, np.array([[0, 1], [0, 1], [1, 0], [1, 0]]))).all()
    with pytest.raises(ValueError, match="1 of 4 scores are NaN"):
        s.auc(np.array([0, np.nan, 1, 2]), y)


@pytest.mark.parametrize("seed", range(3))
def test_class_scores_are_scikit_learns(seed: int) -> None:
    p, y = several(seed)
    predicted, w = p.argmax(axis=1), weights(seed, len(y))
    matrix = s.confusion(y, predicted, 5)
    assert np.array_equal(matrix, metrics.confusion_matrix(y, predicted))
    found = s.class_scores(matrix)
    assert found["sensitivity"] == pytest.approx(metrics.recall_score(y, predicted, average=None))
    assert found["precision"] == pytest.approx(metrics.precision_score(y, predicted, average=None))
    assert found["f1"] == pytest.approx(metrics.f1_score(y, predicted, average=None))
    others = [metrics.recall_score(y != i, predicted != i) for i in range(5)]
    assert found["specificity"] == pytest.approx(others)
    assert s.balanced_accuracy(y, predicted) == pytest.approx(metrics.balanced_accuracy_score(y, predicted))
    assert s.accuracy(y, predicted) == pytest.approx(metrics.accuracy_score(y, predicted))
    for column in range(w.shape[1]):
        one = w[:, column]
        of = {"sample_weight": one}
        assert s.accuracy(y, predicted, w)[column] == pytest.approx(metrics.accuracy_score(y, predicted, **of))
        balanced = metrics.balanced_accuracy_score(y, predicted, **of)
        assert s.balanced_accuracy(y, predicted, w)[column] == pytest.approx(balanced)
        assert s.log_loss(p, y, w)[column] == pytest.approx(metrics.log_loss(y, p, **of))
        assert s.brier(p[:, 0], y == 0, w)[column] == pytest.approx(metrics.brier_score_loss(y == 0, p[:, 0], **of))


def test_what_has_no_denominator_is_nan() -> None:
    matrix = s.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    found = s.class_scores(matrix)
    assert np.isnan(found["sensitivity"][2])
    assert np.isnan(found["precision"][2])
    assert np.isnan(found["f1"][2])
    never_called = s.class_scores(s.confusion(np.array([0, 1]), np.array([0, 0]), 2))
    assert np.isnan(never_called["precision"][1])
    assert never_called["f1"][1] == 0
    assert s.balanced_accuracy(np.array([0, 0, 1]), np.array([0, 1, 1])) == 0.75


def test_curves_are_scikit_learns() -> None:
    p, y = binary(3, digits=2)
    fpr, tpr, thresholds = s.roc_curve(p, y)
    expected = metrics.roc_curve(y, p, drop_intermediate=False)
    for mine, theirs in zip((fpr, tpr, thresholds), expected, strict=True):
        assert mine == pytest.approx(theirs)
    recall, precision, _ = s.precision_recall_curve(p, y)
    theirs_precision, theirs_recall, _ = metrics.precision_recall_curve(y, p)
    assert recall == pytest.approx(theirs_recall[::-1])
    assert precision == pytest.approx(theirs_precision[::-1])


def test_rates_take_one_alert_or_one_per_draw() -> None:
    y = np.array([True, True, False, False, False])
    alert = np.array([True, False, True, False, False])
    assert s.rates(alert, y) == (0.5, pytest.approx(2 / 3))
    found, passed = s.rates(np.stack([alert, ~alert], axis=1), y, np.ones((5, 2)))
    assert found == pytest.approx([0.5, 0.5])
    assert passed == pytest.approx([2 / 3, 1 / 3])
