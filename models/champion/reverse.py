"""An idea the other way round: trained on ISIC 2017 and the nine-class set, judged on all of HAM10000 that is open.

    python -m models.champion.reverse AUDIT/clean.parquet --weights mobilenetv2_imagenet.npz --out FOLDER
        [--ideas champion light] [--write docs/champion_reverse.json]

What helps in one clinic abroad may be chance: this is another. What shares a photograph, lesion or patient with
HAM10000 is not trained on; what is closed (`split` is `test`) is never opened. Four mirror images are averaged, and
each idea is compared in pairs with the first. Stop it at any moment and repeat the command: it goes on after the last
finished epoch.
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
from numpy.typing import NDArray

from melascope import environment, statistics
from melascope.datasets import pack
from melascope.training import backend
from models.champion.experiments import photographs, resolved
from models.champion.gather import HAM
from models.champion.ideas import IDEAS
from models.champion.judging import CLASSES, sampled
from models.champion.learner import Learner

DRAWS = 1000


def risks(name: str, frame: pd.DataFrame, weights: Path, out: Path) -> NDArray[np.float64]:
    """Return an idea's melanoma risks `(n,)` of HAM10000's photographs; trained as far as it is not done.

    They are weighed to how frequent the classes are in training, as a bundle's calibration does.
    """
    idea = IDEAS[name]
    if idea.begins is not None or idea.taught:
        raise SystemExit(f"{name} begins from another training, or is taught by one: it cannot be turned round.")
    made = resolved(idea, weights, None, None)
    of_ham, learnt = sides(frame)
    labels = frame["diagnosis"].map({code: i for i, code in enumerate(CLASSES)}).to_numpy(dtype=np.int64)
    packed = pack(frame, made.geometry, environment.cache_folder(), threads=environment.threads())

    def told(stage: str, done: int, total: int) -> None:
        if done % 100 == 0 and done:
            print(f"{name}: {done}/{total}", file=sys.stderr, flush=True)

    learner = Learner(made, packed.images if idea.prepare is None else idea.prepare(packed.images), labels, told)
    learner.learn(learnt, out / name)
    p = statistics.softmax(np.mean(learner.logits(out / name, np.flatnonzero(of_ham)), axis=0).astype(float))
    counts = np.bincount(labels[learnt], minlength=len(CLASSES)).astype(float)
    natural = p / np.maximum(sampled(made, counts), 1e-9) * counts
    return np.asarray(natural[:, 0] / natural.sum(axis=1))


def sides(frame: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which photographs `(n,)` judge, and which are trained on: nothing stands on both sides."""
    of_ham = (frame["source"] == HAM).to_numpy(dtype=bool)
    return of_ham, ~frame["group"].isin(set(frame.loc[of_ham, "group"])).to_numpy(dtype=bool)


def compared(risk: Mapping[str, NDArray[np.float64]], melanoma: NDArray[np.bool_], groups: pd.Series) -> dict[str, Any]:
    """Return each idea's melanoma AUC, and by how much it is above the first one's; intervals resample lesions."""
    first = next(iter(risk))

    def scores(w: Any) -> dict[str, Any]:
        areas = {name: statistics.auc(one, melanoma, w) for name, one in risk.items()}
        return areas | {f"{name} less {first}": areas[name] - areas[first] for name in risk if name != first}

    values = scores(np.ones((len(melanoma), 1)))
    drawn = statistics.bootstrap(scores, pd.factorize(groups)[0], melanoma.astype(int), DRAWS, 0, len(melanoma))
    return {
        key: statistics.interval(drawn[key], float(value[0]), len(melanoma), proportion=" less " not in key).to_json()
        for key, value in values.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ideas", nargs="+", choices=list(IDEAS), default=["champion", "light"])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args(arguments)
    backend.load(environment.threads())
    frame = photographs(options.table)
    risk = {name: risks(name, frame, options.weights, options.out) for name in options.ideas}
    judged = frame[sides(frame)[0]]
    found = {
        "learnt": int(sides(frame)[1].sum()),
        "melanoma_auc": compared(risk, (judged["diagnosis"] == "MEL").to_numpy(), judged["group"]),
        "date": date.today().isoformat(),
        "machine": environment.describe(),
    }
    print(json.dumps(found), flush=True)
    if options.write is not None:
        options.write.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
