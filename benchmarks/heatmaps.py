"""Heat maps against lesion masks, beside maps that know nothing of the photograph.

    python -m benchmarks.heatmaps --bundle FILE --metadata HAM10000_metadata.csv --images FOLDER --masks FOLDER
        [--photographs 300] [--all] [--seed 0] [--json FILE]

Photographs are drawn among those that the bundle was not trained on, one of each lesion; melanomas, or all diagnoses
with --all. For each map: the share of its energy on the lesion, how often its highest point lies there, and how fast
the melanoma risk falls (deletion) and rises (insertion) when the hottest places go, or come, first. The same for a
Gaussian in the middle and for smooth noise, and for the slope of melanoma's log-odds, another way to read the same
activation maps; differences are paired.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from melascope import diagnosis
from melascope.bundle import Predictor
from melascope.bundle.trained_on import SAME_PHOTOGRAPH
from melascope.datasets import read, scan
from melascope.evaluation import heatmaps
from melascope.image_id import canonical_id
from melascope.images import read_file
from melascope.images.geometry import prepare
from melascope.statistics import softmax
from melascope.training.known_parts import perceptual

OURS, MIDDLE, NOISE, SLOPE = "heat map", "Gaussian in the middle", "smooth noise", "slope of the log-odds"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--metadata", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--photographs", type=int, default=300)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    predictor = Predictor(options.bundle)
    generator = np.random.default_rng(options.seed)
    table = read(options.metadata, options.images)
    table = table[options.all | (table["diagnosis"] == "MEL")].sample(frac=1, random_state=options.seed)
    # Twice as many as wanted, since some of them may be known to the bundle.
    table = scan(table.drop_duplicates("lesion_id").head(2 * options.photographs).reset_index(drop=True))
    table = table[~_known(predictor, table)].head(options.photographs)
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in (OURS, MIDDLE, NOISE, SLOPE)}
    for row in table.itertuples():
        for name, found in _judged(predictor, row, options.masks, generator).items():
            for score, value in found.items():
                scores[name].setdefault(score, []).append(value)
    groups = table["lesion_id"].to_numpy(dtype=object)
    report: dict[str, Any] = {"photographs": len(table), "empty maps": int(np.isnan(scores[OURS]["energy"]).sum())}
    arrays = {name: {key: np.asarray(given) for key, given in found.items()} for name, found in scores.items()}
    for name, found in arrays.items():
        report[name] = heatmaps.summary(found, groups, seed=options.seed)
        if name != OURS:
            paired = {key: arrays[OURS][key] - found[key] for key in found}
            report[f"{OURS} less {name}"] = heatmaps.summary(paired, groups, seed=options.seed)
    for name, found in report.items():
        if isinstance(found, int):
            print(f"{name}: {found}")
            continue
        told = ", ".join(
            f"{key} {one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})" for key, one in found.items()
        )
        print(f"{name}: {told}")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _known(predictor: Predictor, table: pd.DataFrame) -> np.ndarray:
    """Return which photographs the bundle was trained on, by the files' hashes and by how they look."""
    learnt = predictor.bundle.trained_on
    if learnt is None:
        return np.zeros(len(table), dtype=bool)
    return learnt.contains(table["sha256"].tolist(), perceptual(table), SAME_PHOTOGRAPH)


def _judged(predictor: Predictor, row: Any, masks: Path, generator: np.random.Generator) -> dict[str, dict[str, float]]:
    ((_, raw),) = predictor.stream([row.path], heatmaps=True)
    finding = predictor.finding(row.path, raw)
    image = prepare(read_file(row.path), predictor.bundle.geometry)
    geometry = predictor.bundle.geometry
    mask = Image.open(masks / f"{canonical_id(Path(row.path).name)}_segmentation.png").convert("L")
    top, left, bottom, right = geometry.source_box(mask.height, mask.width)
    size = (geometry.width, geometry.height)
    lesion = np.asarray(mask.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom))) > 127
    gone = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(max(size) / 8)))

    def risk(images: np.ndarray) -> np.ndarray:
        p = softmax(predictor.run(images).logits)
        return diagnosis.group_risk(p, predictor.classes, "melanoma")

    found = {}
    height, width = image.shape[:2]
    maps = {
        OURS: np.asarray(finding.heatmap),
        MIDDLE: heatmaps.centred(height, width),
        NOISE: heatmaps.noise(height, width, generator),
        SLOPE: _slope(predictor, raw, finding),
    }
    for name, heat in maps.items():
        energy, pointed = heatmaps.place(heat, lesion)
        less, more = heatmaps.curves(image, heat, risk, gone)
        found[name] = {
            "energy": energy,
            "pointing": pointed,
            "deletion": heatmaps.under(less),
            "insertion": heatmaps.under(more),
        }
    return found


def _slope(predictor: Predictor, raw: Any, finding: Any) -> np.ndarray:
    """Return by how much each place's log-odds of melanoma exceed those of the alert's threshold, or 0."""
    maps = np.tensordot(predictor.decider.calibration.slope(raw.logits), raw.heatmap, axes=1)
    p = np.array([finding.probabilities[code] for code in predictor.classes])
    melanoma = predictor.classes.index("MEL")
    others = np.where(np.arange(len(p)) == melanoma, 0.0, p)
    evidence = maps[melanoma] - np.tensordot(others / others.sum(), maps, axes=1)
    threshold = predictor.decider.points["melanoma"].threshold
    above = np.log(p[melanoma] / (1 - p[melanoma])) - np.log(threshold / (1 - threshold))
    return np.asarray(np.maximum(evidence + above - evidence.mean(), 0.0))


if __name__ == "__main__":
    main()
