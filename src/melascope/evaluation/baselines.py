"""Baselines that every report shows: what costs nothing, what needs no network, and what must be at chance.

Training on shuffled labels is the caller's; `shuffle_labels` gives the labels,
`shuffled_labels` judges what came of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.datasets import origins
from melascope.errors import DataError, MissingExtraError
from melascope.evaluation.sample import group_names
from melascope.evaluation.strata import with_both
from melascope.progress import Progress, silent
from melascope.statistics import (
    Estimate,
    accuracy,
    auc,
    auc_within,
    balanced_accuracy,
    bootstrap,
    interval,
    log_loss,
    paired_bootstrap,
    softmax,
)
from melascope.statistics.intervals import DRAWS, Array, units

TOLD = 0.02
"""Share of the diagnoses' entropy that a network on shuffled labels may explain; docs/champion.md tells how it came."""
_CHUNK = 256  # photographs whose histograms are counted at once


def all_of(
    table: pd.DataFrame,
    labels: Array,
    rows: Mapping[str, Array],
    classes: Sequence[str],
    images: Array,
    shuffled: Array | None = None,
    said: Sequence[str | None] | None = None,
    risk: Array | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return all baselines of a run, as `metrics["baselines"]`.

    Args:
        table: With `group` (or lesion, patient) and `source` (or lesion ids that tell it) where known.
        labels: `(n,)` class numbers, in the table's order.
        rows: The row numbers of `train` and `test`.
        classes: The codes behind the labels.
        images: `(n, h, w, 3)` uint8, in the table's order.
        shuffled: `(len(rows["test"]), c)` logits of the network trained on shuffled labels, or None.
        said: `(len(rows["test"]),)` codes, the first choices of the model that is measured against the baselines (None
            where it refused): each baseline then gets `difference`, that model minus the baseline, paired.
        risk: `(len(rows["test"]),)` of melanoma, by the same model, NaN where it refused: the difference then has the
            AUCs for melanoma too, over all pairs and over those within a source.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Called with `colours`, photographs done and in all.
    """
    part = np.full(len(table), None, dtype=object)
    for name in ("train", "test"):
        part[rows[name]] = name
    named = table.assign(part=part, diagnosis=[classes[label] for label in labels])
    if said is not None:
        chosen = np.full(len(table), None, dtype=object)
        chosen[rows["test"]] = list(said)
        named["said"] = chosen
    if risk is not None:
        named["risk"] = np.nan
        named.loc[named.index[rows["test"]], "risk"] = np.asarray(risk, dtype=float)
    named["source"] = origins(named).to_numpy(dtype=object)
    result = {
        "largest_class": largest_class(named, draws, seed),
        "colour_histogram": colour_histogram(images, named, draws, seed, progress),
    }
    if shuffled is not None:
        p = pd.DataFrame(softmax(shuffled), columns=[f"p_{code}" for code in classes])
        tested = pd.concat([named.iloc[rows["test"]].reset_index(drop=True), p], axis=1)
        result["shuffled_labels"] = shuffled_labels(tested, classes, draws, seed)
    return result


def largest_class(table: pd.DataFrame, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Return the scores of always saying the training part's largest class.

    Args:
        table: Columns `part` (`train`, `test`) and `diagnosis`; `group` where known.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: When either part has no labelled row.
    """
    classes, train, test = _labelled(table)
    largest = table.loc[train, "diagnosis"].astype(str).value_counts().index[0]
    p = np.zeros((int(test.sum()), len(classes)))
    p[:, classes.index(largest)] = 1
    return _judge(p, table[test], classes, f"Always the training part's largest class ({largest}).", draws, seed)


def colour_histogram(
    images: Array,
    table: pd.DataFrame,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the scores of a logistic regression on colour histograms.

    Features are the square roots of the shares of 64 colours (4 levels of red,
    green and blue) and of 16 levels of each channel, standardised; classes weigh
    the same.

    Args:
        images: `(n, h, w, 3)` uint8, in the table's order; may be a memory map.
        table: Columns `part` (`train`, `test`) and `diagnosis`; `group` where known.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Called with `colours`, photographs done and in all.

    Raises:
        DataError: When a part has no labelled row, or training holds one class only.
        MissingExtraError: Without scikit-learn.
    """
    model = colour_model()
    classes, train, test = _labelled(table)
    labels = table["diagnosis"].astype("string").fillna("").to_numpy(dtype=object)
    if len(set(labels[train])) < 2:
        raise DataError("The colour-histogram baseline needs at least two classes in the training part.")
    rows = np.flatnonzero(train | test)
    features = np.empty((len(table), 64 + 3 * 16), dtype=np.float32)
    report = progress or silent
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        report("colours", start, len(rows))
        features[part] = colours(images[part])
    report("colours", len(rows), len(rows))
    model.fit(features[train], labels[train])
    p = np.zeros((int(test.sum()), len(classes)))
    p[:, [classes.index(code) for code in model.classes_]] = model.predict_proba(features[test])
    return _judge(p, table[test], classes, "Logistic regression on colour histograms alone.", draws, seed)


def colour_model() -> Any:
    """Return the unfitted logistic regression on colour features, in which classes weigh the same.

    Raises:
        MissingExtraError: Without scikit-learn.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise MissingExtraError("train", "The colour-histogram baseline") from None
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000))


