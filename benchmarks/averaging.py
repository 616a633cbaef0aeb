"""How far back a training's moving average of weights should reach when few photographs are there.

    python -m benchmarks.averaging HAM10000_metadata.csv --images FOLDER --weights mobilenetv2_imagenet.npz --out FOLDER
        [--without FOLDER] [--recipe champion] [--lesions 350] [--seeds 0 1]

Of each diagnosis half of the lesions are trained on, at most so many, and of the rest as many judge, with one
photograph each. One training of the recipe with several averages kept beside it: none of them reaches into the
training, so that they differ in nothing else. A share is of what is kept from before the last phase. Lesions with a
photograph in the folder `--without` are left out: what is chosen here is then not chosen on those. Each seed draws
other lesions; one that is done is not trained again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope.datasets import read
from melascope.image_id import canonical_id
from melascope.images import read_file
from melascope.images.geometry import prepare
from melascope.statistics import auc, balanced_accuracy, log_loss, paired_bootstrap, softmax
from melascope.training import backend, schedule
from melascope.training.recipe import Recipe, load

FEWEST = 20
"""Lesions of a diagnosis that is learnt at all."""
LONG = "as the recipe says"
SHARES = (0.2, 0.1, 0.05, 0.01)
NONE = "no average"


def main() -> None:
    options = _options()
    made = load(options.recipe).replace(network={"weights": str(options.weights.resolve())})
    if not made.optimiser.ema:
        raise SystemExit(f"Error: {options.recipe} keeps no average of its weights.")
    table = _table(options.metadata, options.images, options.without)
    classes = sorted(table["diagnosis"].unique())
    options.out.mkdir(parents=True, exist_ok=True)
    said: list[dict[str, NDArray[Any]]] = []
    for seed in options.seeds:
        file = options.out / f"{made.name}-{options.lesions}-{seed}.npz"
        if not file.exists():
            found = one_seed(made, *drawn(table, options.lesions, seed), classes, seed)
            np.savez(file.with_suffix(".partial.npz"), **found)
            file.with_suffix(".partial.npz").rename(file)
        with np.load(file, allow_pickle=False) as kept:
            said.append(dict(kept))
    print(told(said, classes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metadata", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without", type=Path, help="a folder of photographs whose lesions are left out")
    parser.add_argument("--recipe", default="champion")
    parser.add_argument("--lesions", type=int, default=350)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    return parser.parse_args()


def _table(metadata: Path, images: Path, without: Path | None) -> pd.DataFrame:
    """Return the photographs that may be used, of diagnoses that have lesions enough."""
    table = read(metadata, images)
    if without is not None:
        others = {canonical_id(path.name) for path in without.rglob("*.jpg")}
        table = table[~table["lesion_id"].isin(table.loc[table["image_id"].isin(others), "lesion_id"])]
    lesions = table.drop_duplicates("lesion_id")["diagnosis"].value_counts()
    return table[table["diagnosis"].isin(lesions.index[lesions >= FEWEST])].reset_index(drop=True)


def drawn(table: pd.DataFrame, lesions: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the photographs to train on, and those that judge, one of each lesion; no lesion is in both."""
    one_each = table.sample(frac=1, random_state=seed).drop_duplicates("lesion_id")
    place = one_each.groupby("diagnosis", sort=False).cumcount()
    half = one_each.groupby("diagnosis")["lesion_id"].transform("size") // 2
    most = half.clip(upper=lesions)
    learnt = one_each.loc[place < most, "lesion_id"]
    judges = one_each[(place >= most) & (place < 2 * most)]
    return table[table["lesion_id"].isin(learnt)].reset_index(drop=True), judges.reset_index(drop=True)


