"""Every idea tried for the champion, on the same folds: what it was, what it scored, what it cost.

    python -m models.champion.experiments AUDIT/clean.parquet --weights mobilenetv2_imagenet.npz --out FOLDER
        [--ideas plain camera ...] [--folds 0 1 2 3 4] [--epochs N] [--size 96 128] [--write docs/champion.json]
        [--no-train]

The table is that of `models.champion.gather`, audited by `melascope data audit`. An idea is the recipe `champion` with
changes. It is trained on HAM10000 without one of the five lesion-grouped folds (and on the other sets, where it says
so), and judged on that fold in HAM10000's seven diagnoses; one that has not seen ISIC 2017 is judged on that too: how
well it tells melanoma in another clinic. What is closed (`split` is `test`) is never opened here. Stop it at any moment
and repeat the command: it goes on after the last finished epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis, environment, statistics
from melascope.datasets import fixed, pack
from melascope.training import backend, checkpoint, networks, recipe
from melascope.training.fit import fit, logits_only, predict_logits
from melascope.training.recipe import Recipe
from melascope.training.warm_start import WarmStart
from models.champion.gather import HAM, ISIC2017

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
EXAM = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
"""HAM10000's diagnoses, in which the challenge of 2018 judged."""


@dataclass(frozen=True)
class Idea:
    """A change of the champion's recipe.

    Attributes:
        what: In words.
        changes: Of the recipe, by section.
        others: Whether the sets beside HAM10000 are trained on too.
        begins: The idea whose weights, trained without the same fold, are the first ones.
    """

    what: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    others: bool = False
    begins: str | None = None


_NO_CAMERA = dict.fromkeys(("white_balance", "saturation", "hue", "gamma", "blur", "noise", "aspect"), 0.0)
_WHOLE = {
    "zoom": [-0.25, 0.1], "aspect": 0.2, "brightness": 0.1, "contrast": 0.2, "white_balance": 0.1,
    "saturation": 0.3, "hue": 0.02, "gamma": 0.2, "blur": 0.8, "noise": 0.02,
}  # fmt: skip
_SLOW = {"finetune_learning_rate": 4e-4}
IDEAS: Mapping[str, Idea] = {
    "plain": Idea(
        "HAM10000 alone; flips, turns, zoom, brightness and contrast only",
        {"augmentation": {**_WHOLE, **_NO_CAMERA, "brightness": 0.15}, "schedule": _SLOW},
    ),
    "camera": Idea(
        "HAM10000 alone; and strong changes of white balance, colour, gamma, blur, noise, aspect",
        {"augmentation": _WHOLE, "schedule": _SLOW},
    ),
    "others": Idea(
        "the same, trained on ISIC 2017 and the nine-class set too",
        {"augmentation": _WHOLE, "schedule": _SLOW},
        others=True,
    ),
    "fast": Idea("as others, the changes half as strong, at a rate of 1e-3 instead of 4e-4", others=True),
    "larger": Idea(
        "fast, and from its weights six more epochs at 144 x 192",
        {
            "data": {"size": [144, 192]},
            "schedule": {"epochs": 6, "frozen_epochs": 0, "finetune_learning_rate": None, "finetune_norms": False},
            "optimiser": {"learning_rate": 5e-4},
        },
        others=True,
        begins="fast",
    ),
    "whole": Idea("the recipe as it stands: fast, 24 epochs at 144 x 192", others=True),
    "gentle": Idea(
        "as fast, at 144 x 192 from the beginning and at a rate of 2e-4",
        {"schedule": {"finetune_learning_rate": 2e-4}},
        others=True,
    ),
    "norms": Idea(
        "as gentle, batch normalisation left as ImageNet set it",
        {"schedule": {"finetune_learning_rate": 2e-4, "finetune_norms": False}},
        others=True,
    ),
    "stem": Idea(
        "as gentle, at a rate of 3e-4, the first fifth of the network left as ImageNet set it",
        {"schedule": {"finetune_learning_rate": 3e-4, "frozen_share": 0.2}},
        others=True,
    ),
    "closer": Idea(
        "stem, and from its weights five more epochs at 192 x 256",
        {
            "data": {"size": [192, 256]},
            "schedule": {"epochs": 5, "finetune_learning_rate": 1.5e-4, "frozen_share": 0.2},
            "optimiser": {"learning_rate": 1e-4},
        },
        others=True,
        begins="stem",
    ),
    "natural": Idea("as whole, classes drawn as often as they are", {"balance": {"sampling": "none"}}, others=True),
    "even": Idea("as whole, classes drawn equally often", {"balance": {"sampling": "balanced"}}, others=True),
    "smooth": Idea("as whole, labels smoothed by .1", {"optimiser": {"label_smoothing": 0.1}}, others=True),
    "mixed": Idea("as whole, mixup of .2", {"augmentation": {"mixup": 0.2}}, others=True),
}