def colours(images: Array) -> Array:
    """Return the colour features `(n, 112)` float32 of photographs `(n, h, w, 3)` uint8."""
    pixels = np.asarray(images).reshape(len(images), -1, 3)
    coarse = (pixels[..., 0] >> 6) * 16 + (pixels[..., 1] >> 6) * 4 + (pixels[..., 2] >> 6)
    counts = [_histogram(coarse, 64), *(_histogram(pixels[..., channel] >> 4, 16) for channel in range(3))]
    return np.sqrt(np.concatenate(counts, axis=1) / pixels.shape[1]).astype(np.float32)


def _histogram(levels: Array, n: int) -> Array:
    shifted = levels.astype(np.intp) + n * np.arange(len(levels))[:, None]
    return np.bincount(shifted.ravel(), minlength=n * len(levels)).reshape(len(levels), n)


def shuffle_labels(table: pd.DataFrame, seed: int = 0) -> pd.Series:
    """Return the diagnoses shuffled within each part, for training a network that must end at chance.

    Whole groups exchange their labels, so that photographs of one lesion still
    agree; the test part keeps its own. A group of several diagnoses gets the
    label of one first row.

    Args:
        table: Columns `part` and `diagnosis`; `group` where known.
        seed: Same seed, same labels.
    """
    generator = np.random.default_rng(seed)
    result = table["diagnosis"].astype("string").copy()
    labels = result.to_numpy(dtype=object)
    unit = units(group_names(table), len(table))
    shuffled = labels.copy()
    for part in sorted(table["part"].dropna().astype(str).unique()):
        if part == "test":
            continue
        rows = np.flatnonzero((table["part"].astype("string") == part).fillna(False).to_numpy(dtype=bool))
        _, first, member = np.unique(unit[rows], return_index=True, return_inverse=True)
        shuffled[rows] = generator.permutation(labels[rows][first])[member]
    result[:] = shuffled
    return result


