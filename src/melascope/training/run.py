"""The whole way: audit, split, pack, fit, export, judge, report; each step once, each resumable."""

from __future__ import annotations

import contextlib
import os
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import environment
from melascope.audit import survey as look
from melascope.audit.protocol import Prepared, apply_protocol, leakage
from melascope.audit.provenance import refuse_unusable
from melascope.datasets import (
    Pack,
    SplitResult,
    check_parts,
    check_trainable,
    fixed,
    lesion_counts,
    pack,
    split,
    split_as_told,
    table,
)
from melascope.datasets.fixed import FIXED
from melascope.datasets.split import PARTS
from melascope.errors import RunError
from melascope.progress import Progress, silent
from melascope.training import checkpoint, judge
from melascope.training import recipe as recipes
from melascope.training.run_folder import RunFolder, write_text

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Run:
    """A run folder, opened: tables, metrics, report and bundle.

    Attributes:
        path: The folder.
        warnings: Sentences about the data that a person should read.
        unreadable: How many photographs could not be read.
    """

    path: Path
    warnings: tuple[str, ...] = ()
    unreadable: int = 0
    _folder: RunFolder | None = field(default=None, repr=False, compare=False)

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
        return judge.summary(self.folder)


def run(
    data: PathLike,
    out: PathLike,
    recipe: str | os.PathLike[str] = "small-cnn",
    protocol: str = "clean",
    images: PathLike | None = None,
    authority: Sequence[PathLike] = (),
    spellings: Mapping[str, str] | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    audit: PathLike | None = None,
    parts: str | os.PathLike[str] | None = None,
    unaudited: bool = False,
    resume: bool = False,
    tensorboard: bool = False,
    progress: Progress = silent,
) -> Run:
    """Go the whole way from labelled photographs to a report and a bundle.

    Args:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table.
        out: The run folder; must be new, unless `resume`.
        recipe: A recipe's name or a TOML file.
        protocol: `clean` or `as-filed`.
        images: Where the photographs are that a CSV names.
        authority: CSVs with official labels, lesion and patient ids.
        spellings: What unknown labels mean, label to code.
        epochs: Instead of the recipe's.
        limit: Use only so many photographs.
        seed: Of the split, the training and the intervals.
        audit: A folder in which `melascope data audit` has proved these very data; without it, they are audited here.
        parts: A fold file, or the name of one of ours such as `isic9-clean`; without it, they are split here.
        unaudited: Train on what the audit refuses, without looking for copies; every figure says so.
        resume: Go on with the run in `out`.
        tensorboard: Write TensorBoard events.
        progress: Called with the stage and how far it is.

    Raises:
        DataError, RecipeError, RunError, BundleError: Each with one sentence.

    Example:
        >>> run = melascope.run("photographs", out="RUN")
        >>> run.metrics["parts"]["test"]["groups"]["melanoma"]["auc"]
    """
    settings = _settings(
        data, recipe, protocol, images, authority, spellings, epochs, limit, seed, audit, parts, unaudited
    )
    started = _Started(out, settings, resume, tensorboard, progress)
    return started.go(("data", "pack", "fit", "export", "evaluate", "report"))


def train(data: PathLike, out: PathLike, progress: Progress = silent, **options: Any) -> Run:
    """Go as far as the trained weights; the test part stays closed. Arguments are those of `run`."""
    resume, tensorboard = options.pop("resume", False), options.pop("tensorboard", False)
    defaults = {
        "recipe": "small-cnn",
        "protocol": "clean",
        "images": None,
        "authority": (),
        "spellings": None,
        "epochs": None,
        "limit": None,
        "seed": 0,
        "audit": None,
        "parts": None,
        "unaudited": False,
    }
    settings = _settings(data, **{name: options.pop(name, value) for name, value in defaults.items()})
    if options:
        raise TypeError(f"train() has no argument {', '.join(options)}")
    return _Started(out, settings, resume, tensorboard, progress).go(("data", "pack", "fit"))


def export(run: PathLike | Run, progress: Progress = silent) -> Path:
    """Export and calibrate a trained run as `model.melascope`; the test part stays closed.

    Raises:
        RunError: When the run is not trained yet.
        BundleError: When the exported network differs from the trained one.
    """
    folder = RunFolder.open(run.path if isinstance(run, Run) else run)
    if not folder.done("fit"):
        raise RunError(f"{folder.path} is not trained yet. Go on with it by melascope train ... --resume.")
    started = _Started(folder.path, folder.settings, True, False, progress)
    return started.go(("export",)).bundle


def open_run(path: PathLike) -> Run:
    """Open a run folder.

    Raises:
        RunError: When there is none.
    """
    folder = RunFolder.open(path)
    return Run(folder.path, _folder=folder)


def _settings(
    data: PathLike,
    recipe: str | os.PathLike[str],
    protocol: str,
    images: PathLike | None,
    authority: Sequence[PathLike],
    spellings: Mapping[str, str] | None,
    epochs: int | None,
    limit: int | None,
    seed: int,
    audit: PathLike | None = None,
    parts: str | os.PathLike[str] | None = None,
    unaudited: bool = False,
) -> dict[str, Any]:
    """Return what decides a run, JSON-ready; the recipe and its weights are checked before any work."""
    resolved = recipes.load(recipe)
    if parts is not None:
        fixed(parts)  # a misspelt file is told before the photographs are read
    if resolved.network.weights is not None:
        checkpoint.read(resolved.network.weights)
    if epochs is not None:
        # A short try with a long recipe: its warm-up must leave something to train.
        warmup = min(resolved.schedule.warmup_epochs, epochs / 4)
        resolved = resolved.replace(schedule={"epochs": epochs, "warmup_epochs": warmup})
    return {
        "data": str(Path(data).resolve()),
        "images": None if images is None else str(Path(images).resolve()),
        "authority": [str(Path(path).resolve()) for path in authority],
        "spellings": dict(spellings or {}),
        "protocol": protocol,
        "recipe": resolved.dumps(),
        "limit": limit,
        "seed": seed,
        "audit": None if audit is None else str(Path(audit).resolve()),
        "parts": None if parts is None else str(parts) if str(parts) in FIXED else str(Path(parts).resolve()),
        "unaudited": unaudited,
    }


