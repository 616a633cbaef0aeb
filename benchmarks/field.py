"""The recipes of docs/reproduction.md and ours on the same folds: grouped cross-validation that any machine goes on.

    python -m benchmarks.field DATA --authority CSV ... --out FOLDER --write docs/reproduction_clean.json
        [--recipes NAME ...] [--weights mobilenetv2_imagenet.npz] [--precision bfloat16|float32] [--folds 3]
        [--seeds 0 1] [--no-train]

Uses the photographs that the protocol `clean` keeps outside the Test folder: the test stays closed. Whole groups
(photograph, lesion, patient) stay in one fold. Each finished training adds its row to the record, the first seed and
ours first; whatever stands there is not trained again, here or elsewhere. Stop at any moment and repeat the command:
it goes on after the last finished epoch. Published recipes have the epochs of the page and the given precision; ours
are as they are: `small-cnn`, the default, and with `--weights` `mobilenetv2-finetuned` and `champion`.
`python -m benchmarks.reproduction ... --no-train --write docs/reproduction.md` puts the record into that page.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.field_record import OURS, Record, field_recipes
from melascope import environment
from melascope.errors import MelascopeError
from melascope.statistics import softmax
from melascope.training import fold_baselines
from melascope.training.cross_validation import draw_folds, one_training, scores_of, training_rows
from melascope.training.experiment import Experiment, Material, Reading
from melascope.training.recipe import Recipe


def main() -> None:
    options = _options()
    chosen = field_recipes(options.precision, options.weights)
    unknown = sorted(set(options.recipes or ()) - set(chosen))
    if unknown:
        more = "" if options.weights else f"; {' and '.join(OURS[1:])} need --weights"
        raise SystemExit(f"Error: --recipes knows {', '.join(chosen)}; not {', '.join(unknown)}{more}.")
    try:
        asked = Reading(options.data, authority=options.authority)
        material = Experiment(options.out, "field", {"folds": options.folds}, asked).material()
        record = Record.open(options.write, material, options.folds)
        for name in record.forget_changed(chosen):
            _say(f"{name}: its recipe has changed since, so its trainings are made anew")
        if options.train:
            jobs = [(seed, name) for seed in options.seeds for name in options.recipes or chosen]
            _train_all(material, record, chosen, jobs, options)
    except MelascopeError as error:
        raise SystemExit(f"Error: {error}") from None
    for name, score in record.means("balanced_accuracy").items():
        print(f"{name:<26}balanced accuracy {score:.3f}")


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
    material: Material,
    record: Record,
    chosen: dict[str, Recipe],
    jobs: Sequence[tuple[int, str]],
    options: argparse.Namespace,
) -> None:
    labels, groups, classes = material.labels, material.groups, material.classes
    left = [(s, name, fold) for s, name in jobs for fold in range(options.folds) if not record.has(name, s, fold)]
    _say(f"{len(jobs) * options.folds - len(left)} of {len(jobs) * options.folds} trainings are done")
    first = chosen[OURS[0]]
    assigned = {seed: draw_folds(labels, groups, classes, options.folds, seed) for seed in options.seeds}
    folds = np.stack(list(assigned.values()))
    record.set_baselines(fold_baselines.of_folds(material, material.images(first), folds, list(assigned)))
    for seed, name, fold in left:
        recipe, began = chosen[name], time.monotonic()
        held = np.flatnonzero(assigned[seed] == fold)
        train, tune = training_rows(recipe, assigned[seed], fold)
        folder = options.out / name / f"seed-{seed}" / f"fold-{fold}"

        def told(stage: str, done: int, total: int, began: float = began, name: str = name, fold: int = fold) -> None:
            if done % max(1, total // 10) == 0 and done:
                left = (time.monotonic() - began) * (total - done) / done
                _say(f"{name} fold {fold}: {done / total:.0%}, {left / 60:.0f} min left of this training")

        logits = one_training(
            recipe, material.images(recipe), labels, train, tune, held, classes, folder, seed, told,
            environment.threads(),
        )  # fmt: skip
        scores = scores_of(softmax(logits), labels[held], classes)
        record.add(name, recipe, {"seed": seed, "fold": fold, "n": len(held), **scores, **_stamp(recipe)})
        told_scores = " ".join(f"{score} {value:.3f}" for score, value in scores.items())
        _say(f"{name} seed {seed} fold {fold} done in {(time.monotonic() - began) / 60:.0f} min: {told_scores}")
    if record.shuffled is None:
        _say(f"{first.name} on shuffled labels, which must be at chance")
        folder = options.out / first.name / "shuffled"
        seed = options.seeds[0]
        record.set_shuffled(
            fold_baselines.on_shuffled(first, material, material.images(first), assigned[seed], seed, folder)
        )


def _stamp(recipe: Recipe) -> dict[str, Any]:
    machine = environment.describe()
    return {
        "precision": recipe.schedule.precision,
        "date": date.today().isoformat(),
        "machine": f"{machine['processor']}, {machine['cores']} cores",
    }


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