def shuffled_labels(
    predictions: pd.DataFrame, classes: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Return the test scores, against the true labels, of a network that was trained on shuffled ones.

    `at_chance` is False where the interval of the balanced accuracy lies wholly
    above one in the number of classes, or that of `explained` above `TOLD`: then
    something other than the lesion tells the label. `explained` is the share of the
    diagnoses' entropy that the probabilities explain, brought to the test's mix
    (McFadden's pseudo R squared). The AUC decides nothing: a network that tells
    nothing still ranks by some arbitrary property of photographs, such as how dark
    they are, and that may go with the diagnosis in either direction.

    Args:
        predictions: As `predict_table` makes them.
        classes: The network's.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: When no test row has both a label of these classes and a prediction.
    """
    p = predictions[[f"p_{code}" for code in classes]].to_numpy(dtype=float)
    where = predictions["part"].astype("string").fillna("test") == "test"
    known = predictions["diagnosis"].astype("string").isin(list(classes)).fillna(False)
    rows = where.to_numpy(dtype=bool) & known.to_numpy(dtype=bool) & np.isfinite(p).all(axis=1)
    if not rows.any():
        raise DataError("No test photograph has a label and a prediction, so shuffled labels cannot be judged.")
    text = "The same network, trained on shuffled labels."
    result = _judge(p[rows], predictions[rows], tuple(classes), text, draws, seed)
    present = predictions.loc[rows, "diagnosis"].nunique()
    result["explained"] = _explained(p[rows], predictions[rows], tuple(classes), draws, seed)
    lows = ((result["explained"]["low"], TOLD), (result["balanced_accuracy"]["low"], 1 / present))
    result["at_chance"] = all(low is None or low <= chance for low, chance in lows)
    return result


def _explained(p: Array, rows: pd.DataFrame, classes: tuple[str, ...], draws: int, seed: int) -> dict[str, Any]:
    y = np.array([classes.index(code) for code in rows["diagnosis"].astype(str)], dtype=np.intp)
    shares = np.bincount(y, minlength=len(classes)) / len(y)
    # Training may have drawn rare classes more often: only what differs between photographs counts.
    mixed = p * (shares / np.maximum(p.mean(axis=0), np.finfo(float).tiny))
    mixed /= np.maximum(mixed.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    known = np.broadcast_to(shares, p.shape)

    def score(w: Array) -> dict[str, Array]:
        entropy = np.maximum(log_loss(known, y, w), np.finfo(float).eps)
        return {"explained": np.asarray(1 - log_loss(mixed, y, w) / entropy)}

    groups = units(group_names(rows), len(rows))
    value = float(score(np.ones((len(y), 1)))["explained"][0])
    drawn = bootstrap(score, groups, y, draws, seed, len(y))["explained"]
    return interval(drawn, value, len(y), len(np.unique(groups)), proportion=False).to_json()


def _labelled(table: pd.DataFrame) -> tuple[tuple[str, ...], Array, Array]:
    labelled = table["diagnosis"].notna().to_numpy(dtype=bool)
    part = table["part"].astype("string")
    train, test = (labelled & (part == name).fillna(False).to_numpy(dtype=bool) for name in ("train", "test"))
    for name, rows in (("train", train), ("test", test)):
        if not rows.any():
            raise DataError(f'A baseline needs labelled photographs in the part "{name}"; there are none.')
    return diagnosis.ordered(table.loc[train | test, "diagnosis"].astype(str)), train, test


def _judge(p: Array, rows: pd.DataFrame, classes: tuple[str, ...], text: str, draws: int, seed: int) -> dict[str, Any]:
    labels = rows["diagnosis"].astype(str)
    y = np.array([classes.index(code) for code in labels], dtype=np.intp)
    predicted = p.argmax(axis=1)
    truth = {group: labels.isin(codes).to_numpy(dtype=bool) for group, codes in diagnosis.GROUPS.items()}
    risk = {group: diagnosis.group_risk(p, classes, group) for group in truth}

    def score(w: Array) -> dict[str, Array]:
        return {
            "accuracy": accuracy(y, predicted, w),
            "balanced_accuracy": balanced_accuracy(y, predicted, w),
            **{f"{group}_auc": auc(risk[group], truth[group], w) for group in truth},
        }

    groups = units(group_names(rows), len(rows))
    values = {name: float(value[0]) for name, value in score(np.ones((len(y), 1))).items()}
    samples = bootstrap(score, groups, y, draws, seed, len(y))
    number = {name: len(np.unique(groups)) for name in values}
    for group, of_group in truth.items():
        number[f"{group}_auc"] = min(len(np.unique(groups[of_group])), len(np.unique(groups[~of_group])))
    result: dict[str, Any] = {
        name: interval(samples[name], value, len(y), number[name]).to_json() for name, value in values.items()
    }
    source = _sources(rows)
    both = [] if source is None else with_both(truth["melanoma"], source)
    if source is not None and both:
        own = np.isin(source, both)
        within = _within(risk["melanoma"], truth["melanoma"], source, groups, y, own, draws, seed)
        result["melanoma_auc_within"] = within
    if "said" in rows.columns:
        result["difference"] = _difference(predicted, rows, y, classes, draws, seed)
        if "risk" in rows.columns:
            result["difference"] |= _ranked(risk["melanoma"], truth["melanoma"], source, rows, y, draws, seed)
    return {**result, "text": text}


def _sources(rows: pd.DataFrame) -> Array | None:
    """Return the names of the sources `(n,)`, empty where unknown; None where fewer than two are known."""
    if "source" not in rows.columns:
        return None
    names = rows["source"].astype("string").str.strip().fillna("").to_numpy(dtype=object).astype(str)
    return names if len(np.unique(names[names != ""])) > 1 else None


def _within(
    risk: Array, melanoma: Array, source: Array, groups: Array, y: Array, own: Array, draws: int, seed: int
) -> dict[str, Any]:
    p, positive, strata, unit = risk[own], melanoma[own], source[own], groups[own]
    samples = bootstrap(lambda w: auc_within(p, positive, strata, w), unit, y[own], draws, seed, int(own.sum()))
    number = min(len(np.unique(unit[positive])), len(np.unique(unit[~positive])))
    return interval(samples, float(auc_within(p, positive, strata)), int(own.sum()), number).to_json()


def _ranked(
    baseline: Array, melanoma: Array, source: Array | None, rows: pd.DataFrame, y: Array, draws: int, seed: int
) -> dict[str, Any]:
    """Return the model's melanoma AUC minus the baseline's on the same rows: over all pairs, and within sources."""
    own = rows["risk"].to_numpy(dtype=float)
    scored = np.isfinite(own)
    strata = {"melanoma_auc": np.zeros(len(own)), "melanoma_auc_within": source}
    result = {}
    for name, stratum in strata.items():
        if stratum is None:
            continue
        seen = scored & (np.isin(stratum, with_both(melanoma, stratum)) if name != "melanoma_auc" else True)
        truth = melanoma[seen]
        if not 0 < truth.sum() < len(truth):
            continue

        def score(p: Array, w: Array | None, t: Array = truth, s: Array = stratum[seen]) -> Any:
            return auc_within(p, t, s, w)

        groups = group_names(rows)[seen]
        result[name] = paired_bootstrap(score, own[seen], baseline[seen], groups, y[seen], draws, seed).to_json()
    return result


def _difference(
    predicted: Array, rows: pd.DataFrame, y: Array, classes: tuple[str, ...], draws: int, seed: int
) -> dict[str, Any]:
    """Return the model's balanced accuracy minus the baseline's on the same rows, both scored on the same draws."""
    scored = rows["said"].notna().to_numpy(dtype=bool)
    number = {code: i for i, code in enumerate(classes)}
    # A class that no photograph of the set has cannot be right: any number beyond the classes stands for it.
    own = np.array([number.get(str(code), len(classes)) for code in rows.loc[scored, "said"]], dtype=np.intp)
    if not len(own):
        return {"balanced_accuracy": Estimate(math.nan, math.nan, math.nan, 0).to_json()}
    labels = y[scored]

    def score(choices: Array, w: Array | None) -> Any:
        return balanced_accuracy(labels, choices, w)

    groups = group_names(rows)[scored]
    found = paired_bootstrap(score, own, predicted[scored], groups, labels, draws, seed)
    return {"balanced_accuracy": found.to_json()}
