"""What must be said beside the scores: prediction sets, sample size, missing data, too few to judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from melascope.evaluation.measures import distinct
from melascope.evaluation.sample import Sample
from melascope.statistics import Estimate, bootstrap, interval, members, sample_size
from melascope.statistics.intervals import FEW, Array
from melascope.statistics.scores import sums


def set_section(sample: Sample, rule: Mapping[str, Any] | None, draws: int, seed: int) -> dict[str, Any] | None:
    """Return coverage and mean size of the prediction sets, in all and per class; None where there are none."""
    if not rule:
        return None
    inside = members(sample.p, rule["quantiles"])
    covered = inside[np.arange(len(sample)), sample.y].astype(float)
    size = inside.sum(axis=1).astype(float)

    def both(rows: Array) -> dict[str, Any]:
        n, n_units = int(rows.sum()), distinct(sample.groups, rows)
        if not n:
            nothing = Estimate(math.nan, math.nan, math.nan, 0).to_json()
            return {"n": 0, "coverage": nothing, "size": nothing}
        values = np.stack([covered[rows], size[rows]])
        mean: Callable[[Array], Array] = lambda w: sums(values, w) / w.sum(axis=0)  # noqa: E731
        samples = bootstrap(mean, sample.groups[rows], sample.y[rows], draws, seed, n)
        return {
            "n": n,
            "coverage": interval(samples[:, 0], float(values[0].mean()), n, n_units).to_json(),
            "size": interval(samples[:, 1], float(values[1].mean()), n, n_units, proportion=False).to_json(),
        }

    everything = both(np.ones(len(sample), dtype=bool))
    return {
        "coverage_wanted": rule["coverage"],
        "coverage": everything["coverage"],
        "size": everything["size"],
        "per_class": {code: both(sample.y == i) for i, code in enumerate(sample.classes)},
    }


def size_section(sample: Sample, singular: str = "photographs") -> dict[str, Any]:
    """Return what the numbers of melanomas and of malignant lesions can show (sample-size statement)."""
    result = {}
    for group, truth in sample.truth.items():
        rows, n = int(truth.sum()), distinct(sample.groups, truth)
        size = sample_size(n)
        what = "melanoma" if group == "melanoma" else "malignant"
        result[group] = {
            "n": rows,
            "n_groups": n,
            "at": size["at"],
            "low": size["low"],
            "high": size["high"],
            "width": size["width"],
            "needed_for_width_0.10": size["needed"],
            "text": f"{rows} {what} {singular} in {n} independent groups: were {100 * size['at']:.0f} % of them found, "
            f"the 95 % interval would reach from {size['low']:.2f} to {size['high']:.2f}. "
            f"An interval no wider than 0.10 needs {size['needed']}.",
        }
    return result


def too_few(sample: Sample) -> list[dict[str, Any]]:
    """Return the classes and groups with fewer than ten independent units: nothing is judged on them."""
    rows = [("class", code, sample.y == i) for i, code in enumerate(sample.classes)]
    rows += [("group", group, truth) for group, truth in sample.truth.items()]
    return [
        {"kind": kind, "name": name, "n": int(mask.sum()), "n_groups": distinct(sample.groups, mask)}
        for kind, name, mask in rows
        if distinct(sample.groups, mask) < FEW
    ]


def missing_section(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return per column how many cells are empty, and of how many."""
    columns = (
        "diagnosis",
        "label_from",
        "group",
        "lesion_id",
        "patient_id",
        "age",
        "sex",
        "site",
        "source",
        "confirmed_by",
        *(["skin_tone"] if "skin_tone" in frame.columns and frame["skin_tone"].notna().any() else []),
    )
    result = {}
    for column in columns:
        values = frame[column].astype("string").str.strip() if column in frame.columns else None
        empty = len(frame) if values is None else int((values.isna() | (values == "")).sum())
        result[column] = {"missing": empty, "of": len(frame)}
    return result
