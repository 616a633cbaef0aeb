"""A generated set, a skilled guesser on it, and a decision calibrated on its part `calibrate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.evaluation import predictions_of
from melascope.statistics import choose, fit_temperature, quantiles, softmax

SHARES = np.array([0.2, 0.2, 0.18, 0.06, 0.2, 0.05, 0.06, 0.05])


def example_table() -> pd.DataFrame:
    """600 photographs in four parts; some lesions have two photographs, some no id."""
    generator = np.random.default_rng(0)
    parts = ["train"] * 200 + ["tune"] * 80 + ["calibrate"] * 160 + ["test"] * 160
    n = len(parts)
    codes = generator.choice(diagnosis.ISIC_2019, n // 2, p=SHARES / SHARES.sum())
    lesion = np.repeat(np.arange(n // 2), 2)
    ids = np.array([f"HAM_{i}" for i in lesion], dtype=object)
    ids[lesion % 4 == 0] = None
    return pd.DataFrame(
        {
            "image_id": [f"ISIC_{i:07d}" for i in range(n)],
            "path": [f"{i}.jpg" for i in range(n)],
            "group": [f"g{i}" for i in lesion],
            "lesion_id": ids,
            "diagnosis": np.repeat(codes, 2),
            "label_from": np.where(lesion % 5 == 0, "filed", "authority"),
            "part": parts,
            "sex": generator.choice(["female", "male"], n),
            "age": generator.integers(15, 90, n),
            "source": generator.choice(["here", "there"], n),
        }
    )


def logits_for(table: pd.DataFrame, seed: int = 1, skill: float = 1.5) -> np.ndarray:
    generator = np.random.default_rng(seed)
    y = table["diagnosis"].map({code: i for i, code in enumerate(diagnosis.ISIC_2019)}).to_numpy()
    z = generator.normal(0, 1, (len(table), 8)) + np.log(SHARES)
    z[np.arange(len(table)), y] += skill
    return z.astype(np.float32)  # as a network gives them: a threshold lies exactly on a risk


def decide(table: pd.DataFrame, logits: np.ndarray) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Calibrate on `calibrate` and return predictions and decision."""
    codes = diagnosis.ISIC_2019
    rows = (table["part"] == "calibrate").to_numpy()
    y = table["diagnosis"].map({code: i for i, code in enumerate(codes)}).to_numpy()
    temperature = fit_temperature(logits[rows], y[rows])
    p, groups = softmax(logits[rows], temperature), table.loc[rows, "group"].to_numpy()
    points = {}
    for group, members in diagnosis.GROUPS.items():
        truth = table.loc[rows, "diagnosis"].isin(members).to_numpy()
        points[group] = {
            "screening": choose(diagnosis.group_risk(p, codes, group), truth, group=group, groups=groups).to_json()
        }
    limits = quantiles(p, y[rows], 8, 0.9, groups)
    decision = {
        "schema": 1,
        "name": "fake",
        "version": "1",
        "classes": list(codes),
        "calibration": {"method": "temperature", "temperature": temperature},
        "operating_points": points,
        "prediction_set": {"coverage": 0.9, "quantiles": [None if np.isinf(q) else float(q) for q in limits]},
        "protocol": "clean",
        "audited": True,
    }
    return predictions_of(table, logits, codes, temperature), decision
