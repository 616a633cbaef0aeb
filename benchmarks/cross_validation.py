"""Recipes compared honestly: repeated grouped cross-validation, paired differences with intervals.

    python -m benchmarks.cross_validation DATA --authority CSV ... --out FOLDER [--recipes small-cnn plain-cnn]
        [--folds 3] [--seeds 0 1] [--json FILE]

Uses the photographs that the protocol `clean` keeps outside the Test folder: the test stays closed. All recipes are
scored on the same folds; whole groups (photograph, lesion, patient) stay in one fold. Repeat the command to go on
where it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

from melascope import environment
from melascope.audit.protocol import apply_protocol
from melascope.audit.survey import survey
from melascope.datasets import pack
from melascope.statistics import repeated_cv_difference
from melascope.training import cross_validate, recipe

SCORES = ("balanced_accuracy", "melanoma_auc", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--authority", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", default=["small-cnn", "plain-cnn"])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    found = survey(options.data, authority=options.authority)
    prepared = apply_protocol(found.scanned, found.audit, "clean")
    table = prepared.table[prepared.table["split"].fillna("") != "test"].reset_index(drop=True)
    classes = prepared.classes
    labels = table["diagnosis"].map({code: i for i, code in enumerate(classes)}).to_numpy(dtype=np.int64)
    said = f"{len(table)} photographs, {table['group'].nunique()} groups, protocol {prepared.name}, test closed"
    print(said, file=sys.stderr, flush=True)

    scores: dict[str, dict[str, list[np.ndarray]]] = {name: {score: [] for score in SCORES} for name in options.recipes}
    began = time.monotonic()
    # Seed by seed, so that what is done at any moment can be compared in pairs.
    for seed, name in itertools.product(options.seeds, options.recipes):
        chosen = recipe.load(name)
        images = pack(table, chosen.geometry, environment.cache_folder(), environment.threads()).images

        def told(row: dict[str, float], name: str = name) -> None:
            values = " ".join(f"{score} {row[score]:.3f}" for score in SCORES)
            seconds = time.monotonic() - began
            print(
                f"{seconds:6.0f} s {name} seed {row['seed']:.0f} fold {row['fold']:.0f}: {values}",
                file=sys.stderr,
                flush=True,
            )

        result = cross_validate(
            chosen, images, labels, table["group"].to_numpy(), classes, folds=options.folds, seeds=[seed],
            out=options.out / chosen.name, threads=environment.threads(), on_fold=told,
        )  # fmt: skip
        for score in SCORES:
            scores[name][score].append(result.by_fold(score)[0])

    report: dict[str, object] = {
        "data": said,
        "folds": options.folds,
        "seeds": options.seeds,
        "recipes": {},
        "differences": {},
    }
    means = {
        name: {score: float(np.mean(np.stack(values))) for score, values in found.items()}
        for name, found in scores.items()
    }
    report["recipes"] = means
    for name, found in means.items():
        print(f"{name:<14}" + "  ".join(f"{score} {value:.3f}" for score, value in found.items()))
    differences = {}
    for a, b in itertools.combinations(options.recipes, 2):
        for score in SCORES:
            estimate = repeated_cv_difference(np.stack(scores[a][score]) - np.stack(scores[b][score]))
            differences[f"{a} - {b}: {score}"] = estimate.to_json()
            print(
                f"{a} - {b}, {score}: {estimate.value:+.3f} (95 % interval {estimate.low:+.3f} to {estimate.high:+.3f})"
            )
    report["differences"] = differences
    report["machine"] = environment.describe()
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
