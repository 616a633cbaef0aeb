"""The decision curve where the truth is known: risks drawn from a distribution whose net benefit can be integrated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from melascope.evaluation.decision_curve import THRESHOLDS, decision_curve
from melascope.evaluation.sample import Sample

A, B = 1.6, 6.4
"""Of the beta distribution of risks, whose mean, the prevalence, is .2."""


def _sample(seed: int, n: int) -> Sample:
    rng = np.random.default_rng(seed)
    risk = rng.beta(A, B, n)
    melanoma = rng.random(n) < risk
    p = np.stack([risk, 1 - risk], axis=1)
    return Sample(
        ("MEL", "NV"), p, 1 - melanoma.astype(int), {"melanoma": risk}, {"melanoma": melanoma}, np.arange(n), p
    )


def _curve(sample: Sample, prevalence: float | None = None) -> dict[str, Any]:
    curve = decision_curve(sample, "melanoma", prevalence)
    assert curve is not None
    return {key: np.array(value) if isinstance(value, list) else value for key, value in curve.items()}


def _truth(prevalence: float) -> np.ndarray:
    """Return the net benefit of these risks at another prevalence, sensitivity and specificity taken along."""
    found = beta(A + 1, B).sf(THRESHOLDS)  # of melanomas: density times risk
    fall_out = beta(A, B + 1).sf(THRESHOLDS)
    return found * prevalence - fall_out * (1 - prevalence) * THRESHOLDS / (1 - THRESHOLDS)


@pytest.mark.parametrize("prevalence", [0.2, 0.05])
def test_the_band_holds_the_true_net_benefit_as_often_as_it_says(prevalence: float) -> None:
    held = []
    for seed in range(200):
        curve = _curve(_sample(seed, 1500), prevalence)
        truth = _truth(prevalence)
        held.append((curve["low"] <= truth) & (truth <= curve["high"]))
    # 200 samples; the thresholds of one sample go together.
    assert 0.94 <= np.mean(held) <= 0.97
    assert np.mean(held, axis=0).min() > 0.89


def test_exact_risks_help_where_they_were_drawn_and_harm_where_melanoma_is_rarer() -> None:
    sample = _sample(0, 1500)
    own = _curve(sample)
    assert own["prevalence"] == sample.truth["melanoma"].mean()
    assert not own["stated"]
    # Never worse than referring everybody or nobody, and better than both in between.
    best = np.maximum(own["everybody"], 0)
    assert (own["model"] >= best - 0.01).all()
    assert own["low"][18] > best[18]
    # The same risks where melanoma is twenty times rarer are too high: whoever believes them does harm.
    assert _curve(sample, 0.01)["high"].min() < 0


def test_few_have_a_wide_band_and_one_kind_no_curve() -> None:
    sample = _sample(1, 1500)
    few = np.concatenate([np.flatnonzero(sample.truth["melanoma"])[:9], np.flatnonzero(~sample.truth["melanoma"])[:50]])
    narrow = _curve(sample, 0.2)
    wide = _curve(sample.take(few), 0.2)
    assert wide["high"][9] - wide["low"][9] > 3 * (narrow["high"][9] - narrow["low"][9])
    assert decision_curve(sample.take(sample.truth["melanoma"]), "melanoma") is None


def test_photographs_of_one_lesion_do_not_count_twice() -> None:
    sample = _sample(2, 500)
    once = _curve(sample)
    twice = _curve(sample.take(np.repeat(np.arange(500), 2)))
    assert twice["low"] == pytest.approx(once["low"])
    assert twice["high"] == pytest.approx(once["high"])
