"""How an idea for the champion is judged by what its networks said of the folds that they were not trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis, statistics
from melascope.training.recipe import Recipe
from models.champion.gather import HAM, ISIC2017
from models.champion.ideas import IDEAS

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
EXAM = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
"""HAM10000's diagnoses, in which the challenge of 2018 judged."""


def sampled(made: Recipe, counts: np.ndarray) -> np.ndarray:
    """Return how often training showed each class."""
    power = {"none": 1.0, "sqrt": 0.5, "balanced": 0.0}[made.balance.sampling]
    shown = np.where(counts > 0, np.maximum(counts, 1) ** power, 0.0)
    return np.asarray(shown / shown.sum())


def judge(name: str, folds: Sequence[int], out: Path, views: bool = False, draws: int = 1000) -> dict[str, Any]:
    """Return an idea's scores over some folds, with intervals that resample lesions.

    `balanced_accuracy` is that of the largest probability, `even` that of the largest probability over how often
    training showed the class: what is right equally often. `natural_auc` is the melanoma AUC of the probability
    weighed to how frequent the classes are: what ideas that draw classes otherwise can be compared by.
    `specificity` is that at the threshold which finds 95 % of the same melanomas, for ideas to be told apart by: no
    promise. With three folds or more, `decided` is the balanced accuracy of what `decided` decides,
    `decided_sensitivity` and `decided_specificity` those of its alerts; `once_auc`, `once_decided` and so on are
    the same where each lesion counts once, however many photographs it has, and `lesion_auc` and so on with its
    photographs taken together, as `melascope predict --by lesion` does; `one_` and `several_` tell the latter of
    lesions with one photograph and with more. `stranger` is the melanoma AUC within ISIC 2017, the mean over the
    folds' networks, and `stranger_sensitivity` and `stranger_specificity` those at the threshold that finds 95 % of
    the melanomas of the network's own fold. With `views` a photograph's logits are the mean of its four mirror
    images'.
    """
    ham, strangers, seconds, learnt = [], [], 0.0, []
    for fold in folds:
        folder = out / name / f"fold-{fold}"
        said = _told(folder, views)
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        own = said[said["source"] == HAM]
        limit = float(np.quantile(own.loc[own["diagnosis"] == "MEL", "risk"], 0.05))
        said = said.assign(alert=said["risk"] >= limit)
        ham.append(own.assign(fold=fold))
        strangers.append(said[said["source"] == ISIC2017])
        seconds += record["seconds"]
        learnt.append(record["learnt"])
    of_ham = pd.concat(ham, ignore_index=True)
    truth = of_ham["diagnosis"].map(lambda code: EXAM.index(diagnosis.coarsen_label(code, EXAM))).to_numpy()
    melanoma = (of_ham["diagnosis"] == "MEL").to_numpy()
    risk = of_ham["risk"].to_numpy()
    below = risk < np.quantile(risk[melanoma], 0.05)

    def scores(w: Any) -> dict[str, Any]:
        more = {}
        if "decided" in of_ham:
            chosen = of_ham["decided"].to_numpy()
            alerts = statistics.rates(of_ham["alerted"].to_numpy(), melanoma, w)
            more = {
                "decided": statistics.balanced_accuracy(truth, chosen, w),
                "decided_sensitivity": alerts[0],
                "decided_specificity": alerts[1],
            }
        return {
            **more,
            "balanced_accuracy": statistics.balanced_accuracy(truth, of_ham["first"].to_numpy(), w),
            "even": statistics.balanced_accuracy(truth, of_ham["even"].to_numpy(), w),
            "melanoma_auc": statistics.auc(risk, melanoma, w),
            "natural_auc": statistics.auc(of_ham["natural"].to_numpy(), melanoma, w),
            "specificity": (w[~melanoma] * below[~melanoma, None]).sum(axis=0) / w[~melanoma].sum(axis=0),
        }

    units = pd.factorize(of_ham["group"])[0]
    if len(folds) > 2:
        logits = of_ham[[f"{'views' if views else 'logit'}_{code}" for code in CLASSES]].to_numpy(dtype=float)
        given = logits, of_ham["diagnosis"], of_ham["group"], of_ham["fold"]
        of_ham = of_ham.assign(**decided(*given)[["decided", "alerted"]])
    values = {key: float(value[0]) for key, value in scores(np.ones((len(truth), 1))).items()}
    samples = statistics.bootstrap(scores, units, truth, draws, 0, len(truth))
    found: dict[str, Any] = {}
    for key, value in values.items():
        found[key] = statistics.interval(samples[key], value, len(truth)).to_json()
    if len(folds) > 2:
        single = decided(*given)
        once = 1 / of_ham.groupby("group")["group"].transform("size").to_numpy()
        found |= of_decided("once", single.assign(weight=once), of_ham["group"].to_numpy(), draws)
        whole = decided(*given, lesions=True)
        for unit, rows in (("lesion", whole["photographs"] > 0), ("one", whole["photographs"] == 1),
                           ("several", whole["photographs"] > 1)):  # fmt: skip
            kept = whole[rows].assign(weight=1.0)
            found |= of_decided(unit, kept, np.arange(len(kept)), draws)
    outside = [one for one in strangers if len(one) and one["diagnosis"].eq("MEL").any()]
    if outside:
        frame = outside[0]
        yes = (frame["diagnosis"] == "MEL").to_numpy()
        risks, weighed = ([one[key].to_numpy() for one in outside] for key in ("risk", "natural"))
        alerts = [one["alert"].to_numpy() for one in outside]

        def abroad(w: Any) -> dict[str, Any]:
            found, passed = zip(*(statistics.rates(alert, yes, w) for alert in alerts), strict=True)
            return {
                "stranger": np.mean([statistics.auc(risk, yes, w) for risk in risks], axis=0),
                "stranger_natural": np.mean([statistics.auc(risk, yes, w) for risk in weighed], axis=0),
                "stranger_sensitivity": np.mean(found, axis=0),
                "stranger_specificity": np.mean(passed, axis=0),
            }

        single = {key: float(value[0]) for key, value in abroad(np.ones((len(yes), 1))).items()}
        drawn = statistics.bootstrap(abroad, pd.factorize(frame["group"])[0], yes.astype(int), draws, 0, len(yes))
        for key, value in single.items():
            found[key] = statistics.interval(drawn[key], value, len(yes)).to_json()
    return {
        "idea": name,
        "what": IDEAS[name].what + (", four mirror images" if views else ""),
        "views": views,
        "folds": list(folds),
        "minutes": round(seconds / 60, 1),
        "learnt": learnt,
        **found,
    }


