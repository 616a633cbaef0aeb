"""Judging a bundle on a data set that it was not made from: every photograph counts as test."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import environment
from melascope.audit import survey as look
from melascope.audit.protocol import apply_protocol
from melascope.bundle import Bundle, Predictor, default_bundle, load_bundle
from melascope.bundle.trained_on import SAME_PHOTOGRAPH
from melascope.evaluation.decisions import with_decisions
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.findings import headline, remarks
from melascope.evaluation.predictions import mark_trained_on, predict_table
from melascope.evaluation.skin_tones import with_skin_tone
from melascope.evaluation.sources import Remembering, worth_telling
from melascope.progress import Progress, silent

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Exam:
    """What came out.

    Attributes:
        metrics: As in `metrics.json`.
        predictions: A row per photograph.
        unreadable: How many photographs could not be read.
        report: The page, where one was written.
    """

    metrics: dict[str, Any]
    predictions: pd.DataFrame
    unreadable: int
    report: Path | None = None

    def summary(self) -> str:
        """Return the few lines that a person wants to read first."""
        lines = headline(self.metrics)
        if self.report is not None:
            lines.append(f"Report: {self.report}")
        return "\n".join(lines)


def evaluate_data(
    data: PathLike,
    bundle: Bundle | PathLike | None = None,
    out: PathLike | None = None,
    images: PathLike | None = None,
    authority: Sequence[PathLike] = (),
    spellings: Mapping[str, str] | None = None,
    protocol: str = "clean",
    prevalence: float | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Exam:
    """Judge a bundle on labelled photographs.

    Photographs that the bundle was trained on (the same bytes, or the same
    picture re-encoded) are counted and left out of the headline.

    Args:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table.
        bundle: The bundle; None for the installed model.
        out: Folder for `metrics.json`, `predictions.parquet` and `report.html`.
        images: Where the photographs are that a CSV names.
        authority: CSVs with official labels, lesion and patient ids.
        spellings: What unknown labels mean, label to code.
        protocol: Which rows count.
        prevalence: Of melanoma, for PPV and NPV.
        seed: Of the bootstrap.
        progress: Called with the stage and how far it is.

    Raises:
        DataError, BundleError: Each with one sentence.
    """
    if bundle is None:
        bundle = default_bundle()
    model = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    found = look.survey(data, images, authority, spellings, progress=progress)
    # A test is taken as it is: no part of this set trains anything, so a Train folder is test too.
    flat = found.scanned.assign(split=pd.array([pd.NA] * len(found.scanned), dtype="string"))
    prepared = apply_protocol(flat, found.audit, protocol)
    table = prepared.table.assign(part="test")
    predictor = Predictor(model, environment.threads())
    looking = Remembering(predictor, worth_telling(table, seed))
    predictions = with_skin_tone(predict_table(looking, table, progress), progress)
    predictions = with_decisions(predictor, predictions, progress)
    if model.trained_on is not None:
        hashes = np.frombuffer(bytes.fromhex("".join(table["phash"])), np.uint8).reshape(-1, 32)
        predictions = mark_trained_on(predictions, model.trained_on, hashes, SAME_PHOTOGRAPH)
    metrics = evaluate(
        predictions,
        model.decision,
        model={"name": model.decision["name"], "version": model.decision["version"], "sha256": model.identity},
        protocol=prepared.name,
        audited=True,
        flow=look.flow(prepared),
        prevalence=prevalence,
        embeddings=looking.embeddings,
        seed=seed,
        progress=progress,
    )
    report = None
    if out is not None:
        report = _write(Path(out), Path(data), metrics, predictions, table, found, prepared)
    return Exam(metrics, predictions, found.unreadable, report)


def _write(
    folder: Path,
    data: Path,
    metrics: dict[str, Any],
    predictions: pd.DataFrame,
    table: pd.DataFrame,
    found: look.Survey,
    prepared: Any,
) -> Path:
    from melascope.reports import RunReport, run_report

    folder.mkdir(parents=True, exist_ok=True)
    audit = look.write_audit(folder, found, prepared)
    partial = folder / ".partial"
    predictions.to_parquet(partial, index=False)
    partial.replace(folder / "predictions.parquet")
    page = run_report(
        RunReport(
            title=f"{metrics['model']['name']} on {data.name}",
            metrics=metrics,
            audit=audit,
            problems=found.audit.problems,
            flow=metrics["flow"],
            remarks=remarks(metrics, None, audit),
            table=table,
            predictions=predictions,
            picture=look.picture,
            environment=environment.describe(),
        )
    )
    for name, text in (("metrics.json", json.dumps(metrics, indent=1, allow_nan=False)), ("report.html", page)):
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
    return folder / "report.html"
