"""The published numbers on the nine-class set, reproduced: one row for each, and the same recipe under `clean`.

    python -m benchmarks.reproduction DATA --authority CSV ... --out FOLDER [--rows NAME ...] [--seeds 0 1]
        [--precision bfloat16|float32] [--one-fold] [--weights FILE] [--write docs/reproduction.md] [--no-train]

Trains what is missing in FOLDER, the first seed and the cheapest first, and adds each result to FOLDER/results.json.
Stop it at any moment and repeat the command: it goes on after the last finished epoch. `--write` makes the page and
its plot of what is there, and a JSON with all results beside it, from which another machine goes on; with `--no-train`
also while another process is training. Row names are those of the page. `--one-fold` also trains the recipes under
`clean` that one fold judges, which the page shows where they are there; `benchmarks.field` judges them on all folds.
`ours` are the default recipe and, with `--weights mobilenetv2_imagenet.npz`, our pretrained ones, on that fold. The
page reads DATA too, to count how many of the photographs that judge are independent.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import reproduction_begun as begun
from benchmarks.field_record import portable
from benchmarks.reproduction_compared import compared, keeps_said, kept_slugs
from benchmarks.reproduction_data import Material, Parts, material, parts, protocols
from benchmarks.reproduction_judges import counted
from benchmarks.reproduction_page import write_page
from benchmarks.reproduction_pairs import PAIRS, first_choices, ours, pairs
from benchmarks.reproduction_record import RESERVED, close_test, current, flow
from benchmarks.reproduction_rows import (
    BEGUN,
    COMPARED,
    FLOW,
    JUDGES,
    ROWS,
    SEEDS,
    SEEN,
    WATERFALL,
    Training,
    asked,
    cost,
    opens_test,
    trainings,
)
from benchmarks.reproduction_seen import seen
from melascope import environment
from melascope.audit.protocol import Prepared
from melascope.errors import MelascopeError
from melascope.training import backend, checkpoint
from melascope.training.recipe import Recipe

RESULTS = "results.json"
OURS = "ours"


def main() -> None:
    options = _options()
    if options.weights is not None and not options.weights.is_file():
        raise SystemExit(f"Error: --weights: {options.weights} is no file.")
    if options.limit or options.epochs:
        # A try on a few photographs must never be taken for a result.
        options.out = options.out / f"try-{options.limit}-{options.epochs}"
        options.write = None
    results = _kept(options.write)
    for name, seeds in _collected(options.out).items():
        kept = results.setdefault(name, {})
        for seed, result in seeds.items():
            kept[seed] = {**({"said": kept[seed]["said"]} if "said" in kept.get(seed, {}) else {}), **result}
    close_test(results)
    results[BEGUN] = begun.kept(results, begun.collected(options.out))
    # Pairs of a recipe that has changed since are made anew.
    if PAIRS in results:
        results[PAIRS] = current(results)[0].get(PAIRS, {})
    if options.train:
        _train_all(options, results)
    if options.write is not None:
        every = [result for name, seeds in results.items() if name not in RESERVED for result in seeds.values()]
        if options.data.exists() or any("said" in result for result in every):
            _of_the_data(results, protocols(options.data, options.authority)[1], options.seeds)
        write_page(options.write, results)
        _write_json(_record(options.write), results, indent=None)
        print(f"Page: {options.write}", file=sys.stderr)


def _of_the_data(results: dict[str, Any], prepared: dict[str, Prepared], seeds: list[int]) -> None:
    """Put into the results what is told by the photographs that judge: how many count, and what stands in pairs."""
    fresh = current(results)[0]
    results[FLOW] = flow(prepared["clean"])
    results[JUDGES] = counted(begun.with_begun(fresh), prepared)
    results[COMPARED] = compared(fresh, prepared)
    results[SEEN] = seen(fresh, prepared)
    for name, by_seed in pairs(fresh, prepared["clean"], seeds).items():
        kept = results.setdefault(PAIRS, {}).setdefault(name, {})
        for seed, found in by_seed.items():
            kept[seed] = {**kept.get(seed, {}), **found}


def _options() -> argparse.Namespace:
    names = [row.name for row in ROWS] + [WATERFALL, OURS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--authority", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=names, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--one-fold", action="store_true", help="also those that one fold under clean judges")
    parser.add_argument("--weights", type=Path, help="of our pretrained networks, for ours")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--no-train", dest="train", action="store_false")
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _train_all(options: argparse.Namespace, results: dict[str, Any]) -> None:
    _say("reading and auditing the photographs")
    backend.load(environment.threads())
    # Each training is a network of its own, so that nothing is traced twice in vain.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    rows = [name for name in options.rows or () if name != OURS]
    wanted = trainings if options.one_fold else asked
    todo = wanted(rows or None) if rows or not options.rows else []
    todo += ours(options.weights) if OURS in (options.rows or ()) else []
    todo.sort(key=lambda training: cost(training, options.epochs))
    jobs = [(seed, training) for seed in options.seeds for training in todo]
    # A first seed of everything; then what a published number needs, and last what else the same recipe gives.
    jobs.sort(
        key=lambda job: (job[0] != options.seeds[0], job[1].design.labels == "clean" and job[0] != options.seeds[0])
    )
    fresh = current(results)[0]
    left = [(seed, training) for seed, training in jobs if str(seed) not in fresh.get(training.name, {})]
    _say(f"{len(jobs) - len(left)} of {len(jobs)} trainings are done")
    clock = _Clock(sum(cost(t, options.epochs) for _, t in left))
    held: dict[Any, Material] = {}
    for seed, training in left:
        recipe = training.resolved(options.precision, options.epochs)
        if recipe.geometry not in held:
            held[recipe.geometry] = material(options.data, options.authority, recipe.geometry, options.limit)
        work = cost(training, options.epochs)
        try:
            given = parts(held[recipe.geometry], training.design, seed)
            found = one(training, recipe, given, options.out / training.name / f"seed-{seed}", seed, clock, work)
        except MelascopeError as error:
            # The others are not to wait for one that cannot go on; it stays missing on the page.
            _say(f"{training.name} seed {seed} FAILED: {error}")
            clock.total -= work
            continue
        clock.done += work
        results.setdefault(training.name, {})[str(seed)] = found
        _write_json(options.out / RESULTS, results)


def one(
    training: Training, recipe: Recipe, given: Parts, folder: Path, seed: int, clock: _Clock, work: float
) -> dict[str, Any]:
    """Train one design, judge it on each of its parts, and leave `result.json` in its folder."""
    from melascope.training import networks
    from melascope.training.fit import fit, predict_logits
    from melascope.training.metrics import scores

    began = time.monotonic()
    facts = {
        "seed": seed,
        "recipe": portable(recipe).dumps(),
        "precision": recipe.schedule.precision,
        "machine": environment.describe(),
    }
    _write_json(folder / begun.FILE, {**facts, "of": recipe.schedule.epochs, "n": len(given.rows["validation"])})

    def told(row: dict[str, float]) -> None:
        share = row["epoch"] / recipe.schedule.epochs
        _say(
            f"{training.name} seed {seed} epoch {row['epoch']:.0f}/{recipe.schedule.epochs}: training "
            f"{row['accuracy']:.3f}, validation {row['tune_accuracy']:.3f}, {row['seconds']:.0f} s; "
            f"{clock.left(work * share, work / recipe.schedule.epochs)} left"
        )

    history = fit(
        recipe, given.images, given.labels, given.rows["train"], given.rows["validation"], given.classes, folder,
        seed=seed, resume=True, threads=environment.threads(), on_epoch=told,
    )  # fmt: skip
    network = networks.build(recipe, len(given.classes))
    networks.load_weights(network, folder / "weights.npz")
    judged, arrays = {}, {}
    for part in ("validation", "test"):
        rows = given.rows.get(part, ()) if part == "validation" or opens_test(training.name) else ()
        if len(rows):
            logits = predict_logits(network, given.images, rows)
            judged[part] = {"n": len(rows), **scores(given.labels[rows], logits, given.classes)}
            arrays |= {f"{part}_logits": logits, f"{part}_labels": given.labels[rows]}
    checkpoint.write(folder / "predictions.npz", arrays)
    found: dict[str, Any] = {
        **facts,
        "epochs": recipe.schedule.epochs,
        "classes": list(given.classes),
        "parts": judged,
        "told": given.told,
        "history": begun.history(history),
        "seconds": round(float(np.nansum(history["seconds"])), 1),
        "date": date.today().isoformat(),
    }
    if keeps_said(training.design):
        found["said"] = first_choices(folder)
    _write_json(folder / "result.json", found)
    (folder / begun.FILE).unlink()
    # A quarter of a gigabyte for some; what was predicted is kept.
    (folder / "weights.npz").unlink()
    _say(f"{training.name} seed {seed} done in {time.monotonic() - began:.0f} s: {judged}")
    del network
    backend.load().utils.clear_session()
    gc.collect()
    return found


class _Clock:
    """Tells from the epochs that this command trained, not from those that it found, how long the rest will take."""

    def __init__(self, total: float) -> None:
        self.total, self.done = total, 0.0
        self._trained, self._began = 0.0, time.monotonic()

    def left(self, begun: float, epoch: float) -> str:
        """Return it after an epoch of so much work, when so much of the training is done."""
        self._trained += epoch
        seconds = (time.monotonic() - self._began) * (self.total - self.done - begun) / self._trained
        return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.0f} min"


def _collected(folder: Path) -> dict[str, Any]:
    """Return every result in a folder, by training and seed, with what was said where that is kept."""
    found: dict[str, Any] = {}
    slugs = kept_slugs()
    for path in sorted(folder.glob("*/seed-*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        # Of trainings that were made before it was kept in the result.
        if "said" not in result and path.parent.parent.name.partition(".")[2].partition(".")[0] in slugs:
            result |= {"said": told} if (told := first_choices(path.parent)) else {}
        found.setdefault(path.parent.parent.name, {})[str(result["seed"])] = result
    return found


def _record(page: Path) -> Path:
    """The results behind a page, beside it: with them the page is made anew, and trainings go on, anywhere."""
    return page.with_suffix(".json")


def _kept(page: Path | None) -> dict[str, Any]:
    if page is None or not _record(page).exists():
        return {}
    kept: dict[str, Any] = json.loads(_record(page).read_text(encoding="utf-8"))
    return kept


def _write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    partial.replace(path)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
