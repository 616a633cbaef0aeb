"""Train the champion's network on several shuffles of the labels: whether the labels leak.

    python -m models.champion.shuffles RUN [--seeds 0 1 2 3 4] [--write docs/champion_shuffles.json]

One network that learnt nothing still ranks photographs by some property, such as how dark they are, and that may go
with melanoma in either direction: its AUC can lie far from a half. What a shuffle can tell at most is how often it
happened to leave a label where it was, `overlap`: 1 is chance. Each seed shuffles the labels anew and trains as the
run's own baseline does (a quarter of the epochs), and is judged on the run's closed photographs with their true
labels. Stop it at any moment and repeat the command: it goes on after the last finished epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import environment
from melascope.datasets import pack, table
from melascope.evaluation.baselines import shuffle_labels, shuffled_labels
from melascope.statistics import auc, softmax, student_t_quantile
from melascope.training import backend, judge, recipe
from melascope.training.run_folder import RunFolder

PEER = "BKL"
"""The diagnosis that training shows about as often as melanoma."""


def judged(folder: RunFolder, seed: int) -> dict[str, Any]:
    """Return the scores of the run's network, trained on one shuffle, on the run's closed photographs."""
    made = recipe.load(folder.need("recipe.toml"))
    frame = table.load(folder.need("table.parquet"))
    audit = folder.read_json("audit.json")
    classes = tuple(audit["classes"])
    threads = environment.threads()
    packed = pack(frame, made.geometry, environment.cache_folder(), threads=threads)
    labels, rows = judge.labels_and_rows(frame, classes, audit["cross_fitted"])
    own = seed == folder.settings["seed"]
    out = folder.file("baselines/shuffled_labels" if own else f"baselines/shuffled_labels_{seed}")
    out.mkdir(parents=True, exist_ok=True)

    def told(stage: str, done: int, total: int) -> None:
        if done % 100 == 0:
            print(f"shuffle {seed}: {done}/{total}", file=sys.stderr, flush=True)

    logits = judge.train_on_shuffled(out, made, frame, packed.images, rows, classes, seed, told, threads)
    p = pd.DataFrame(softmax(logits), columns=[f"p_{code}" for code in classes])
    tested = frame.iloc[rows["test"]].reset_index(drop=True)
    tested["diagnosis"] = [classes[label] for label in labels[rows["test"]]]
    found = shuffled_labels(pd.concat([tested, p], axis=1), classes)
    keys = ("balanced_accuracy", "melanoma_auc", "explained")
    return {
        "seed": seed,
        "n": len(tested),
        "overlap": overlap(frame, seed),
        "peer": ranked(logits, labels[rows["test"]], classes, PEER),
        "others": others(logits, labels[rows["test"]], classes),
        **{key: found[key] for key in keys},
    }


def overlap(frame: pd.DataFrame, seed: int) -> float:
    """Return how often a training photograph labelled melanoma by a shuffle is one, over how often by chance."""
    trained = (frame["part"] == "train").to_numpy(dtype=bool)
    told, true = (labels[trained] == "MEL" for labels in (shuffle_labels(frame, seed), frame["diagnosis"]))
    return float((told & true).mean() / (told.mean() * true.mean()))


def ranked(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], code: str) -> float:
    """Return the AUC for melanoma of what the network says of a diagnosis."""
    return float(auc(softmax(logits)[:, classes.index(code)], labels == classes.index("MEL")))


def others(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> float:
    """Return the mean melanoma AUC of what the network says of the other diagnoses, but for the largest.

    Where photographs differ in how far they are from what is usual, all rare diagnoses get more of the probability
    together, and rank melanomas as melanoma's own does.
    """
    largest = int(np.bincount(labels, minlength=len(classes)).argmax())
    rare = [i for i, code in enumerate(classes) if code != "MEL" and i != largest]
    return float(np.mean([ranked(logits, labels, classes, classes[i]) for i in rare]))


def together(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean over shuffles, with its 95 % interval by Student's t: shuffles are the sample."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None, "deviation": None}
    deviation = float(np.std(values, ddof=1))
    half = student_t_quantile(0.975, len(values) - 1) * deviation / len(values) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "deviation": deviation}


def summary(shuffles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean melanoma AUC, and how far it is above that of the peer's probability in the same networks."""
    own = [one["melanoma_auc"]["value"] for one in shuffles]
    above = [value - one["peer"] for value, one in zip(own, shuffles, strict=True)]
    return {"melanoma_auc": together(own), "above_peer": together(above)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args(arguments)
    backend.load(environment.threads())
    folder = RunFolder.open(options.run)
    shuffles = []
    for seed in options.seeds:
        shuffles.append(judged(folder, seed))
        print(json.dumps(shuffles[-1]), flush=True)
    found = {"shuffles": shuffles, **summary(shuffles), "date": date.today().isoformat()}
    print(json.dumps(summary(shuffles)), flush=True)
    if options.write is not None:
        options.write.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
