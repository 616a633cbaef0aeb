"""Neighbours of photographs that the model does not know: what the small member costs against exact distances.

    python -m benchmarks.neighbours --bundle FILE --table TABLE [--json FILE]

The table's part `train` is searched; `calibrate` and `test` ask. Exact distances are those of the float32 embeddings at
length one. `same` is the share of the five neighbours (of different lesions) that have the photograph's diagnosis, mean
over the diagnoses; chance is that share among photographs drawn from `train` at random, the mean over eight diagnoses
being exactly one in eight where all occur. Size and time are also taken with 12,000 embeddings of 1,280 numbers, drawn
at random: neither depends on what the numbers are. The time is that
of the processor, in one thread (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.novelty import Seen, known_table, of_table, told
from melascope.bundle import Predictor, neighbours
from melascope.statistics import Estimate, bootstrap, count_units, interval

K = 5


def exact(known: np.ndarray, asked: np.ndarray, lesions: np.ndarray) -> list[list[int]]:
    """Return the rows of the K nearest photographs of different lesions, by the cosine of float32 embeddings."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (asked, known))
    rows = []
    for order in np.argsort(-(a @ b.T), axis=1, kind="stable"):
        first = np.sort(np.unique(lesions[order], return_index=True)[1])[:K]
        rows.append([int(row) for row in order[first]])
    return rows


def same(hits: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> Estimate:
    """Return the mean over diagnoses of the share of neighbours of that diagnosis, `hits` being one share a row."""
    classes = np.unique(truth)

    def score(w: np.ndarray) -> np.ndarray:
        each = [np.einsum("n,nk->k", hits * (truth == c), w) / np.einsum("n,nk->k", (truth == c) * 1.0, w)
                for c in classes]  # fmt: skip
        return np.mean(each, axis=0)

    value = float(score(np.ones((len(hits), 1)))[0])
    return interval(bootstrap(score, groups, truth), value, len(hits), count_units(groups, np.ones(len(hits), bool)))


def measured(train: Seen, asked: Seen, rows: pd.DataFrame, truth: np.ndarray) -> dict[str, Any]:
    codes = rows["diagnosis"].to_numpy()
    ids = rows["image_id"].tolist()
    lesions = rows["unit"].to_numpy(dtype=object)
    nearest = exact(train.x, asked.x, lesions)
    found: dict[str, Any] = {
        "known": len(rows), "asked": len(asked.x), "dimensions": train.x.shape[1],
        "chance": float(np.mean([(codes == code).mean() for code in np.unique(truth)])),
        "same, exact": same(np.array([np.mean(codes[r] == t) for r, t in zip(nearest, truth, strict=True)]),
                            truth, asked.groups),
    }  # fmt: skip
    for directions in (32, 64, 128, 192):
        data = neighbours.make(train.x, ids, list(lesions), list(codes), [None] * len(rows), directions=directions)
        index = neighbours.Neighbours.of(data)
        given = [index.nearest(x, K) for x in asked.x]
        recall = np.mean([
            len({row["image_id"] for row in mine} & {ids[r] for r in right}) / K
            for mine, right in zip(given, nearest, strict=True)
        ])  # fmt: skip
        hits = np.array([np.mean([row["diagnosis"] == t for row in mine])
                         for mine, t in zip(given, truth, strict=True)])  # fmt: skip
        first = np.array([float(mine[0]["diagnosis"] == t) for mine, t in zip(given, truth, strict=True)])
        itself = [index.nearest(train.x[row], 1)[0]["distance"] for row in range(0, len(ids), 7)]
        found[f"{directions} directions"] = {
            "bytes": len(data), "recall@5": float(recall), "same": same(hits, truth, asked.groups),
            "same, nearest one": same(first, truth, asked.groups),
            "distance to itself, median": float(np.median(itself)),
            "distance to the nearest, median": float(np.median([mine[0]["distance"] for mine in given])),
        }  # fmt: skip
    return found


def cost(images: int = 12_000, dimensions: int = 1280) -> dict[str, float]:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(0.3, 1, (images, dimensions)), 0).astype(np.float32)
    names = [f"ISIC_{number:07d}" for number in range(images)]
    codes = [("MEL", "NV", "BCC")[number % 3] for number in range(images)]
    digests = [f"{number:064x}" for number in range(images)]
    lesions = [f"HAM_{number // 2:07d}" for number in range(images)]
    data = neighbours.make(x, names, lesions, codes, ["ham10000"] * images, ["CC BY-NC 4.0"] * images, digests)
    begun = time.perf_counter()
    index = neighbours.Neighbours.of(data)
    loaded = time.perf_counter() - begun
    times = []
    for row in range(200):
        begun = time.thread_time()
        index.nearest(x[row], K, names[row], digests[row])
        times.append(time.thread_time() - begun)
    return {"images": images, "dimensions": dimensions, "bytes": len(data), "load_ms": 1000 * loaded,
            "median_ms": 1000 * float(np.median(times)), "p95_ms": 1000 * float(np.quantile(times, 0.95))}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True, help="the run's table.parquet")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    predictor = Predictor(args.bundle)
    table = known_table(args.table, predictor.classes)
    rows = table[table["part"] == "train"]
    asking = table[table["part"].isin(["calibrate", "test"])]
    found = measured(of_table(predictor, rows), of_table(predictor, asking), rows, asking["diagnosis"].to_numpy())
    found["cost"] = cost()
    for name, value in found.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        print(f"{name:16}", "; ".join(f"{key} {told(v) if isinstance(v, Estimate) else v}" for key, v in inner))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1, default=lambda value: value.to_json()))


if __name__ == "__main__":
    main()