class _Started:
    """A run on its way: does the steps that are not done."""

    def __init__(
        self, out: PathLike, settings: dict[str, Any], resume: bool, tensorboard: bool, progress: Progress
    ) -> None:
        self.folder = RunFolder.start(out, settings, resume)
        self.settings, self.progress, self.tensorboard = settings, progress, tensorboard
        self.recipe = recipes.parse(tomllib.loads(settings["recipe"]))
        self.threads = environment.threads()

    def go(self, steps: Sequence[str]) -> Run:
        for step in steps:
            if not self.folder.done(step):
                with self._timed(step) as facts:
                    facts.update(getattr(self, f"_{step}")() or {})
        audit = self.folder.read_json("audit.json")
        warnings = tuple(audit["warnings"]) if "data" in steps else ()
        return Run(self.folder.path, warnings, self.folder.state["data"]["unreadable"], self.folder)

    @contextlib.contextmanager
    def _timed(self, step: str) -> Iterator[dict[str, Any]]:
        facts: dict[str, Any] = {}
        began = time.monotonic()
        yield facts
        self.folder.finish(step, time.monotonic() - began, **facts)

    def _data(self) -> dict[str, Any]:
        s = self.settings
        found = look.survey(
            s["data"],
            s["images"],
            s["authority"],
            s["spellings"],
            s["limit"],
            s["seed"],
            looking=look.Looking(audit=s.get("audit"), audited=not s.get("unaudited")),
            progress=self.progress,
        )
        prepared = apply_protocol(found.scanned, found.audit, s["protocol"])
        warnings = [*prepared.warnings, *check_trainable(prepared.table)]
        if found.audited:
            refuse_unusable(found.audit.verdict, found.audit.reasons)
        if not found.audited:
            warnings.insert(0, "Unaudited: no refusal of the audit was heeded, and copies may not have been searched.")
        parts = self._parts(prepared)
        check_parts(parts.part, prepared.table)
        frame = prepared.table.assign(part=parts.part)
        summary = look.write_audit(self.folder.path, found, prepared)
        summary.update(
            warnings=warnings,
            classes=list(prepared.classes),
            cross_fitted=parts.cross_fitted,
            lesions=lesion_counts(frame),
            found=len(found.scanned),
            limited=s["limit"],
            leak=leakage(frame, parts.part),
        )
        self.folder.write_json("audit.json", summary)
        table.save(frame, self.folder.file("table.parquet"))
        table.save(found.scanned, self.folder.file("scanned.parquet"))
        write_text(self.folder.file("recipe.toml"), s["recipe"])
        self.folder.write_json("environment.json", environment.describe())
        return {"photographs": len(frame), "unreadable": found.unreadable}

    def _parts(self, prepared: Prepared) -> SplitResult:
        s = self.settings
        rows = prepared.table
        if s.get("parts"):
            told = fixed(s["parts"])
        elif "part" in rows and rows["part"].isin(PARTS).all():
            told = rows[["part"]]  # a table that was split before, by data split
        else:
            return split(rows, seed=s["seed"], group=prepared.split_group)
        return split_as_told(rows, told, allow_torn=bool(s.get("unaudited")))

    def _packed(self) -> tuple[pd.DataFrame, Pack]:
        frame = table.load(self.folder.need("table.parquet"))
        packed = pack(
            frame, self.recipe.geometry, environment.cache_folder(), threads=self.threads, progress=self.progress
        )
        return frame, packed

    def _pack(self) -> None:
        self._packed()

    def _fit(self) -> dict[str, Any]:
        from melascope.training.fit import fit

        frame, packed = self._packed()
        audit = self.folder.read_json("audit.json")
        classes = tuple(audit["classes"])
        labels, rows = judge.labels_and_rows(frame, classes, audit["cross_fitted"])
        history = fit(
            self.recipe,
            packed.images,
            labels,
            rows["train"],
            rows["tune"],
            classes,
            self.folder.path,
            seed=self.settings["seed"],
            resume=True,
            progress=self.progress,
            threads=self.threads,
            tensorboard=self.tensorboard,
        )
        return {"epochs": len(history), "images_per_second": _rate(history, len(rows["train"]))}

    def _export(self) -> dict[str, Any]:
        frame, packed = self._packed()
        return judge.export(self.folder, self.recipe, frame, packed, self.progress, self.threads)

    def _evaluate(self) -> dict[str, Any]:
        frame, packed = self._packed()
        return judge.evaluate(self.folder, self.recipe, frame, packed, self.progress, self.threads)

    def _report(self) -> dict[str, Any]:
        judge.report(self.folder, self.recipe)
        return {"peak_memory_gb": _peak_memory()}


def _rate(history: pd.DataFrame, photographs: int) -> float | None:
    seconds = float(np.nanmedian(history["seconds"])) if len(history) else 0.0
    return round(photographs / seconds, 1) if seconds > 0 else None


def _peak_memory() -> float | None:
    """Return the largest memory that this process and its children used so far, in GB."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 2**30 if os.uname().sysname == "Darwin" else 2**20
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(max(peaks) / unit, 2)


__all__ = ["Run", "export", "open_run", "run", "train"]
