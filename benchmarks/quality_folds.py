"""What a photograph's quality says of melanomas that are missed: on all of HAM10000's open lesions, as they are.

    python -m benchmarks.quality_folds FOLDER --images ham10000/images [--idea champion] [--json FILE]

FOLDER is where `models.champion.experiments --ideas champion --folds 0 1 2 3 4` left its networks' answers: each
photograph is judged by one that was trained without its fold, and calibration and threshold are of the other folds,
too (four mirror images). Intervals resample lesions.
"""

from __future__ import annotations

import argparse
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from models.champion.gather import HAM
from models.champion.judging import CLASSES, decided

from melascope import environment, statistics
from melascope.images import decode, quality

BINS: dict[str, tuple[float, ...]] = {
    "score": (0, 0.5, 0.7, 0.9, 0.999, 1.001),
    "lesion_share": (0, 0.035, 0.05, 0.1, 0.2, 0.4, 1.001),
    "cut": (0, 0.001, 0.12, 0.28, 1.001),
    "smear": (0, 0.38, 0.4, 0.45, 0.5, 10),
    "range": (0, 0.24, 0.3, 0.4, 0.6, 1.001),
    "hair": (0, 0.035, 0.1, 1.001),
}
"""The score or a measure, and the edges between which photographs are judged together."""
_FEWEST = 10
"""Lesions with a melanoma, below which a row is too small to judge."""


def judged(folder: Path, images: Path) -> pd.DataFrame:
    """Return the open photographs of HAM10000: what was decided (see `decided`), their measures, and their score."""
    said = []
    for path in sorted(folder.glob("fold-*/said.parquet")):
        one = pd.read_parquet(path)
        said.append(one[one["source"] == HAM].assign(fold=int(path.parent.name.removeprefix("fold-"))))
    if len(said) < 3:
        raise SystemExit(f"{folder} holds {len(said)} folds with answers; at least three are needed.")
    frame = pd.concat(said, ignore_index=True)
    logits = frame[[f"views_{code}" for code in CLASSES]].to_numpy(dtype=float)
    frame = frame.join(decided(logits, frame["diagnosis"], frame["group"], frame["fold"]))

    def measures(image_id: str) -> dict[str, float]:
        found = quality.measure(decode((images / f"{image_id}.jpg").read_bytes()))
        return {**found, "score": quality.judge(found).score}

    with ThreadPoolExecutor(environment.threads()) as pool:
        return frame.join(pd.DataFrame(list(pool.map(measures, frame["image_id"]))))


def scores(frame: pd.DataFrame) -> dict[str, Any]:
    """Return how melanoma is told among some photographs."""
    melanoma = (frame["diagnosis"] == "MEL").to_numpy()
    alerted, risk = frame["alerted"].to_numpy(dtype=bool), frame["risk"].to_numpy()
    units = pd.factorize(frame["group"])[0]
    of = {"sensitivity": melanoma, "specificity": ~melanoma}
    lesions = {name: len(set(units[rows])) for name, rows in of.items()}
    found: dict[str, Any] = {"n": len(frame), "melanomas": int(melanoma.sum()), "lesions": lesions["sensitivity"]}
    if lesions["sensitivity"] < _FEWEST:
        return found

    def each(weights: np.ndarray) -> dict[str, np.ndarray]:
        sensitivity, specificity = statistics.rates(alerted, melanoma, weights)
        return {"sensitivity": sensitivity, "specificity": specificity, "auc": statistics.auc(risk, melanoma, weights)}

    drawn = statistics.bootstrap(each, units, melanoma.astype(int), seed=0, n=len(frame))
    values = each(np.ones((len(frame), 1)))
    lesions["auc"] = min(lesions.values())
    for name, value in values.items():
        n = int(of[name].sum()) if name in of else len(frame)
        found[name] = statistics.interval(drawn[name], float(value[0]), n, lesions[name]).to_json()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--idea", default="champion")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    frame = judged(options.folder / options.idea, options.images)
    result: dict[str, Any] = {}
    print("| measure | from | to | n | melanomas | sensitivity | specificity | melanoma AUC |")
    print("|---|---|---|---|---|---|---|---|")
    for name, edges in BINS.items():
        for low, high in itertools.pairwise(edges):
            row = scores(frame[(frame[name] >= low) & (frame[name] < high)])
            result.setdefault(name, []).append({"from": low, "to": high, **row})
            told = [_shown(row.get(key)) for key in ("sensitivity", "specificity", "auc")]
            print(f"| `{name}` | {low} | {high} | {row['n']:,} | {row['melanomas']} | {' | '.join(told)} |", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


def _shown(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return "too few"
    value, low, high = (f"{estimate[key]:.2f}".replace("0.", ".", 1) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    main()