def photographs(table: Path) -> pd.DataFrame:
    """Return the open photographs of the audited table, with the fold of each that is of HAM10000."""
    found = pd.read_parquet(table)
    found = found[(found["split"] != "test") & found["diagnosis"].isin(CLASSES)].reset_index(drop=True)
    folds = fixed("ham10000-folds").set_index("image_id")["fold"]
    found["fold"] = found["image_id"].map(folds).where(found["source"] == HAM)
    return found


def resolved(idea: Idea, weights: Path, epochs: int | None, size: Sequence[int] | None) -> Recipe:
    """Return an idea's recipe."""
    changes = {name: dict(section) for name, section in idea.changes.items()}
    if size:
        changes["data"] = {"size": list(size), **changes.get("data", {})}
    changes["schedule"] = {**({"epochs": epochs} if epochs else {}), **changes.get("schedule", {})}
    # Single views: the mirror images are asked by themselves, and told beside them.
    changes["network"] = {"weights": str(weights.resolve()), "views": 1, **changes.get("network", {})}
    return recipe.load("champion").replace(**changes)


def train(name: str, fold: int, frame: pd.DataFrame, made: Recipe, folder: Path, first: Path | None = None) -> None:
    """Train an idea without one fold, as far as it is not done, and leave in `folder` what it said of that fold.

    `said.parquet` has the logits of each photograph, and under `views_` the mean logits of its four mirror images.
    `first` holds the weights to begin with.
    """
    record = folder / "result.json"
    if record.exists():
        if json.loads(record.read_text(encoding="utf-8"))["recipe"] != made.dumps():
            raise SystemExit(f"{folder} holds another recipe. Choose another folder with --out.")
        return
    packed = pack(frame, made.geometry, environment.cache_folder(), threads=environment.threads())
    labels = frame["diagnosis"].map({code: i for i, code in enumerate(CLASSES)}).to_numpy(dtype=np.int64)
    held = (frame["fold"] == fold).fillna(False).to_numpy(dtype=bool)
    of_ham = (frame["source"] == HAM).to_numpy(dtype=bool)
    apart = ~frame["group"].isin(set(frame.loc[held, "group"])).to_numpy(dtype=bool)
    learnt = apart & (of_ham | IDEAS[name].others)
    # A stranger shares no lesion, patient or photograph with anything that was learnt from.
    strange = ~of_ham & ~learnt & (frame["source"] == ISIC2017).to_numpy(dtype=bool)
    strange &= ~frame["group"].isin(set(frame.loc[learnt, "group"])).to_numpy(dtype=bool)
    rows = np.flatnonzero(held | strange)
    began = time.monotonic()

    def told(stage: str, done: int, total: int) -> None:
        if done % 100 == 0 and done:
            passed = time.monotonic() - began
            print(f"{name}, fold {fold}: {done}/{total}, {passed:.0f} s", file=sys.stderr, flush=True)

    warm = WarmStart(checkpoint.read(first)) if first is not None else None
    fit(
        made, packed.images, labels, np.flatnonzero(learnt), np.zeros(0, dtype=np.intp), CLASSES, folder, 0,
        resume=True, progress=told, threads=environment.threads(), warm=warm,
    )  # fmt: skip
    seconds = time.monotonic() - began
    network = networks.build(made, len(CLASSES))
    networks.load_weights(network, folder / "weights.npz")
    network = logits_only(network)
    photographs = packed.images[rows]
    mirrored = [photographs, photographs[:, :, ::-1], photographs[:, ::-1], photographs[:, ::-1, ::-1]]
    said = frame.loc[rows, ["image_id", "group", "source", "diagnosis"]].reset_index(drop=True)
    logits = [predict_logits(network, np.ascontiguousarray(view), np.arange(len(rows))) for view in mirrored]
    for place, code in enumerate(CLASSES):
        said[f"logit_{code}"] = logits[0][:, place]
        said[f"views_{code}"] = np.mean(logits, axis=0)[:, place]
    said.to_parquet(folder / "said.parquet", index=False)
    shares = np.bincount(labels[learnt], minlength=len(CLASSES)).astype(float)
    result = {
        "idea": name,
        "fold": fold,
        "recipe": made.dumps(),
        "learnt": int(learnt.sum()),
        "sampled": list(_sampled(made, shares)),
        "seconds": round(seconds, 1),
        "date": date.today().isoformat(),
        "machine": environment.describe(),
    }
    record.write_text(json.dumps(result, indent=1), encoding="utf-8")


def _sampled(made: Recipe, counts: np.ndarray) -> np.ndarray:
    """Return how often training showed each class."""
    power = {"none": 1.0, "sqrt": 0.5, "balanced": 0.0}[made.balance.sampling]
    shown = np.where(counts > 0, np.maximum(counts, 1) ** power, 0.0)
    return np.asarray(shown / shown.sum())


