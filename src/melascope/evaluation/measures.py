"""Every score of a sample, and its values over the bootstrap's draws, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from melascope.evaluation.sample import Sample
from melascope.statistics import (
    bootstrap,
    brier,
    class_scores,
    confusion,
    deployed,
    interval,
    log_loss,
    ranking,
    rates,
    reliability,
    slope_intercept,
)
from melascope.statistics.calibration import Reliability, binned
from melascope.statistics.intervals import Array
from melascope.statistics.scores import Ranking, balanced_accuracy_of, sums

Points = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""`decision["operating_points"]`: group, name, and the point."""


def distinct(groups: Array, rows: Array | None = None) -> int:
    """Return how many groups the rows (all, or those of a mask) come from."""
    return len(np.unique(groups if rows is None else groups[rows]))


class Scores:
    """The scores of a sample: their values, and their values over bootstrap draws.

    Each is held under a name such as `auc/MEL`; `estimate` joins a name with
    the rows that stand behind it.
    """

    def __init__(self, sample: Sample, points: Points, draws: int, seed: int) -> None:
        self.sample, self.points = sample, points
        self.diagrams = {group: reliability(risk, sample.truth[group]) for group, risk in sample.risk.items()}
        self.values = {name: value[..., 0] for name, value in self._all(np.ones((len(sample), 1))).items()}
        self.samples = bootstrap(self._all, sample.groups, sample.y, draws, seed, len(sample))
        self.draws, self.seed = draws, seed

    def _all(self, w: Array) -> dict[str, Array]:
        s = self.sample
        matrix = confusion(s.y, s.choice, len(s.classes), w)
        result: dict[str, Array] = {
            "accuracy": np.einsum("iik->k", matrix) / matrix.sum(axis=(0, 1)),
            "balanced_accuracy": balanced_accuracy_of(matrix),
            "log_loss": log_loss(s.p, s.y, w),
        }
        for name, per_class in class_scores(matrix).items():
            result |= {f"{name}/{code}": per_class[i] for i, code in enumerate(s.classes)}
        rankings: dict[str, Ranking] = {}
        for i, code in enumerate(s.classes):
            rankings[code] = ranking(s.p[:, i], s.y == i, w)
        for group, risk in s.risk.items():
            # Melanoma is one class: its risk has been ranked already.
            twin = [c for i, c in enumerate(s.classes) if np.array_equal(risk, s.p[:, i]) and s.truth[group].any()]
            twin = [c for c in twin if np.array_equal(s.truth[group], s.y == s.classes.index(c))]
            rankings[group] = rankings[twin[0]] if twin else ranking(risk, s.truth[group], w)
            result |= self._calibration(group, risk, s.truth[group], self.diagrams[group], w)
            for name, point in self.points.get(group, {}).items():
                found, passed = rates(risk >= point["threshold"], s.truth[group], w)
                result |= {f"sensitivity/{group}/{name}": found, f"specificity/{group}/{name}": passed}
        for name, scores in rankings.items():
            result |= {
                f"auc/{name}": scores.auc,
                f"pauc80/{name}": scores.partial_auc,
                f"average_precision/{name}": scores.average_precision,
            }
        return result | self._alerts(w)

    @staticmethod
    def _calibration(group: str, risk: Array, truth: Array, diagram: Reliability, w: Array) -> dict[str, Array]:
        slope, intercept = slope_intercept(risk, truth, w)
        mass = np.stack([w[diagram.bin_of_row == i].sum(axis=0, dtype=float) for i in range(len(diagram.n))])
        gap = np.nan_to_num(binned(risk - truth, diagram.bin_of_row, w))
        return {
            f"slope/{group}": slope,
            f"intercept/{group}": intercept,
            f"brier/{group}": brier(risk, truth, w),
            f"ece/{group}": (np.abs(gap) * mass).sum(axis=0) / mass.sum(axis=0),
            f"observed/{group}": binned(truth.astype(float), diagram.bin_of_row, w),
        }

    def alert(self) -> Array | None:
        """Return which rows alert, on melanoma or on malignancy, at the deployed operating point; None without any."""
        fired = [
            self.sample.risk[group] >= named[name]["threshold"]
            for group, named in self.points.items()
            if (name := deployed(named)) is not None
        ]
        return np.logical_or.reduce(fired) if fired else None

    def _alerts(self, w: Array) -> dict[str, Array]:
        alert = self.alert()
        if alert is None:
            return {}
        truth = self.sample.truth
        return {
            "alerts/rate": sums(alert.astype(w.dtype), w) / w.sum(axis=0),
            "alerts/melanoma_sensitivity": rates(alert, truth["melanoma"], w)[0],
            "alerts/malignant_sensitivity": rates(alert, truth["malignant"], w)[0],
            "alerts/benign_specificity": rates(alert, truth["malignant"], w)[1],
        }

    def estimate(self, name: str, rows: Array | None = None, n_units: float | None = None, share: bool = True) -> Any:
        """Return `{"value", "low", "high", "n"}` of a score; `rows` is the mask of its denominator."""
        n = len(self.sample) if rows is None else int(rows.sum())
        number = distinct(self.sample.groups, rows) if n_units is None else n_units
        value = float(self.values[name])
        return interval(self.samples[name], value, n, int(number), proportion=share).to_json()
