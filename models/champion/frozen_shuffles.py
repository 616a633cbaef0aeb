"""Many cheap shuffles of the labels: what a network that learnt nothing says of melanomas, over and over.

    python -m models.champion.frozen_shuffles RUN [--shuffles 60] [--write docs/champion_frozen_shuffles.json]

The backbone stays as ImageNet left it, and a linear head learns shuffled labels on its features, drawn as in training.
Labels that were shuffled tell nothing, so each output's AUC for melanoma shows what comes of the photographs and of how
often a diagnosis stands in the labels. Melanoma's output is held against that of keratosis, which is drawn about as
often: were labels told in some forbidden way, melanoma's alone would find melanomas.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from melascope import environment
from melascope.datasets import pack, table
from melascope.evaluation.baselines import shuffle_labels
from melascope.statistics import auc, softmax, student_t_quantile
from melascope.training import backbones, backend, judge, networks, recipe
from melascope.training.run_folder import RunFolder
from models.champion.shuffles import PEER

STEPS, BATCH, RATE = 450, 64, 0.02


def learnt(x: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights `(d, c)` and biases `(c,)` of a linear head, by gradient descent on draws by square roots."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels, minlength=classes)
    chance = (1 / np.sqrt(np.maximum(counts, 1)))[labels]
    drawn = rng.choice(len(labels), (STEPS, BATCH), p=chance / chance.sum())
    weights, biases = np.zeros((x.shape[1], classes), np.float32), np.zeros(classes, np.float32)
    for rows in drawn:
        slope = softmax(x[rows] @ weights + biases)
        slope[np.arange(BATCH), labels[rows]] -= 1
        weights -= RATE * (x[rows].T @ slope / BATCH).astype(np.float32)
        biases -= RATE * slope.mean(axis=0).astype(np.float32)
    return weights, biases


def over(values: np.ndarray) -> dict[str, float]:
    """Return the mean of one number per shuffle, its 95 % interval by Student's t, and the deviation of shuffles."""
    deviation = float(values.std(ddof=1))
    half = student_t_quantile(0.975, len(values) - 1) * deviation / len(values) ** 0.5
    mean = float(values.mean())
    return {"value": mean, "low": mean - half, "high": mean + half, "deviation": deviation}


def judged(folder: RunFolder, shuffles: int) -> dict[str, Any]:
    """Return each output's AUC for melanoma over shuffles, and by how much melanoma's exceeds its peer's."""
    keras = backend.load(environment.threads())
    made = recipe.load(folder.need("recipe.toml")).replace(network={"views": 1})
    frame = table.load(folder.need("table.parquet"))
    audit = folder.read_json("audit.json")
    classes = tuple(audit["classes"])
    packed = pack(frame, made.geometry, environment.cache_folder(), threads=environment.threads())
    labels, rows = judge.labels_and_rows(frame, classes, audit["cross_fitted"])
    network = networks.build(made, len(classes))
    backbones.start(network, made)
    features = keras.Model(network.inputs, network.output["embedding"])
    train, test = (features.predict(packed.images[rows[part]], batch_size=64, verbose=0) for part in ("train", "test"))
    melanoma = labels[rows["test"]] == classes.index("MEL")
    found = np.empty((shuffles, len(classes)))
    for seed in range(shuffles):
        mixed = shuffle_labels(frame, seed).map({code: i for i, code in enumerate(classes)}).to_numpy()[rows["train"]]
        weights, biases = learnt(train, mixed.astype(np.int64), len(classes), seed)
        p = softmax(test @ weights + biases)
        found[seed] = [auc(p[:, i], melanoma) for i in range(len(classes))]
        print(f"{seed + 1}/{shuffles}", file=sys.stderr, flush=True)
    less = found[:, classes.index("MEL")] - found[:, classes.index(PEER)]
    outputs = {code: over(found[:, i]) for i, code in enumerate(classes)}
    return {"shuffles": shuffles, "n": len(melanoma), "outputs": outputs, f"MEL less {PEER}": over(less)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--shuffles", type=int, default=60)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args(arguments)
    found = json.dumps(judged(RunFolder.open(options.run), options.shuffles), indent=1)
    print(found)
    if options.write is not None:
        options.write.write_text(found + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