def judge(name: str, folds: Sequence[int], out: Path, views: bool = False, draws: int = 1000) -> dict[str, Any]:
    """Return an idea's scores over some folds, with intervals that resample lesions.

    `balanced_accuracy` is that of the largest probability, `even` that of the largest probability over how often
    training showed the class: what is right equally often. `specificity` is that at the threshold which finds 95 % of
    the same melanomas, for ideas to be told apart by: no promise. `stranger` is the melanoma AUC within ISIC 2017, the
    mean over the folds' networks, and `stranger_sensitivity` and `stranger_specificity` those at the threshold that
    finds 95 % of the melanomas of the network's own fold. With `views` a photograph's logits are the mean of its four
    mirror images'.
    """
    ham, strangers, seconds, learnt = [], [], 0.0, []
    for fold in folds:
        folder = out / name / f"fold-{fold}"
        said = pd.read_parquet(folder / "said.parquet")
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        columns = [f"{'views' if views else 'logit'}_{code}" for code in CLASSES]
        p = statistics.softmax(said[columns].to_numpy(dtype=float))
        even = p / np.maximum(record["sampled"], 1e-9)
        said = said.assign(risk=p[:, 0], first=_seven(p), even=_seven(even))
        own = said[said["source"] == HAM]
        limit = float(np.quantile(own.loc[own["diagnosis"] == "MEL", "risk"], 0.05))
        said = said.assign(alert=said["risk"] >= limit)
        ham.append(own)
        strangers.append(said[said["source"] == ISIC2017])
        seconds += record["seconds"]
        learnt.append(record["learnt"])
    of_ham = pd.concat(ham, ignore_index=True)
    truth = of_ham["diagnosis"].map(lambda code: EXAM.index(diagnosis.coarsen_label(code, EXAM))).to_numpy()
    melanoma = (of_ham["diagnosis"] == "MEL").to_numpy()
    risk = of_ham["risk"].to_numpy()
    below = risk < np.quantile(risk[melanoma], 0.05)

    def scores(w: Any) -> dict[str, Any]:
        return {
            "balanced_accuracy": statistics.balanced_accuracy(truth, of_ham["first"].to_numpy(), w),
            "even": statistics.balanced_accuracy(truth, of_ham["even"].to_numpy(), w),
            "melanoma_auc": statistics.auc(risk, melanoma, w),
            "specificity": (w[~melanoma] * below[~melanoma, None]).sum(axis=0) / w[~melanoma].sum(axis=0),
        }

    units = pd.factorize(of_ham["group"])[0]
    values = {key: float(value[0]) for key, value in scores(np.ones((len(truth), 1))).items()}
    samples = statistics.bootstrap(scores, units, truth, draws, 0, len(truth))
    found: dict[str, Any] = {}
    for key, value in values.items():
        found[key] = statistics.interval(samples[key], value, len(truth)).to_json()
    outside = [one for one in strangers if len(one) and one["diagnosis"].eq("MEL").any()]
    if outside:
        frame = outside[0]
        yes = (frame["diagnosis"] == "MEL").to_numpy()
        risks = [one["risk"].to_numpy() for one in outside]
        alerts = [one["alert"].to_numpy() for one in outside]

        def abroad(w: Any) -> dict[str, Any]:
            found, passed = zip(*(statistics.rates(alert, yes, w) for alert in alerts), strict=True)
            return {
                "stranger": np.mean([statistics.auc(risk, yes, w) for risk in risks], axis=0),
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


def _seven(p: np.ndarray) -> np.ndarray:
    """Return the first choice among HAM10000's seven diagnoses."""
    place = [EXAM.index(diagnosis.coarsen_label(code, EXAM)) for code in CLASSES]
    summed = np.zeros((len(p), len(EXAM)))
    for i, target in enumerate(place):
        summed[:, target] += p[:, i]
    return np.asarray(summed.argmax(axis=1))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ideas", nargs="+", choices=list(IDEAS), default=list(IDEAS))
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--size", type=int, nargs=2, help="height and width")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--no-train", dest="train", action="store_false")
    options = parser.parse_args(arguments)
    backend.load(environment.threads())
    frame = photographs(options.table)
    results = []
    for name in options.ideas:
        made = resolved(IDEAS[name], options.weights, options.epochs, options.size)
        if options.train:
            for fold in options.folds:
                begins, place = IDEAS[name].begins, f"fold-{fold}"
                first = options.out / begins / place / "weights.npz" if begins else None
                train(name, fold, frame, made, options.out / name / place, first)
        done = [fold for fold in options.folds if (options.out / name / f"fold-{fold}" / "result.json").exists()]
        for views in (False, True) if done else ():
            about = {"epochs": made.schedule.epochs, "size": list(made.data.shape)}
            results.append({**judge(name, done, options.out, views), **about})
            print(json.dumps(results[-1]), flush=True)
    if options.write is not None:
        # What was tried before stays: the table is of every idea.
        before = json.loads(options.write.read_text(encoding="utf-8")) if options.write.exists() else []
        now = {_key(one): one for one in [*before, *results]}
        options.write.write_text(json.dumps(list(now.values()), indent=1), encoding="utf-8")


def _key(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one["idea"], one["views"], tuple(one["size"]), one["epochs"]


if __name__ == "__main__":
    main()
