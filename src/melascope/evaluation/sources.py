"""How well a photograph's source can be told from the network's embedding: whether a shortcut lies open to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melascope.datasets import origins
from melascope.errors import DataError
from melascope.evaluation.predictions import Streams
from melascope.evaluation.sample import group_names
from melascope.statistics import bootstrap, grouped_folds, interval
from melascope.statistics.intervals import DRAWS, FEW, Array, Groups, units
from melascope.statistics.scores import balanced_accuracy

_FOLDS = 5
_MOST = 5_000  # photographs whose embeddings are kept, lest a large set pays minutes for one number
_PENALTY = 0.1  # scikit-learn's C: embeddings have more columns than a source may have photographs


class Remembering:
    """A predictor that keeps the embeddings of some of the photographs that `predict_table` sends through it.

    Args:
        predictor: The deployed one.
        rows: Numbers of the photographs wanted, counted as they come; `worth_telling` names them.

    Attributes:
        embeddings: Number of the photograph to its embedding `(d,)` float32; those refused are missing.
    """

    def __init__(self, predictor: Streams, rows: Iterable[int]) -> None:
        self._predictor, self._rows = predictor, {int(row) for row in rows}
        self.classes = tuple(predictor.classes)
        self.embeddings: dict[int, Array] = {}

    def stream(self, paths: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """Yield `(index, raw)` in order, as the predictor does."""
        for row, raw in self._predictor.stream(paths):
            if row in self._rows and raw.embedding is not None:
                self.embeddings[row] = raw.embedding
            yield row, raw

    def probabilities(self, logits: Array) -> Array:
        """Return calibrated probabilities `(n, c)` of logits `(n, c)`."""
        return self._predictor.probabilities(logits)


def recorded(table: pd.DataFrame) -> bool:
    """Return whether a table names the source of any photograph, so that lesion ids need not tell it."""
    return "source" in table.columns and bool((_names(table["source"]) != "").any())


def worth_telling(table: pd.DataFrame, seed: int = 0) -> Array:
    """Return the numbers of the test photographs whose source is known, at most 5,000 drawn of them.

    There are none where fewer than two sources are known.

    Args:
        table: With `source`, or `lesion_id` that tells it, and `part` where not all rows are test.
        seed: Of the draw.
    """
    names = _names(origins(table))
    wanted = (names != "").to_numpy(dtype=bool)
    if "part" in table.columns:
        wanted &= (table["part"].astype("string").fillna("test") == "test").to_numpy(dtype=bool)
    rows = np.flatnonzero(wanted)
    if names.iloc[rows].nunique() < 2:
        return rows[:0]
    return np.sort(np.random.default_rng(seed).choice(rows, _MOST, replace=False)) if len(rows) > _MOST else rows


def source_told(
    embeddings: Array,
    sources: Sequence[Any] | Array | pd.Series,
    groups: Groups = None,
    seed: int = 0,
    diagnoses: Sequence[Any] | Array | pd.Series | None = None,
    draws: int = DRAWS,
) -> dict[str, Any] | None:
    """Return the balanced accuracy with which embeddings tell the source of photographs.

    Five-fold cross-validated logistic regression, whole groups in a fold, each
    source of equal weight. The interval resamples groups, the fitted regressions
    held fixed. Sources are told through their diagnoses too where these differ,
    so that the rate by the diagnosis alone stands beside it.

    Args:
        embeddings: `(n, d)`; rows that are not finite are left out.
        sources: `(n,)` names; empty where unknown.
        groups: `(n,)` what belongs together: lesions, patients.
        seed: Of the folds and the bootstrap.
        diagnoses: `(n,)` codes, or None.
        draws: Of the bootstrap.

    Returns:
        `balanced_accuracy` (an estimate), `chance` (one in the number of sources), `told` (whether the interval lies
        above chance), `sources` (name to photographs), `left_out` (photographs of unknown or too small sources),
        `by_diagnosis` (an estimate, or None) and `text`. None where fewer than two sources have ten groups.

    Raises:
        DataError: When the lengths differ.
    """
    n = len(embeddings)
    if len(sources) != n or (diagnoses is not None and len(diagnoses) != n):
        raise DataError(f"Sources and diagnoses must be given for each of {n} embeddings.")
    names = _names(sources)
    unit = units(groups, n)
    rows = (names != "").to_numpy(dtype=bool) & np.isfinite(embeddings).all(axis=1)
    numbers = pd.Series(unit[rows]).groupby(names[rows].to_numpy(dtype=object)).nunique()
    judged = sorted(str(name) for name in numbers.index[numbers >= FEW])
    if len(judged) < 2 or not embeddings.shape[1]:
        return None
    rows &= names.isin(judged).to_numpy(dtype=bool)
    y = pd.Categorical(names[rows], categories=judged).codes.astype(np.intp)
    unit = unit[rows]
    folds = grouped_folds(y, unit, _FOLDS, seed)
    told = _estimate(_by_embedding(np.asarray(embeddings[rows], dtype=float), y, folds), y, unit, draws, seed)
    of_diagnosis = None
    if diagnoses is not None:
        codes = pd.factorize(pd.Series(list(diagnoses), dtype="string")[rows])[0]
        of_diagnosis = _estimate(_by_diagnosis(codes, y, folds), y, unit, draws, seed)
    chance = 1 / len(judged)
    return {
        "balanced_accuracy": told,
        "chance": chance,
        "told": told["low"] is not None and told["low"] > chance,
        "sources": {name: int((y == i).sum()) for i, name in enumerate(judged)},
        "left_out": int(n - rows.sum()),
        "by_diagnosis": of_diagnosis,
        "text": _words(told, of_diagnosis, chance, judged),
    }


def of_predictions(
    embeddings: Mapping[int, Array], predictions: pd.DataFrame, rows: Array, seed: int = 0
) -> dict[str, Any] | None:
    """Return `source_told` of some of the predictions; None where too little is known of their sources.

    Args:
        embeddings: Number of the prediction to `(d,)`, as `Remembering` keeps them.
        predictions: With `source`, and `group`, `lesion_id` or `patient_id` where known.
        rows: `(n,)` bool: which of them are judged.
        seed: Of folds and bootstrap.
    """
    kept = [row for row in np.flatnonzero(rows).tolist() if row in embeddings]
    if "source" not in predictions.columns or not kept:
        return None
    frame = predictions.iloc[kept]
    values = np.stack([embeddings[row] for row in kept])
    return source_told(values, frame["source"], group_names(frame), seed, frame["diagnosis"])


def _names(sources: Sequence[Any] | Array | pd.Series) -> pd.Series:
    return pd.Series(list(sources), dtype="string").str.strip().fillna("")


def _by_embedding(embeddings: Array, y: Array, folds: Array) -> Array:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    said = np.zeros(len(y), dtype=np.intp)
    for fold in np.unique(folds):
        held = folds == fold
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=2000)
        ).fit(embeddings[~held], y[~held])
        said[held] = model.predict(embeddings[held])
    return said


def _by_diagnosis(codes: Array, y: Array, folds: Array) -> Array:
    """Return the source in which a diagnosis is relatively the most frequent, learnt on the other folds."""
    said = np.zeros(len(y), dtype=np.intp)
    codes = codes - codes.min()  # what is unknown is -1, a diagnosis like any other
    for fold in np.unique(folds):
        held = folds == fold
        table = np.zeros((int(y.max()) + 1, int(codes.max()) + 1))
        np.add.at(table, (y[~held], codes[~held]), 1.0)
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        said[held] = shares.argmax(axis=0)[codes[held]]
    return said


def _estimate(said: Array, y: Array, unit: Array, draws: int, seed: int) -> dict[str, Any]:
    value = float(balanced_accuracy(y, said))
    samples = bootstrap(lambda w: balanced_accuracy(y, said, w), unit, y, draws, seed, len(y))
    per_source = [len(np.unique(unit[y == i])) for i in np.unique(y)]
    # As many units as one proportion of the same variance.
    effective = math.floor(len(per_source) ** 2 / sum(1 / number for number in per_source))
    return interval(samples, value, len(y), effective).to_json()


def _words(told: dict[str, Any], by_diagnosis: dict[str, Any] | None, chance: float, names: Sequence[str]) -> str:
    def shown(found: dict[str, Any]) -> str:
        ends = "" if found["low"] is None else f" ({found['low']:.2f} to {found['high']:.2f})"
        return f"{found['value']:.2f}{ends}"

    text = (
        f"The embedding tells which of {len(names)} sources a photograph is from with a balanced accuracy of "
        f"{shown(told)}; guessing reaches {chance:.2f}"
    )
    if by_diagnosis is not None:
        text += f", the diagnosis alone {shown(by_diagnosis)}"
    return text + "."
