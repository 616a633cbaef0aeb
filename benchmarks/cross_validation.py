"""Recipes compared honestly: repeated grouped cross-validation, paired differences with intervals.

    python -m benchmarks.cross_validation DATA --authority CSV ... --out FOLDER [--recipes small-cnn plain-cnn]
        [--folds 3] [--seeds 0 1] [--json FILE]

The same as `melascope cross-validate`, with its report and its folder; here for the rows of the README. Uses the
photographs that the protocol `clean` keeps outside the Test folder: the test stays closed. All recipes are scored on
the same folds; whole groups (photograph, lesion, patient) stay in one fold. Repeat the command to go on where it was
stopped.

The recipes of docs/reproduction.md are compared by `python -m benchmarks.field`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from melascope.errors import MelascopeError
from melascope.training.cross_validated import CrossValidated, cross_validate_data

SCORES = ("balanced_accuracy", "melanoma_auc", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--authority", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", default=["small-cnn", "plain-cnn"])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="One after the other, such as 0 1.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    first, repeats = options.seeds[0], len(options.seeds)
    if options.seeds != list(range(first, first + repeats)):
        parser.error("the seeds follow one another, such as 0 1 2")
    began = time.monotonic()

    def told(name: str, row: dict[str, float]) -> None:
        values = " ".join(f"{score} {row[score]:.3f}" for score in SCORES)
        place = f"seed {row['seed']:.0f} fold {row['fold']:.0f}"
        print(f"{time.monotonic() - began:6.0f} s {name} {place}: {values}", file=sys.stderr, flush=True)

    try:
        found = cross_validate_data(
            options.data, options.out, options.recipes, options.folds, repeats, first,
            on_fold=told, authority=options.authority,
        )  # fmt: skip
    except MelascopeError as error:
        sys.exit(f"Error: {error}")
    report = _report(found)
    for name, means in report["recipes"].items():
        print(f"{name:<14}" + "  ".join(f"{score} {value:.3f}" for score, value in means.items()))
    for name, d in report["differences"].items():
        if d["value"] is not None:
            print(f"{name}: {d['value']:+.3f} (95 % interval {d['low']:+.3f} to {d['high']:+.3f})")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _report(found: CrossValidated) -> dict[str, Any]:
    result = found.result
    said = f"{result['photographs']} photographs, {result['groups']} groups, protocol {result['protocol']}, test closed"
    return {
        "data": said,
        "folds": result["folds"],
        "seeds": result["seeds"],
        "recipes": {
            name: {score: one["scores"][score]["value"] for score in SCORES} for name, one in result["recipes"].items()
        },
        "differences": {
            f"{d['a']} - {d['b']}: {d['score']}": {end: d[end] for end in ("value", "low", "high", "n")}
            for d in result["differences"]
        },
        "machine": result["environment"],
    }


if __name__ == "__main__":
    main()