def apart(one: Path, other: Path, views: bool, draws: int = 1000) -> dict[str, Any]:
    """Return by how much one network's melanoma AUC is above another's, paired on the photographs.

    `stranger_less` is that on ISIC 2017 and `home_less` that on the fold of HAM10000, `stranger_natural_less` and
    `home_natural_less` those of the probabilities weighed to how frequent the classes are.

    Args:
        one: The folder of a fold of an idea that never saw ISIC 2017.
        other: The folder of the same fold of the other's.
        views: Whether a photograph's logits are the mean of its four mirror images'.
        draws: Of lesions, for the interval.
    """
    first, second = (_told(folder, views) for folder in (one, other))
    found: dict[str, Any] = {}
    for name, source in (("stranger", ISIC2017), ("home", HAM)):
        asked = first[first["source"] == source]
        if asked.empty:
            continue
        both = asked.merge(second[["image_id", "risk", "natural"]], on="image_id", validate="one_to_one")
        if len(both) != len(asked):
            raise SystemExit(f"{one} and {other} were asked about other photographs.")
        found |= {f"{name}{end}_less": less for end, less in _paired(both, draws).items()}
    return found


def _paired(both: pd.DataFrame, draws: int) -> dict[str, Any]:
    yes = (both["diagnosis"] == "MEL").to_numpy()

    def less(w: Any) -> dict[str, Any]:
        return {
            end: statistics.auc(both[f"{key}_x"].to_numpy(), yes, w)
            - statistics.auc(both[f"{key}_y"].to_numpy(), yes, w)
            for key, end in (("risk", ""), ("natural", "_natural"))
        }

    drawn = statistics.bootstrap(less, pd.factorize(both["group"])[0], yes.astype(int), draws, 0, len(yes))
    return {
        end: statistics.interval(drawn[end], float(value[0]), len(yes), proportion=False).to_json()
        for end, value in less(np.ones((len(yes), 1))).items()
    }


def _told(folder: Path, views: bool) -> pd.DataFrame:
    """Return what a network said: the melanoma `risk`, and that weighed to how frequent the classes are, `natural`.

    `first` and `even` are its first choices among HAM10000's seven, by the probabilities and by what they are over
    how often training showed each.
    """
    said = pd.read_parquet(folder / "said.parquet")
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    columns = [f"{'views' if views else 'logit'}_{code}" for code in CLASSES]
    p = statistics.softmax(said[columns].to_numpy(dtype=float))
    even = p / np.maximum(record["sampled"], 1e-9)
    # As a bundle's calibration does: risks for a mix in which classes are as frequent as they are.
    natural = even * record["shares"]
    natural = natural[:, 0] / natural.sum(axis=1)
    return said.assign(risk=p[:, 0], natural=natural, first=_seven(p), even=_seven(even))


