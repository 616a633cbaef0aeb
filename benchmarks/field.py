"""The recipes of docs/reproduction.md and ours on the same folds: grouped cross-validation that any machine goes on.

    python -m benchmarks.field DATA --authority CSV ... --out FOLDER --write docs/reproduction_clean.json
        [--recipes NAME ...] [--weights mobilenetv2_imagenet.npz] [--precision bfloat16|float32] [--folds 3]
        [--seeds 0 1] [--no-train]

Uses the photographs that the protocol `clean` keeps outside the Test folder: the test stays closed. Whole groups
(photograph, lesion, patient) stay in one fold. Each finished training adds its row to the record, the first seed
first, and of each seed ours, then recipes without copies, then those with copies, the cheapest first; whatever stands
there is not trained again, here or elsewhere. Stop at any moment and repeat the command: it goes on after the last
finished epoch. Published recipes have the epochs of the page and the given precision; ours are as they are:
`small-cnn`, the default, and with `--weights` `mobilenetv2-finetuned` and `champion`. Where a recipe was published on
rebalanced data, such as `plain-augmented+copies`, copies are made in each fold, of what is trained on there alone.
`python -m benchmarks.reproduction ... --no-train --write docs/reproduction.md` puts the record into that page.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import field_baselines
from benchmarks.field_page import complete
from benchmarks.field_record import OURS, SCORES, Record, copying, field_recipes
from benchmarks.reproduction_data import copies, copies_per_class, turned_copies
from melascope import environment
from melascope.counted import plural
from melascope.errors import MelascopeError
from melascope.statistics import softmax
from melascope.training import backend, fold_baselines
from melascope.training.cross_validation import draw_folds, one_training, scores_of, training_rows
from melascope.training.experiment import Experiment, Material, Reading
from melascope.training.recipe import Recipe


def main() -> None:
    options = _options()
    try:
        chosen = field_recipes(options.precision, options.weights)
        asked = _asked(options, chosen)
        reading = Reading(options.data, authority=options.authority)
        material = Experiment(options.out, "field", {"folds": options.folds}, reading).material()
        record = Record.open(options.write, material, options.folds)
        for name in record.changed(chosen):
            _say(f"{name}: its recipe has changed since; its rows are set aside when it is trained anew")
        if options.train:
            _train_all(material, record, chosen, asked, options)
    except MelascopeError as error:
        raise SystemExit(f"Error: {error}") from None
    for name, one in record.content["recipes"].items():
        rows = complete(one["by_fold"], options.folds)
        if len(rows):
            score = rows["balanced_accuracy"].mean()
            print(f"{name:<26}balanced accuracy {score:.3f} ({plural(len(rows), 'training')})")


def _asked(options: argparse.Namespace, chosen: dict[str, Recipe]) -> list[str]:
    """Return the names of the recipes that are to be trained; leave where one is not known."""
    unknown = sorted(set(options.recipes or ()) - set(chosen))
    if unknown:
        more = "" if options.weights else f"; {' and '.join(OURS[1:])} need --weights"
        raise SystemExit(f"Error: --recipes knows {', '.join(chosen)}; not {', '.join(unknown)}{more}.")
    if len(set(options.seeds)) < len(options.seeds):
        raise SystemExit(f"Error: --seeds has one twice: {' '.join(map(str, options.seeds))}.")
    return list(dict.fromkeys(options.recipes or chosen))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--authority", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True, help="a folder for trainings that are not finished")
    parser.add_argument("--write", type=Path, required=True, help="the record, such as docs/reproduction_clean.json")
    parser.add_argument("--recipes", nargs="+", metavar="NAME", help="some of them; all by default")
    parser.add_argument("--weights", type=Path, help="of the network of mobilenetv2-finetuned and champion")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of the published ones")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--no-train", dest="train", action="store_false")
    return parser.parse_args()


def _train_all(
    material: Material, record: Record, chosen: dict[str, Recipe], asked: Sequence[str], options: argparse.Namespace
) -> None:
    labels, groups, classes = material.labels, material.groups, material.classes
    jobs = [(seed, name, fold) for seed in options.seeds for name in asked for fold in range(options.folds)]
    done = sum(record.has(name, chosen[name], seed, fold) for seed, name, fold in jobs)
    _say(f"{done} of {plural(len(jobs), 'training')} {'is' if done == 1 else 'are'} done")
    first = chosen[OURS[0]]
    assigned = {seed: draw_folds(labels, groups, classes, options.folds, seed) for seed in options.seeds}
    folds = np.stack(list(assigned.values()))
    record.add_baselines(field_baselines.of_folds(material, material.images(first), folds, list(assigned)))
    for seed, name, fold in jobs:
        # Asked each time: another process may have done it since.
        if not record.has(name, chosen[name], seed, fold) or _to_score(record, chosen[name], seed, fold, options.out):
            try:
                _train(material, record, chosen[name], assigned[seed], seed, fold, options.out)
            except MelascopeError as error:
                # The others are not to wait for one that cannot go on; it stays missing.
                _say(f"{name} seed {seed} fold {fold} FAILED: {error}")
    if first.name in asked and not record.has_shuffled(first):
        _say(f"{first.name} on shuffled labels, which must be at chance")
        seed, folder = options.seeds[0], _folder(options.out, first) / "shuffled"
        images = material.images(first)
        found = fold_baselines.on_shuffled(first, material, images, assigned[seed], seed, folder)
        record.set_shuffled(first, found)


def _train(
    material: Material, record: Record, recipe: Recipe, assigned: np.ndarray, seed: int, fold: int, out: Path
) -> None:
    began = time.monotonic()
    held = np.flatnonzero(assigned == fold)
    train, tune = training_rows(recipe, assigned, fold)

    here: dict[str, tuple[float, int]] = {}

    def told(stage: str, done: int, total: int) -> None:
        # Earlier commands may have trained some of its epochs.
        since, before = here.setdefault(stage, (time.monotonic(), done))
        if done > before and done % max(1, total // 10) == 0:
            left = (time.monotonic() - since) * (total - done) / (done - before)
            _say(f"{recipe.name} seed {seed} fold {fold}: {done / total:.0%}, {left / 60:.0f} min of it left")

    images, labels, train = _with_copies(material, recipe, train, int(assigned.max()) + 1, seed)
    logits = one_training(
        recipe, images, labels, train, tune, held, material.classes, _place(out, recipe, seed, fold), seed, told,
        environment.threads(),
    )  # fmt: skip
    p = softmax(logits)
    scores = {**scores_of(p, material.labels[held], material.classes), **field_baselines.apart(material, held, p)}
    made = {"copies": len(images) - len(material.table)} if copying(recipe.name) else {}
    row = {"seed": seed, "fold": fold, "n": len(held), **scores, **made, **_stamp(recipe)}
    # One that is scored again was trained when it was.
    before = record.row(recipe.name, seed, fold) if record.has(recipe.name, recipe, seed, fold) else None
    record.add(recipe.name, recipe, {**row, **{key: before[key] for key in _stamp(recipe)}} if before else row)
    words = " ".join(f"{score} {value:.3f}" for score, value in scores.items())
    _say(f"{recipe.name} seed {seed} fold {fold} done in {(time.monotonic() - began) / 60:.0f} min: {words}")


def _with_copies(
    material: Material, recipe: Recipe, train: np.ndarray, folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return photographs, labels and the rows to train on, with copies of these alone where the recipe has any."""
    images, labels, design = material.images(recipe), material.labels, copying(recipe.name)
    if design is None:
        return images, labels, train
    pool = material.table.iloc[train].assign(row=train, copy_of=pd.NA, degrees=0.0).reset_index(drop=True)
    made = copies(pool, design, copies_per_class(1 / folds), seed)
    more = len(images) + np.arange(len(made))
    return (
        np.concatenate([images, np.stack(turned_copies(images, made))]),
        np.concatenate([labels, labels[made["row"].to_numpy(dtype=np.int64)]]),
        np.concatenate([train, more]),
    )


def _folder(out: Path, recipe: Recipe) -> Path:
    """Return where a recipe is trained: as it is now, so that one that is changed begins anew."""
    told = recipe.model_dump_json(exclude={"name", "description", "expected", "search"})
    return out / f"{recipe.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _place(out: Path, recipe: Recipe, seed: int, fold: int) -> Path:
    return _folder(out, recipe) / f"seed-{seed}" / f"fold-{fold}"


def _to_score(record: Record, recipe: Recipe, seed: int, fold: int, out: Path) -> bool:
    """Return whether a training lacks a score that was not asked for then, and what it said is still here."""
    row = record.row(recipe.name, seed, fold)
    return row is not None and not set(SCORES) <= set(row) and (_place(out, recipe, seed, fold) / "logits.npz").exists()


def _stamp(recipe: Recipe) -> dict[str, Any]:
    machine = environment.describe()
    gpus = backend.gpus()
    names = [machine["processor"], plural(machine["cores"], "core"), *([plural(len(gpus), "GPU")] if gpus else [])]
    return {
        "precision": recipe.schedule.precision,
        "date": date.today().isoformat(),
        "machine": ", ".join(names),
    }


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
