"""What calibration, first choice and the pooling of a lesion's photographs do, on the predictions of a run.

    python benchmarks/calibration.py RUN/predictions.parquet
    python benchmarks/calibration.py --generated

Everything is chosen on the rows of the part `calibrate`, inside folds of whole
groups; `test` is not opened. On generated photographs, whose truth is known,
it shows how prediction sets of 90 % cover, and thresholds for 95 % sensitivity
find, fresh ones, when they are chosen on the rows that the calibrator was
fitted to, and when on the same rows out of their folds.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from melascope import diagnosis, statistics
from melascope.statistics import scaling


def main(path: str) -> None:
    frame = pd.read_parquet(path)
    frame = frame[(frame["part"] == "calibrate") & frame["logit_MEL"].notna()].reset_index(drop=True)
    codes = [column.removeprefix("logit_") for column in frame if column.startswith("logit_")]
    logits = frame[[f"logit_{code}" for code in codes]].to_numpy(dtype=float)
    y = frame["diagnosis"].map({code: i for i, code in enumerate(codes)}).to_numpy()
    groups = frame["group"].to_numpy()
    print(f"{len(frame)} photographs, {len(set(groups))} groups, {len(codes)} classes")

    start = time.perf_counter()
    chosen = statistics.choose_scaling(logits, y, groups)
    print(f"chosen: {chosen.scaling.method}, in {time.perf_counter() - start:.1f} s; cross-fitted log loss:")
    print(f"  uncalibrated {float(statistics.log_loss(statistics.softmax(logits), y)):.4f}")
    for method in scaling.METHODS:
        if method in chosen.log_loss:
            gained = chosen.gained.get(method)
            told = "" if gained is None else f"; gained {gained.value:.4f} ({gained.low:.4f} to {gained.high:.4f})"
            print(f"  {method} {chosen.log_loss[method]:.4f}{told}")

    prior = statistics.choose_prior(chosen.out_of_fold, y, chosen.folds, groups)
    if prior.gained is None:
        print("first choice: plain, for want of lesions of", ", ".join(codes[code] for code in prior.scarce))
    else:
        low, high = prior.gained.low, prior.gained.high
        print(
            f"balanced accuracy: plain {prior.plain:.4f}, weighed {prior.gained.value:+.4f} ({low:+.4f} to {high:+.4f})"
        )

    pooling(frame, chosen.out_of_fold, y, codes)


def pooling(frame: pd.DataFrame, p: np.ndarray, y: np.ndarray, codes: list[str]) -> None:
    """Compare the mean of probabilities with the mean of log-probabilities, on lesions with several photographs."""
    lesion = frame["lesion_id"].astype("string").fillna("")
    several = lesion.map(lesion.value_counts()).gt(1).to_numpy() & (lesion != "").to_numpy()
    names, first, member = np.unique(lesion[several].astype(str), return_index=True, return_inverse=True)
    if len(names) < 2:
        print("pooling: fewer than two lesions have several photographs")
        return

    def mean(values: np.ndarray) -> np.ndarray:
        total = np.zeros((len(names), values.shape[1]))
        np.add.at(total, member, values)
        return total / np.bincount(member)[:, None]

    own, truth = p[several], y[several][first]
    plain = mean(own)
    logarithmic = statistics.softmax(mean(np.log(np.maximum(own, 1e-12))))
    melanoma = np.isin(np.array(codes)[truth], list(diagnosis.GROUPS["melanoma"]))
    print(f"pooling {several.sum()} photographs of {len(names)} lesions ({melanoma.sum()} melanomas):")
    for name, pooled in (("mean of probabilities", plain), ("mean of log-probabilities", logarithmic)):
        loss = float(statistics.log_loss(pooled, truth))
        area = (
            float(statistics.auc(pooled[:, codes.index("MEL")], melanoma))
            if 0 < melanoma.sum() < len(names)
            else np.nan
        )
        lowest = np.sort(pooled[melanoma, codes.index("MEL")])[:3].round(3).tolist()
        print(f"  {name}: log loss {loss:.4f}, melanoma AUC {area:.4f}, lowest risks of melanomas {lowest}")


def generated(repeats: int = 15, lesions: int = 600, fresh: int = 4000) -> None:
    """Print coverage per class and melanoma sensitivity, averaged over repeats."""
    shares = np.array([0.14, 0.5, 0.08, 0.05, 0.12, 0.04, 0.04, 0.03])
    bent = np.eye(8) + np.random.default_rng(5).normal(0, 0.15, (8, 8))

    def drawn(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = generator.choice(8, n, p=shares)
        x = generator.normal(0, 1, (n, 8))
        x[np.arange(n), y] += 1.7
        return (1.7 * x + np.log(shares)) @ bent, y

    found: dict[tuple[str, str], list[list[float]]] = {}
    for repeat in range(repeats):
        generator = np.random.default_rng(repeat)
        (z, y), (z_fresh, y_fresh) = drawn(lesions, generator), drawn(fresh, generator)
        unit, folds = np.arange(lesions), statistics.grouped_folds(y)
        for method in scaling.METHODS:
            fit = scaling._fitted(z, y, unit, method, 0)
            p = fit.probabilities(z_fresh)
            for how, own in (
                ("fitted to them", fit.probabilities(z)),
                ("out of fold", scaling._out_of_fold(z, y, unit, folds, method, 0)),
            ):
                inside = statistics.members(p, statistics.quantiles(own, y, 8))
                covered = [float(inside[y_fresh == code, code].mean()) for code in range(8)]
                threshold = float(statistics.threshold_for(own[:, 0], y == 0, 0.95))
                sensitivity = float((p[y_fresh == 0, 0] >= threshold).mean())
                found.setdefault((method, how), []).append([*covered, float(np.mean(covered)), sensitivity])
    for (method, how), rows in found.items():
        *classes, mean, sensitivity = np.mean(rows, axis=0).round(3)
        print(f"{method}, {how}: coverage {mean} (classes {min(classes)} to {max(classes)}), sensitivity {sensitivity}")


if __name__ == "__main__":
    generated() if sys.argv[1] == "--generated" else main(sys.argv[1])
