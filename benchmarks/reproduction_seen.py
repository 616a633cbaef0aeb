"""What a network knows by heart: it is right of photographs that it was trained on, and of those that it was not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.reproduction_data import divided
from benchmarks.reproduction_judges import independent
from benchmarks.reproduction_pairs import said_of
from benchmarks.reproduction_plot import half_width
from benchmarks.reproduction_rows import ROWS, SEEN, Design, Training, trainings
from benchmarks.reproduction_words import filled
from melascope.audit.protocol import Prepared
from melascope.statistics import wilson

SIDES = ("trained_on", "new")


def on_both_sides(design: Design) -> bool:
    """Return whether copies of a photograph may be trained on while others judge: they are made before the division."""
    return design.copies == "before"


def seen(results: Mapping[str, Any], prepared: Mapping[str, Prepared]) -> dict[str, Any]:
    """Return how often a training is right of the photographs that it was trained on, and of those that it was not.

    Args:
        results: By training and seed; `said` where it is kept.
        prepared: By protocol, `filed` and `clean`.

    Returns:
        By training and seed, under each of `SIDES`: `n` judged rows, their `accuracy`, and as how many `independent`
        ones they count. A row is `trained_on` where its photograph is, as the original or as another copy.
    """
    found: dict[str, Any] = {}
    for training in _of_copies():
        for seed in sorted(results.get(training.name, ()), key=int):
            said = said_of(results, training.name, int(seed))
            if said is None:
                continue
            material = prepared[training.design.labels]
            tables = divided(material, training.design, int(seed))
            judge = tables["validation"]
            code = {name: place for place, name in enumerate(material.classes)}
            if not np.array_equal(said[0], judge["diagnosis"].map(code).to_numpy()):
                raise SystemExit(f"{training.name} seed {seed} was judged by other photographs; train it anew.")
            known = judge["photograph"].isin(set(tables["train"]["photograph"])).to_numpy(dtype=bool)
            found.setdefault(training.name, {})[seed] = {
                side: _judged(said[0][rows] == said[1][rows], judge["group"].to_numpy(dtype=object)[rows])
                for side, rows in zip(SIDES, (known, ~known), strict=True)
                if rows.any()
            }
    return found


def of_seen(results: Mapping[str, Any]) -> list[str]:
    """Return in words how much more often a network is right of what it was trained on, a sentence for each training.

    Args:
        results: Of recipes as they are now; under `SEEN` what `seen` found.
    """
    lines = []
    for names, seed, known, new in _both(results):
        less = known["accuracy"] - new["accuracy"]
        half = half_width(*((side["accuracy"], side["independent"]) for side in (known, new)))
        lines.append(
            f"{names}, seed {seed}: of {known['n']:,} that judge and are trained on as well it names {_said(known)} "
            f"rightly, of the {new['n']:,} others {_said(new)}: {less:+.2f} ({less - half:+.2f} to {less + half:+.2f})."
        )
    if not lines:
        return []
    head = (
        "How much of an accuracy is known by heart can be seen within one and the same training (95 % intervals, "
        "photographs that are not independent counted as fewer):"
    )
    return [filled(head), "", *(filled(line, bullet=True) for line in lines)]


def in_short(results: Mapping[str, Any]) -> str:
    """Return the same of the first such training in one sentence; empty where there is none."""
    for names, _, known, new in _both(results):
        return (
            f"Within one training ({names}) it names {_said(known)} of those rightly that it was trained on, and "
            f"{_said(new)} of the others."
        )
    return ""


def _both(results: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Yield the rows of a training, a seed, and its `SIDES`, where there are photographs of both."""
    for training in _of_copies():
        names = ", ".join(f"`{row.name}`" for row in ROWS if row.ours.name == training.name and row.part != "test")
        for seed, sides in results.get(SEEN, {}).get(training.name, {}).items():
            if set(sides) == set(SIDES):
                yield names, seed, sides[SIDES[0]], sides[SIDES[1]]


def _of_copies() -> Iterator[Training]:
    return (training for training in trainings() if on_both_sides(training.design))


def _judged(right: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    return {
        "n": len(right),
        "accuracy": float(right.mean()),
        "independent": round(independent(groups.tolist()), 1),
    }


def _said(side: Mapping[str, float]) -> str:
    n = side["independent"]
    apart = wilson(side["accuracy"] * n, n)
    return f"{side['accuracy']:.2f} ({apart.low:.2f} to {apart.high:.2f})"
