"""A small run's worth of plain data, generated; no photograph is real."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

CLASSES = ("MEL", "NV", "BCC", "VASC")
VOID = {"meta", "link", "img", "br", "input", "hr"}


def estimate(value: float | None, n: int = 42, width: float = 0.1) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "n": n}
    return {"value": value, "low": max(0.0, value - width), "high": min(1.0, value + width), "n": n}


def group(yes: int = 42, no: int = 100, threshold: float = 0.2) -> dict[str, Any]:
    point = {
        "threshold": threshold,
        "target": 0.95,
        "assured": False,
        "sensitivity": {"value": 38 / 42, "low": 0.78, "high": 0.96, "n": yes},
        "specificity": estimate(0.6, no),
        "prevalence": 0.02,
        "ppv": estimate(0.04, yes + no, 0.01),
        "npv": estimate(0.99, yes + no, 0.005),
        "threshold_chosen_again": {"sensitivity": estimate(0.9, yes), "specificity": estimate(0.6, no)},
    }
    return {
        "n_positive": yes,
        "n_negative": no,
        "auc": estimate(0.87, yes + no, 0.05),
        "pauc80": estimate(0.1, yes + no),
        "average_precision": estimate(0.7, yes),
        "operating_points": {"screening": point},
        "decision_curve": {
            "prevalence": 0.02,
            "stated": True,
            "threshold": [0.01, 0.5],
            "model": [0.01, 0],
            "low": [0, -0.01],
            "high": [0.02, 0.01],
            "everybody": [0.01, -1],
        },
    }


def part(n: int = 142) -> dict[str, Any]:
    bins = [{"predicted": x, "observed": estimate(x, 14)} for x in np.linspace(0.05, 0.95, 10)]
    calibration = {"slope": estimate(0.8, n), "intercept": estimate(0.1, n), "brier": estimate(0.1, n)}
    calibration |= {"ece": estimate(0.05, n), "reliability": bins}
    curve = {"fpr": [0, 0.2, 0.5, 1], "tpr": [0, 0.7, 0.9, 1]}
    precision = {"recall": [0, 0.5, 1], "precision": [1, 0.8, 0.3]}
    scores = ("sensitivity", "specificity", "precision", "f1", "auc", "average_precision")
    return {
        "n_images": n,
        "n_lesions": {"known": 100, "assumed": 12},
        "classes": list(CLASSES),
        "accuracy": estimate(0.7, n),
        "balanced_accuracy": estimate(0.6, n),
        "per_class": {
            code: {"n": 5 if code == "VASC" else 40, **{score: estimate(0.6, 40) for score in scores}}
            for code in CLASSES
        },
        "groups": {"melanoma": group(), "malignant": group(60, 82, 0.5)},
        "alerts": {"melanoma_sensitivity": estimate(40 / 42), "benign_specificity": estimate(0.5, 82)},
        "calibration": {"melanoma": calibration, "malignant": calibration},
        "confusion": [[30, 5, 5, 2], [4, 30, 4, 2], [3, 3, 30, 4], [1, 1, 1, 2]],
        "curves": {
            "roc": {"melanoma": curve, "malignant": curve, "MEL": curve},
            "pr": {"melanoma": precision, "malignant": precision},
        },
        "prediction_set": {
            "coverage_wanted": 0.9,
            "coverage": estimate(0.9, n),
            "size": {"value": 2.1, "low": 1.9, "high": 2.3, "n": n},
            "per_class": {"MEL": {"n": 42, "coverage": estimate(0.9), "size": estimate(0.9)}},
        },
        "subgroups": {"sex": {"female": {"n": 70, "n_positive": 20, "auc": estimate(0.8, 70), "too_few": False}}},
        "gaps": {"sex": {"auc": gap(0.1, -0.05), "sensitivity": None, "specificity": gap(0.0, -0.1)}},
        "sample_size": {"melanoma": {"text": "42 melanomas: an interval no wider than 0.10 needs 73."}},
        "missing": {"age": {"missing": 3, "of": n}},
        "too_few": [{"kind": "class", "name": "VASC", "n": 5}],
        "refused": {"n": 1, "kinds": {"truncated": 1}},
        "per_lesion": {"n_images": 112, "accuracy": estimate(0.71, 112)},
    }


def gap(value: float, low: float) -> dict[str, Any]:
    found = {"value": value, "low": low, "high": value + 0.2, "n": 140, "higher": "female", "lower": "male"}
    return {**found, "groups": 2, "pairs": 1, "shown": [dict(found)] if low > 0 else []}


def metrics() -> dict[str, Any]:
    return {
        "schema": 1,
        "protocol": "clean",
        "optimistic": False,
        "audited": True,
        "headline": "test",
        "model": {"name": "small-cnn", "version": "0.1.0", "sha256": "ab" * 32},
        "classes": list(CLASSES),
        "unit": {"text": "Scores are per photograph; intervals resample lesions."},
        "trained_on": {"images": 0, "of": 142},
        "parts": {name: part() for name in ("train", "tune", "calibrate", "test", "test_authority_only")},
        "baselines": {
            "largest_class": {"balanced_accuracy": estimate(0.25, 142), "text": "Always nevus."},
            "shuffled_labels": {"balanced_accuracy": estimate(0.25, 142), "at_chance": True},
        },
        "flow": [
            {"label": "photographs found", "photographs": 600, "excluded": {"unreadable": 2, "copies": 20}},
            {"label": "used", "photographs": 578, "excluded": {}},
        ],
        "notes": ["A note of the evaluation."],
    }


def table(n: int = 80, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "image_id": [f"GEN_{i:07d}" for i in range(n)],
            "path": [f"folder/GEN_{i:07d}.jpg" for i in range(n)],
            "diagnosis": [CLASSES[i % 4] for i in range(n)],
            "part": [("train", "tune", "calibrate", "test")[(i // 4) % 4] for i in range(n)],
            "lesion_id": [None if i % 3 == 0 else f"L{i}" for i in range(n)],
            "width": rng.choice([32, 64], n),
            "height": 32,
        }
    )


def predictions(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(len(CLASSES)), len(frame))
    result = frame[["image_id", "path", "diagnosis", "part"]].copy()
    for i, code in enumerate(CLASSES):
        result[f"p_{code}"] = p[:, i]
    return result


def history(epochs: int = 6) -> pd.DataFrame:
    e = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": e,
            "loss": 2 / e,
            "tune_loss": 1 + 1 / e,
            "accuracy": 1 - 0.6 / e,
            "tune_accuracy": 0.6 - 0.2 / e,
            "balanced_accuracy": 1 - 0.7 / e,
            "tune_balanced_accuracy": 1 - 0.71 / e,
            "melanoma_auc": 1 - 0.4 / e,
            "tune_melanoma_auc": 0.8 - 0.2 / e,
        }
    )


def picture(path: str) -> np.ndarray:
    rng = np.random.default_rng(sum(path.encode()))
    return rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)


AUDIT = {
    "images": 80,
    "verdict": "has problems",
    "reasons": ["2 photographs are filed twice"],
    "problems": {"byte_identical": {"groups": 1, "images": 2, "by_class": {"MEL": 1, "NV": 1}}},
}
PROBLEMS = pd.DataFrame(
    {
        "kind": ["byte_identical", "byte_identical", "unreadable"],
        "group": ["a", "a", "b"],
        "image_id": ["GEN_1", "GEN_2", "GEN_3"],
        "path": ["x/GEN_1.jpg", "x/GEN_2.jpg", "x/bad.jpg"],
        "diagnosis": ["MEL", "NV", "MEL"],
        "split": ["train", "test", None],
        "evidence": ["same bytes", "same bytes", "truncated"],
    }
)


class Reader(HTMLParser):
    """Reads a page as a browser would, and remembers what the tests ask about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]
