"""The whole way: audit, split, pack, fit, export, judge, report; each step once, each resumable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from melascope.datasets import table
from melascope.errors import RunError
from melascope.progress import Progress, silent
from melascope.training import continued, run_page, settings
from melascope.training.locks import alone_in_out, at_work
from melascope.training.recipe import Recipe
from melascope.training.run_folder import RunFolder
from melascope.training.steps import Steps

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Run:
    """A run folder, opened: tables, metrics, report and bundle.

    Attributes:
        path: The folder.
        warnings: Sentences about the data that a person should read.
        unreadable: How many photographs could not be read.
        tracked: Where an MLflow that was logged to shows it: an address, or a command; None without one.
    """

    path: Path
    warnings: tuple[str, ...] = ()
    unreadable: int = 0
    _folder: RunFolder | None = field(default=None, repr=False, compare=False)
    tracked: str | None = None

    @property
    def folder(self) -> RunFolder:
        """The folder's record of steps and settings."""
        return self._folder or RunFolder.open(self.path)

    @property
    def table(self) -> pd.DataFrame:
        """The image table: every photograph used, with its part."""
        return table.load(self.folder.need("table.parquet"))

    @property
    def history(self) -> pd.DataFrame:
        """Loss, accuracy, balanced accuracy and melanoma AUC per epoch, on train and tune."""
        return pd.read_csv(self.folder.need("history.csv"))

    @property
    def predictions(self) -> pd.DataFrame:
        """Every prediction of the exported model."""
        return pd.read_parquet(self.folder.need("predictions.parquet"))

    @property
    def metrics(self) -> dict[str, Any]:
        """Everything that was measured; see docs/evaluation.md."""
        return dict(self.folder.read_json("metrics.json"))

    @property
    def bundle(self) -> Path:
        """The bundle, for `melascope.predict`."""
        return self.folder.need("model.melascope")

    @property
    def report(self) -> Path:
        """The page to read."""
        return self.folder.need("report.html")

    def summary(self) -> str:
        """Return the few lines that a person wants to read first."""
        return run_page.summary(self.folder)


@alone_in_out
def run(
    data: PathLike,
    out: PathLike,
    recipe: Recipe | PathLike | None = None,
    protocol: str = "clean",
    images: PathLike | None = None,
    authority: Sequence[PathLike] = (),
    spellings: Mapping[str, str] | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    audit: PathLike | None = None,
    parts: PathLike | None = None,
    unaudited: bool = False,
    from_run: PathLike | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    mlflow: str | None = None,
    until: str = "report",
    progress: Progress = silent,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Run:
    """Go the whole way from labelled photographs to a report and a bundle.

    Args:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table.
        out: The run folder; must be new, unless `resume`.
        recipe: A recipe, its name or a TOML file; without it that of the run to resume or of `from_run`, else
            `small-cnn`.
        protocol: `clean`, `as-filed` or `as-published`.
        images: Where the photographs are that a CSV names.
        authority: CSVs with official labels, lesion and patient ids.
        spellings: What unknown labels mean, label to code.
        epochs: Instead of the recipe's.
        limit: Use only so many photographs.
        seed: Of the split, the training and the intervals.
        audit: A folder in which `melascope data audit` has proved these very data; without it, they are audited here.
        parts: A fold file, or the name of one of ours such as `isic9-clean`; without it, they are split here.
        unaudited: Train on what the audit refuses, without looking for copies; every figure says so.
        from_run: A trained run to go on from: its weights are the first ones, and photographs keep the parts that
            they had there. Layers of another shape start anew.
        resume: Go on with the run in `out`.
        tensorboard: Write TensorBoard events.
        mlflow: The address of an MLflow server, or of a database such as `sqlite:///mlflow.db`, to log to.
        until: The last step to do: `data`, `pack`, `fit`, `export`, `evaluate` or `report`.
        progress: Called with the stage and how far it is.
        on_epoch: Called with each epoch's row of the history, and `epochs`, how many there shall be.

    A run that is refused before its first step is done leaves `out` as it was found.

    Raises:
        DataError, RecipeError, RunError, BundleError: Each with one sentence.

    Example:
        >>> run = melascope.run("photographs", out="RUN")
        >>> run.metrics["parts"]["test"]["groups"]["melanoma"]["auc"]
    """
    if resume and from_run is None:
        from_run = settings.begun_from(out)
    asks = recipe is None or from_run is not None
    before = settings.continued_recipe(out, from_run) if resume and asks else None
    if recipe is None:
        recipe = before
    asked = settings.resolve(
        data=data,
        recipe=recipe,
        protocol=protocol,
        images=images,
        authority=authority,
        spellings=spellings,
        epochs=epochs,
        limit=limit,
        seed=seed,
        audit=audit,
        parts=parts,
        unaudited=unaudited,
        from_run=from_run,
        begun=before is not None,
    )
    steps = Steps(out, asked, resume, progress, tensorboard, mlflow, on_epoch)
    folder = steps.go(until)
    lost = (steps.tracker.trouble,) if steps.tracker.trouble else ()
    warnings = (*folder.read_json("audit.json")["warnings"], *continued.layers_anew(folder), *lost)
    return Run(folder.path, warnings, folder.state["data"]["unreadable"], folder, steps.tracker.look)


def train(data: PathLike, out: PathLike, progress: Progress = silent, **options: Any) -> Run:
    """Go as far as the trained weights; the test part stays closed. Arguments are those of `run`."""
    return run(data, out, until="fit", progress=progress, **options)


def export(run: PathLike | Run, progress: Progress = silent) -> Path:
    """Export and calibrate a trained run as `model.melascope`; the test part stays closed.

    Raises:
        RunError: When the run is not trained yet.
        BundleError: When the exported network differs from the trained one.
    """
    folder = RunFolder.open(run.path if isinstance(run, Run) else run)
    if not folder.done("fit"):
        raise RunError(f"{folder.path} is not trained yet. Go on with it by melascope train ... --resume.")
    with at_work(folder.path, movable=False):
        return Steps(folder.path, folder.settings, True, progress).go("export").need("model.melascope")


def open_run(path: PathLike) -> Run:
    """Open a run folder.

    Raises:
        RunError: When there is none.
    """
    folder = RunFolder.open(path)
    return Run(folder.path, _folder=folder)


__all__ = ["Run", "export", "open_run", "run", "train"]
