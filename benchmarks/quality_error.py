"""What a photograph's quality does to a model's error: by thirds of the score, and before and after each damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.quality_damage import DAMAGES
from melascope import diagnosis
from melascope.bundle import Predictor
from melascope.bundle.trained_on import SAME_PHOTOGRAPH
from melascope.datasets.identity import perceptual_hash
from melascope.images import decode, quality, resize
from melascope.statistics import Estimate, auc, balanced_accuracy, bootstrap, interval, wilson

PER_CLASS = 60
TITLES = {"balanced_accuracy": "balanced accuracy", "auc": "melanoma AUC"}
SEED = 0


def errors(
    bundle: Path, table: pd.DataFrame, folder: Path, masks: Path, mask_of: Callable[[Path, str], np.ndarray]
) -> dict[str, Any]:
    """Print and return the scores of a bundle on photographs that it was not trained on, up to 60 of each diagnosis."""
    predictor = Predictor(bundle, threads=1)
    classes = predictor.bundle.classes
    table = table.assign(label=table["dx"].map(diagnosis.parse))
    labels = sorted(set(table["label"]))
    chosen, images = [], []
    for label in labels:
        taken = 0
        for image_id in table.loc[table["label"] == label, "image_id"]:
            image = decode((folder / f"{image_id}.jpg").read_bytes())
            if taken < PER_CLASS and not known(predictor, image):
                chosen.append((image_id, label))
                images.append(image)
                taken += 1
            if taken >= PER_CLASS:
                break
    if len(images) < PER_CLASS:
        raise SystemExit(
            f"Only {len(images)} of these photographs are unknown to {bundle}; take a model not trained on them."
        )
    truth = np.array([labels.index(label) for _, label in chosen])
    melanoma = truth == labels.index("MEL")

    def predicted(of: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        batches = [np.stack([resize(image, predictor.bundle.geometry)]) for image in of]
        logits = np.concatenate([predictor.run(batch).logits for batch in batches])
        p = predictor.probabilities(logits)
        return diagnosis.coarsen_probabilities(p, classes, labels).argmax(axis=1), diagnosis.group_risk(
            p, classes, "melanoma"
        )

    point = predictor.decider.points.get("melanoma")
    threshold = float("nan") if point is None else point.threshold

    first, risk = predicted(images)
    scores = np.array([quality.assess(image).score for image in images])
    result: dict[str, Any] = {"n": len(images), "classes": labels, "thirds": {}, "damage": {}}
    print(f"{len(images)} photographs unknown to {bundle}, up to {PER_CLASS} of each of {', '.join(labels)}")
    # Many photographs have nothing wrong: among equal scores chance decides, not the diagnosis.
    order = np.lexsort((np.random.default_rng(SEED).random(len(scores)), scores))
    for name, rows in zip(("lowest third", "middle third", "highest third"), np.array_split(order, 3), strict=True):
        row = {**both(truth[rows], first[rows], melanoma[rows], risk[rows]), "scores": scores[rows][[0, -1]].tolist()}
        result["thirds"][name] = row
        print(f"{name:<14} scores {row['scores'][0]:.2f} to {row['scores'][1]:.2f}: {line(row)}")
    poor = scores < quality.TOO_POOR
    print(f"too poor: {poor.sum()}, right of these {(first == truth)[poor].mean() if poor.any() else float('nan'):.2f}")
    result["before"] = both(truth, first, melanoma, risk)
    print(f"undamaged: {line(result['before'])}")
    rng = np.random.default_rng(SEED)
    for name, damage in DAMAGES.items():
        if name == "bare skin":
            continue
        for strength in damage.strengths:
            hurt = [
                damage.apply(image, mask_of(masks, i), strength, rng)
                for image, (i, _) in zip(images, chosen, strict=True)
            ]
            kept = np.array([image is not None for image in hurt])
            after, after_risk = predicted([image for image in hurt if image is not None])
            left = truth[kept]
            row = {
                "strength": strength,
                "before": both(left, first[kept], melanoma[kept], risk[kept]),
                "after": both(left, after, melanoma[kept], after_risk),
                "same_answer": float((after == first[kept]).mean()),
                "alerts_before": alerts(risk[kept], melanoma[kept], threshold),
                "alerts_after": alerts(after_risk, melanoma[kept], threshold),
            }
            result["damage"].setdefault(name, []).append(row)
            moves = ", ".join(
                f"{title} {row['before'][of]['value']:.3f} -> {row['after'][of]['value']:.3f}"
                for of, title in TITLES.items()
            )
            print(
                f"{name:<12}{strength:>7}: {moves}, same answer {row['same_answer']:.2f}, "
                f"melanoma alerts {told(row['alerts_before'])} -> {told(row['alerts_after'])}, n {int(kept.sum())}",
                flush=True,
            )
    return result


def alerts(risk: np.ndarray, melanoma: np.ndarray, threshold: float) -> dict[str, Any]:
    """Return sensitivity and specificity of melanoma alerts, with Wilson's intervals; NaN without a threshold."""
    if np.isnan(threshold):
        return {name: {"value": float("nan"), "n": 0} for name in ("sensitivity", "specificity")}
    right = (risk >= threshold) == melanoma
    return {
        name: wilson(int(right[rows].sum()), int(rows.sum())).to_json()
        for name, rows in (("sensitivity", melanoma), ("specificity", ~melanoma))
    }


def told(found: dict[str, Any]) -> str:
    return f"{found['sensitivity']['value']:.2f}/{found['specificity']['value']:.2f}"


def known(predictor: Predictor, image: np.ndarray) -> bool:
    trained_on = predictor.bundle.trained_on
    if trained_on is None:
        return False
    return bool(trained_on.nearest(perceptual_hash(image)[None])[0] <= SAME_PHOTOGRAPH)


def both(truth: np.ndarray, answer: np.ndarray, melanoma: np.ndarray, risk: np.ndarray) -> dict[str, Any]:
    def sampled(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "balanced_accuracy": balanced_accuracy(truth, answer, weights),
            "auc": auc(risk, melanoma, weights),
        }

    draws = bootstrap(sampled, None, truth, draws=500, n=len(truth))
    values = {"balanced_accuracy": balanced_accuracy(truth, answer), "auc": auc(risk, melanoma)}
    estimates: dict[str, Estimate] = {
        name: interval(draws[name], float(value), len(truth)) for name, value in values.items()
    }
    return {name: estimate.to_json() for name, estimate in estimates.items()}


def line(row: dict[str, Any]) -> str:
    parts = []
    for name, title in TITLES.items():
        value = row[name]
        parts.append(f"{title} {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]")
    return ", ".join(parts) + f", n {row['auc']['n']}"
