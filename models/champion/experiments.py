"""Every idea tried for the champion, on the same folds: what it was, what it scored, what it cost.

    python -m models.champion.experiments AUDIT/clean.parquet --weights mobilenetv2_imagenet.npz --out FOLDER
        [--ideas plain camera ...] [--folds 0 1 2 3 4] [--epochs N] [--size 96 128] [--write docs/champion.json]
        [--no-train] [--against FOLDER/IDEA] [--masks FOLDER]

The table is that of `models.champion.gather`, audited by `melascope data audit`. An idea is the recipe `champion` with
changes. It is trained on HAM10000 without one of the five lesion-grouped folds (and on the other sets, where it says
so), and judged on that fold in HAM10000's seven diagnoses; one that has not seen ISIC 2017 is judged on that too: how
well it tells melanoma in another clinic, with `--against` also in pairs with another idea. `--masks` are HAM10000's,
for an idea that is cut to the lesion. What is closed (`split` is
`test`) is never opened here. Stop it at any moment and repeat the command: it goes on after the last finished epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import environment
from melascope.datasets import fixed, pack
from melascope.training import backend, checkpoint, recipe
from melascope.training.recipe import Recipe
from melascope.training.warm_start import WarmStart
from models.champion.crops import to_lesions
from models.champion.gather import HAM, ISIC2017
from models.champion.ideas import IDEAS, Idea
from models.champion.judging import CLASSES, apart, judge, sampled
from models.champion.learner import VIEWS, Learner

UNCUT = (150, 200)
"""Height and width from which photographs are cut: all that HAM10000's smaller copy has."""


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


def train(
    name: str,
    fold: int,
    frame: pd.DataFrame,
    made: Recipe,
    folder: Path,
    first: Path | None = None,
    masks: Path | None = None,
) -> None:
    """Train an idea without one fold, as far as it is not done, and leave in `folder` what it said of that fold.

    `said.parquet` has the logits of each photograph, and under `views_` the mean logits of its four mirror images.
    `first` holds the weights to begin with, `masks` those of the lesions that an idea is cut to.
    """
    record = folder / "result.json"
    if record.exists():
        before = recipe.parse(tomllib.loads(json.loads(record.read_text(encoding="utf-8"))["recipe"]))
        if before.model_dump(exclude={"expected"}) != made.model_dump(exclude={"expected"}):
            raise SystemExit(f"{folder} holds another recipe. Choose another folder with --out.")
        return
    photographs = _photographs(IDEAS[name], frame, made, masks)
    labels = frame["diagnosis"].map({code: i for i, code in enumerate(CLASSES)}).to_numpy(dtype=np.int64)
    held = (frame["fold"] == fold).fillna(False).to_numpy(dtype=bool)
    of_ham = (frame["source"] == HAM).to_numpy(dtype=bool)
    apart = ~frame["group"].isin(set(frame.loc[held, "group"])).to_numpy(dtype=bool)
    learnt = apart & (of_ham | IDEAS[name].others)
    # A stranger shares no lesion, patient or photograph with anything that was learnt from.
    strange = ~of_ham & ~learnt & (frame["source"] == ISIC2017).to_numpy(dtype=bool)
    strange &= ~frame["group"].isin(set(frame.loc[learnt, "group"])).to_numpy(dtype=bool)
    strange &= not IDEAS[name].cut  # there are no masks of them
    rows = np.flatnonzero(held | strange)
    began = time.monotonic()

    def told(stage: str, done: int, total: int) -> None:
        if done % 100 == 0 and done:
            passed = time.monotonic() - began
            print(f"{name}, fold {fold}: {done}/{total}, {passed:.0f} s", file=sys.stderr, flush=True)

    warm = WarmStart(checkpoint.read(first)) if first is not None else None
    learner = Learner(made, photographs, labels, told, warm)
    seconds, targets = 0.0, None
    if share := IDEAS[name].taught:
        targets, seconds = learner.taught(learnt, frame["group"], share, folder)
    logits = np.zeros((VIEWS, len(rows), len(CLASSES)))
    networks = IDEAS[name].networks
    for number in range(networks):
        own = folder / f"network-{number}" if number else folder
        seconds += learner.learn(learnt, own, targets, seed=number)
        logits += np.stack(learner.logits(own, rows)) / networks
    said = frame.loc[rows, ["image_id", "group", "source", "diagnosis"]].reset_index(drop=True)
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
        "sampled": list(sampled(made, shares)),
        "shares": list(shares / shares.sum()),
        "seconds": round(seconds, 1),
        "date": date.today().isoformat(),
        "machine": environment.describe(),
    }
    record.write_text(json.dumps(result, indent=1), encoding="utf-8")


def _photographs(idea: Idea, frame: pd.DataFrame, made: Recipe, masks: Path | None) -> NDArray[np.uint8]:
    """Return all photographs as an idea sees them."""
    geometry = made.geometry
    if idea.cut:
        geometry = made.replace(data={"size": list(UNCUT)}).geometry
    found = pack(frame, geometry, environment.cache_folder(), threads=environment.threads()).images
    if idea.cut:
        if masks is None:
            raise SystemExit("Photographs are cut to their lesion by --masks.")
        return to_lesions(found, frame["image_id"].tolist(), masks, made.data.shape)
    return found if idea.prepare is None else idea.prepare(found)


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
    parser.add_argument("--against", type=Path, help="folder of another idea that has not seen ISIC 2017 either")
    parser.add_argument("--masks", type=Path, help="HAM10000's, for what is cut to the lesion")
    parser.add_argument("--no-train", dest="train", action="store_false")
    options = parser.parse_args(arguments)
    if options.against is not None:
        seen = [name for name in (*options.ideas, options.against.name) if name in IDEAS and IDEAS[name].others]
        if seen:
            parser.error(f"--against is of photographs abroad, and {', '.join(seen)} learnt from them")
        absent = options.against / f"fold-{options.folds[0]}" / "said.parquet"
        if not absent.exists():
            parser.error(f"--against: {absent} does not exist")
    backend.load(environment.threads())
    frame = photographs(options.table)
    results = []
    for name in options.ideas:
        made = resolved(IDEAS[name], options.weights, options.epochs, options.size)
        if options.train:
            for fold in options.folds:
                begins, place = IDEAS[name].begins, f"fold-{fold}"
                first = options.out / begins / place / "weights.npz" if begins else None
                train(name, fold, frame, made, options.out / name / place, first, options.masks)
        done = [fold for fold in options.folds if (options.out / name / f"fold-{fold}" / "result.json").exists()]
        for views in (False, True) if done else ():
            about = {"epochs": made.schedule.epochs, "size": list(made.data.shape)}
            found = judge(name, done, options.out, views)
            if options.against is not None:
                pair = options.out / name / f"fold-{done[0]}", options.against / f"fold-{done[0]}"
                found |= {"against": options.against.name, **apart(*pair, views)}
            results.append({**found, **about})
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
