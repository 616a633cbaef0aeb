"""The demo: the main job on generated lesions, by the same code as on real ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melascope.bundle import Predictor, load_bundle, write_overlays
from melascope.finding import Finding
from melascope.images.synthetic_set import write_dataset
from melascope.progress import Progress, silent
from melascope.training.run import Run, run

PHOTOGRAPHS = 1500


@dataclass(frozen=True)
class Demo:
    """What the demo made: the run, findings for a few test photographs, and their heat maps' folder."""

    run: Run
    findings: list[Finding]
    heatmaps: Path


def demo(
    out: str | os.PathLike[str] = "demo",
    seed: int = 0,
    photographs: int = PHOTOGRAPHS,
    epochs: int | None = None,
    progress: Progress = silent,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Demo:
    """Draw lesions, then train, judge, export and use a detector for them.

    The drawn set has planted faults (a copy in Train and Test, an id under two
    diagnoses, unreadable files), so that the audit has something to find.

    Args:
        out: Folder for everything; a demo that was stopped goes on there.
        seed: Of the drawing and the training.
        photographs: How many to draw.
        epochs: Instead of the recipe's.
        progress: Called with the stage and how far it is.
        on_epoch: Called with each epoch's row of the history.
    """
    folder = Path(out)
    drawn = folder / "generated-lesions"
    if not (drawn / "planted.json").exists():
        write_dataset(drawn, photographs=photographs, seed=seed, progress=progress)
    result = run(
        drawn,
        out=folder / "run",
        authority=[drawn / "metadata.csv"],
        recipe="demo",
        seed=seed,
        epochs=epochs,
        resume=(folder / "run" / "run.json").exists(),
        progress=progress,
        on_epoch=on_epoch,
    )
    predictor = Predictor(load_bundle(result.bundle))
    findings = list(predictor.predict(_some(result.table), heatmaps=True))
    write_overlays(findings, predictor.bundle.geometry, folder / "heatmaps")
    return Demo(run=result, findings=findings, heatmaps=folder / "heatmaps")


def _some(table: pd.DataFrame, each: int = 2) -> list[str]:
    """Return paths of the first few test photographs of each diagnosis."""
    test = table[table["part"] == "test"]
    return [str(path) for path in test.groupby("diagnosis", sort=False).head(each)["path"]]