def one_seed(
    made: Recipe, learnt: pd.DataFrame, judges: pd.DataFrame, classes: Sequence[str], seed: int
) -> dict[str, NDArray[Any]]:
    """Train once and return what each average says of the judges, by its name, with their labels and lesions.

    `momenta` are those of the averages, in the order of `averages`.
    """
    keras = backend.load()
    from melascope.training import fit
    from melascope.training.augmentation import reseed

    def packed(table: pd.DataFrame) -> NDArray[np.uint8]:
        return np.stack([prepare(read_file(path), made.geometry) for path in table["path"]])

    images, labels = packed(learnt), _codes(learnt, classes)
    began = time.monotonic()
    trained, served, batches = fit.assemble(made, images, labels, np.arange(len(images)), classes, seed)
    _say(f"seed {seed}: {len(learnt)} photographs learnt, {len(judges)} judge; {batches.steps} steps an epoch")
    kept: dict[str, _Average] = {}

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            reseed(self.model, seed, epoch)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            now = [variable.numpy() for variable in self.model.trainable_variables]
            for average in kept.values():
                average.take(now)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            loss = (logs or {}).get("cross_entropy", np.nan)
            _say(f"seed {seed}: epoch {epoch + 1}, loss {loss:.3f}, {time.monotonic() - began:.0f} s")

    for phase in schedule.phases(made):
        if phase.first:
            batches = fit._begin(
                made, trained, images, labels, np.arange(len(images)), classes, seed, phase.first, None
            )
        kept = {
            name: _Average(momentum)
            for name, momentum in _momenta(made, (phase.end - phase.first) * batches.steps).items()
        }
        trained.optimizer.use_ema = False  # they are kept here
        trained.fit(
            batches, steps_per_epoch=batches.steps, initial_epoch=phase.first, epochs=phase.end,
            callbacks=[Watch()], shuffle=False, verbose=0,
        )  # fmt: skip
    asked, asking = packed(judges), fit.logits_only(served)
    found: dict[str, NDArray[Any]] = {}
    for name, average in kept.items():
        for variable, value in zip(trained.trainable_variables, average.weights, strict=True):
            variable.assign(value)
        found[name] = fit.predict_logits(asking, asked, np.arange(len(asked)))
        _say(f"seed {seed}: {name} asked, {time.monotonic() - began:.0f} s")
    found |= {"labels": _codes(judges, classes), "lesions": judges["lesion_id"].to_numpy(dtype=str)}
    found["learnt"] = np.array(len(learnt))
    found["momenta"] = np.array([average.momentum for average in kept.values()])
    return found


def _momenta(made: Recipe, steps: int) -> dict[str, float]:
    shares = {f"a share of {share:g}": min(made.optimiser.ema, share ** (1 / steps)) for share in SHARES}
    return {NONE: 0.0, LONG: made.optimiser.ema, **shares}


class _Average:
    """A moving average of weights that begins, as Keras' does, with the first step's."""

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.weights: list[NDArray[np.float32]] = []

    def take(self, now: list[NDArray[np.float32]]) -> None:
        if not self.weights:
            self.weights = [weight.copy() for weight in now]
        for old, new in zip(self.weights, now, strict=True):
            old *= self.momentum
            old += (1 - self.momentum) * new


def _codes(table: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    codes = {code: i for i, code in enumerate(classes)}
    return table["diagnosis"].map(codes).to_numpy(dtype=np.int64)


def told(said: Sequence[dict[str, NDArray[Any]]], classes: Sequence[str]) -> str:
    """Return the table: each average's scores over all seeds, and what it gives beside the recipe's, in pairs.

    The interval is of the lesions that judge, resampled; that other trainings would differ is not in it.
    """
    averages = [NONE, LONG, *(f"a share of {share:g}" for share in SHARES)]
    labels = np.concatenate([one["labels"] for one in said])
    # A lesion that judges two trainings is drawn once for both.
    lesions = np.concatenate([one["lesions"] for one in said])
    p = {name: softmax(np.concatenate([one[name] for one in said])) for name in averages}
    melanoma = list(classes).index("MEL")
    kinds = {
        "balanced accuracy": lambda q, w: balanced_accuracy(labels, q.argmax(axis=1), w),
        "melanoma AUC": lambda q, w: auc(q[:, melanoma], labels == melanoma, w),
        "log loss": lambda q, w: log_loss(q, labels, w),
    }
    count = ", ".join(f"{code} {(labels == i).sum()}" for i, code in enumerate(classes))
    learnt = " and ".join(f"{int(one['learnt']):,}" for one in said)
    lines = [
        f"{learnt} photographs learnt; {len(labels):,} judge ({count})",
        "",
        "| average | momentum | " + " | ".join(f"{kind} | less the recipe's" for kind in kinds) + " |",
        "|---|---|" + "---|---|" * len(kinds),
    ]
    for place, name in enumerate(averages):
        momenta = sorted({f"{one['momenta'][place]:.4f}" for one in said})
        cells = [name, " and ".join(momenta)]
        for kind in kinds.values():
            cells.append(f"{float(kind(p[name], None)):.3f}")
            if name == LONG:
                cells.append("-")
                continue
            apart = paired_bootstrap(kind, p[name], p[LONG], lesions, labels)
            cells.append(f"{apart.value:+.3f} ({apart.low:+.3f} to {apart.high:+.3f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