def of_decided(name: str, found: pd.DataFrame, units: np.ndarray, draws: int) -> dict[str, Any]:
    """Return the scores of what was decided, under `name_`; `units` are drawn, and rows count by their `weight`."""
    truth, weight = found["truth"].to_numpy(), found["weight"].to_numpy()[:, None]
    melanoma, risk = truth == EXAM.index("MEL"), found["risk"].to_numpy()

    def scores(drawn: Any) -> dict[str, Any]:
        w = drawn * weight
        sensitivity, specificity = statistics.rates(found["alerted"].to_numpy(), melanoma, w)
        return {
            f"{name}_decided": statistics.balanced_accuracy(truth, found["decided"].to_numpy(), w),
            f"{name}_auc": statistics.auc(risk, melanoma, w),
            f"{name}_sensitivity": sensitivity,
            f"{name}_specificity": specificity,
        }

    values = scores(np.ones((len(truth), 1)))
    samples = statistics.bootstrap(scores, pd.factorize(units)[0], truth, draws, 0, len(truth))
    n = round(float(weight.sum()))
    return {key: statistics.interval(samples[key], float(value[0]), n).to_json() for key, value in values.items()}


def decided(
    logits: np.ndarray, codes: pd.Series, groups: pd.Series, folds: pd.Series, lesions: bool = False
) -> pd.DataFrame:
    """Return what a bundle would decide on each fold, all of it fitted to the other folds.

    Calibration, the weighing of first choices and the threshold that finds 95 % of melanomas are those of
    `melascope train`; there they are fitted to its part `calibrate`.

    Args:
        logits: `(n, c)`, each of a network that was not trained on the photograph's fold.
        codes: The diagnoses.
        groups: The lesions.
        folds: The folds.
        lesions: Take the photographs of a lesion together: the mean of their probabilities.

    Returns:
        A row for each photograph or lesion: `truth` and `decided`, the diagnosis and the first choice among
        HAM10000's seven; `risk` of melanoma, `alerted`, and how many `photographs` it is of.
    """
    labels = codes.map({code: i for i, code in enumerate(CLASSES)}).to_numpy(dtype=np.int64)
    found = []
    place = np.array([EXAM.index(diagnosis.coarsen_label(code, EXAM)) for code in CLASSES])
    for fold in folds.unique():
        held = (folds == fold).to_numpy()
        others, names = labels[~held], groups[~held].to_numpy()
        chosen = statistics.choose_scaling(logits[~held], others, names)
        prior = statistics.choose_prior(chosen.out_of_fold, others, chosen.folds, names).prior
        frame = pd.DataFrame(chosen.scaling.probabilities(logits), index=codes.index)
        frame = frame.assign(label=labels, group=groups, held=held, photographs=1)
        if lesions:
            whole = frame.groupby("group", sort=False)
            means, firsts = whole[list(range(len(CLASSES)))].mean(), whole[["label", "held"]].first()
            frame = means.join(firsts).join(whole["photographs"].sum()).reset_index()
        p, is_held = frame[list(range(len(CLASSES)))].to_numpy(), frame["held"].to_numpy(dtype=bool)
        known, label = p[~is_held, 0], frame["label"].to_numpy(dtype=np.int64)
        point = statistics.choose(
            known, label[~is_held] == 0, 0.95, "screening", "melanoma", frame.loc[~is_held, "group"].to_numpy()
        )
        found.append(
            pd.DataFrame({
                "truth": place[label[is_held]],
                "decided": place[statistics.first_choice(p[is_held], prior)],
                "risk": p[is_held, 0],
                "alerted": p[is_held, 0] >= point.threshold,
                "photographs": frame.loc[is_held, "photographs"],
            }, index=frame.index[is_held])
        )  # fmt: skip
    return pd.concat(found).sort_index()


def _seven(p: np.ndarray) -> np.ndarray:
    """Return the first choice among HAM10000's seven diagnoses."""
    place = [EXAM.index(diagnosis.coarsen_label(code, EXAM)) for code in CLASSES]
    summed = np.zeros((len(p), len(EXAM)))
    for i, target in enumerate(place):
        summed[:, target] += p[:, i]
    return np.asarray(summed.argmax(axis=1))
