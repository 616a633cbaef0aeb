from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from melascope.training import recipe as recipes

pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (12, 4)).astype(np.float32)
LABELS = RNG.integers(0, 4, 12)


def loss_of(mixup: float = 0.0, **optimiser: object) -> Any:
    from melascope.training.losses import loss

    made = loss(recipes.parse({"data": {"size": 16}, "optimiser": optimiser, "augmentation": {"mixup": mixup}}), 4)
    return lambda labels, logits: np.asarray(made(labels, logits))


def log_p(logits: np.ndarray) -> np.ndarray:
    exact = logits.astype(np.float64)
    return exact - np.log(np.exp(exact).sum(1, keepdims=True))


def test_focal_loss_is_the_papers() -> None:
    own = log_p(LOGITS)[np.arange(12), LABELS]
    for gamma in (0.5, 1.0, 2.0):
        found = loss_of(loss="focal", focal_gamma=gamma)(LABELS, LOGITS)
        np.testing.assert_allclose(found, -((1 - np.exp(own)) ** gamma) * own, rtol=1e-4)


def test_focal_loss_is_that_of_keras_where_that_does_not_clip() -> None:
    import keras

    theirs = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=2.0, from_logits=True, label_smoothing=0.1, reduction=None
    )
    found = loss_of(loss="focal", label_smoothing=0.1)(LABELS, LOGITS)
    np.testing.assert_allclose(found, theirs(np.eye(4, dtype=np.float32)[LABELS], LOGITS), rtol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"loss": "focal"}], ids=str)
def test_whole_shares_are_the_same_as_indices_and_mixtures_lie_between(settings: dict[str, object]) -> None:
    loss = loss_of(mixup=1.0, **settings)
    hard = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(loss(hard[LABELS], LOGITS), loss(LABELS, LOGITS), rtol=1e-5)
    other = (LABELS + 1) % 4
    mixed = loss(0.25 * hard[LABELS] + 0.75 * hard[other], LOGITS)
    np.testing.assert_allclose(mixed, 0.25 * loss(LABELS, LOGITS) + 0.75 * loss(other, LOGITS), rtol=1e-4, atol=1e-5)


def test_focal_loss_still_pulls_where_all_is_wrong_and_stays_finite_where_all_is_right() -> None:
    import tensorflow as tf

    from melascope.training.losses import loss

    made = loss(recipes.parse({"data": {"size": 16}, "optimiser": {"loss": "focal", "focal_gamma": 0.5}}), 2)
    logits = tf.Variable([[-40.0, 40.0], [40.0, -40.0]])
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(made(np.array([0, 0]), logits))
    slope = np.asarray(tape.gradient(value, logits))
    assert np.isfinite(slope).all()
    assert slope[0, 0] < -0.9
    assert abs(slope[1]).max() < 1e-3


def test_scores_take_a_mixture_for_its_largest_share() -> None:
    from melascope.training.metrics import Scores

    classes = ("MEL", "NV", "BCC", "BKL")
    hard, soft = Scores(classes), Scores(classes)
    hard.update_state(LABELS, LOGITS)
    shares = 0.4 * np.eye(4, dtype=np.float32)[(LABELS + 1) % 4] + 0.6 * np.eye(4, dtype=np.float32)[LABELS]
    soft.update_state(shares, LOGITS)
    assert {k: float(v) for k, v in hard.result().items()} == {k: float(v) for k, v in soft.result().items()}
