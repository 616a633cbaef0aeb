"""The steps of a run: each once, each resumable."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from melascope import environment
from melascope.audit import survey as look
from melascope.audit.protocol import Prepared, apply_protocol, leakage
from melascope.audit.provenance import flow_before, refuse_unusable
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
from melascope.datasets.fixed import own_parts, unknown_names
from melascope.progress import Progress
from melascope.training import continued, judge, run_page, tracking
from melascope.training import recipe as recipes
from melascope.training.fit_input import check_tune
from melascope.training.run_folder import STEPS, AsFound, RunFolder, write_text
from melascope.training.warm_start import refuse_other_backbone, warm_start

LOGGED = ("recipe.toml", "metrics.json", "model.melascope", "report.html")
"""The files that a tracker is given."""
SCORED = ("n_images", "accuracy", "balanced_accuracy", "groups", "alerts", "per_class", "too_few")
"""What of the headline's part a tracker is told; the rest stands in `metrics.json`."""


class Steps:
    """A run on its way: does the steps that are not done."""

    def __init__(
        self,
        out: str | os.PathLike[str],
        settings: dict[str, Any],
        resume: bool,
        progress: Progress,
        tensorboard: bool = False,
        mlflow: str | None = None,
        on_epoch: Callable[[dict[str, float]], None] | None = None,
    ) -> None:
        self.settings, self.progress, self.tensorboard = settings, progress, tensorboard
        self.recipe = recipes.parse(tomllib.loads(settings["recipe"]))
        self.threads = environment.threads()
        self.mlflow, self.on_epoch = mlflow, on_epoch
        self.tracker = tracking.Tracker()
        self._found = AsFound(out)
        self.folder = RunFolder.start(out, settings, resume)

    def go(self, until: str) -> RunFolder:
        """Do what is not done yet, in order, up to a step; return the folder."""
        name, state = self.folder.path.resolve().name, self.folder.file("mlflow.json")
        refused = self._found.if_refused(lambda: self.folder.done("data"))
        with refused, tracking.tracker(self.mlflow, run=name, state=state) as self.tracker:
            told = self.recipe.model_dump(mode="json", exclude={"expected"}, exclude_none=True)
            self.tracker.params({**self.settings, "recipe": told})
            for step in STEPS[: STEPS.index(until) + 1]:
                before = self.folder.done(step)
                if not before:
                    began = time.monotonic()
                    facts = getattr(self, f"_{step}")() or {}
                    self.folder.finish(step, time.monotonic() - began, **facts)
                if self.mlflow is not None:
                    self._log(step, before)
        return self.folder

    def _log(self, step: str, before: bool) -> None:
        """Have the tracker know what a finished step left: `--mlflow` may be new, or its server have been away.

        Args:
            step: Which.
            before: Whether an earlier command did it, so that the server may have it.
        """
        if step == "fit" and (history := self.folder.file("history.csv")).exists():
            for row in pd.read_csv(history).to_dict("records"):
                self.tracker.epoch({str(name): value for name, value in row.items()})
        elif step == "evaluate" and self.folder.file("metrics.json").exists():
            metrics = self.folder.read_json("metrics.json")
            part = metrics["parts"][metrics["headline"]]
            self.tracker.metrics({metrics["headline"]: {name: part[name] for name in SCORED if name in part}})
        elif step == "report":
            for path in map(self.folder.file, LOGGED):
                if path.exists():
                    self.tracker.file(path, known=before)

    def _data(self) -> dict[str, Any]:
        s = self.settings
        self._refuse_untaught()
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
        prepared = self._prepared(found)
        own, unused = (None, []) if s.get("parts") else own_parts(prepared.table, *self._without_parts())
        warnings = [*prepared.warnings, *check_trainable(prepared.table), *self._unknown_parts(found), *unused]
        if found.audited:
            refuse_unusable(found.audit.verdict, found.audit.reasons)
        if not found.audited:
            warnings.insert(0, "Unaudited: no refusal of the audit was heeded, and copies may not have been searched.")
        parts, told = self._parts(prepared, own)
        check_parts(parts.part, prepared.table, self._mend())
        frame = prepared.table.assign(part=parts.part)
        labels, rows = judge.labels_and_rows(frame, prepared.classes, parts.cross_fitted)
        check_tune(self.recipe, labels[rows["tune"]], prepared.classes)
        continued.begin_with(self.folder, self.recipe, prepared.classes, self.threads)  # refuses what does not fit
        continued.limited_by(self.folder, told)
        summary = look.write_audit(self.folder.path, found, prepared)
        before = flow_before(s["data"], len(found.scanned))
        summary.update(
            flow=[*before, *summary["flow"][1:]] if before else summary["flow"],
            warnings=[*told, *warnings],
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

    def _mend(self) -> str:
        """Return what helps where no photograph is left for a part."""
        s = self.settings
        more = "Add some, or raise --limit." if s["limit"] else "Add some."
        if not s.get("from") or s.get("parts"):
            return more
        keep = f"Those that {s['from']} knows keep the parts that they have there."
        return f"{keep} {more} Or leave --from out, to begin anew."

    def _refuse_untaught(self) -> None:
        """Refuse, before the photographs are read, a network that cannot begin with what it was given."""
        source = self.settings.get("from")
        if source:
            first = RunFolder.open(source)
            classes = first.read_json("audit.json")["classes"]
            refuse_other_backbone(continued.recipe_of(first).network.backbone, self.recipe, str(source))
            # At its best: of other diagnoses, still less would fit.
            warm_start(first.need("weights.npz"), str(source), self.recipe, True, len(classes), self.threads)
            return
        for name in (continued.RECORD, continued.WEIGHTS, continued.KNOWN):
            self.folder.file(name).unlink(missing_ok=True)  # of a killed start that had --from
        if self.recipe.schedule.frozen_epochs:
            from melascope.training import backend

            backend.load(self.threads)
            from melascope.training import networks

            networks.refuse_untaught(self.recipe)

    def _without_parts(self) -> list[str]:
        """Return what becomes of photographs without a part of their own, where that is not a division anew."""
        source = self.settings.get("from")
        return [f"so that those of {source} keep the parts that they have there, and only new ones get one"] * bool(
            source
        )

    def _unknown_parts(self, found: look.Survey) -> list[str]:
        """Tell of photographs that the file of parts names and the data do not have; of a draw most are missing."""
        named = self.settings.get("parts")
        told = unknown_names(fixed(named), found.scanned, str(named)) if named else []
        return [] if self.settings["limit"] else told

    def _prepared(self, found: look.Survey) -> Prepared:
        if self.settings["protocol"] != "as-published":
            return apply_protocol(found.scanned, found.audit, self.settings["protocol"])
        from melascope.audit.published import as_published

        filed = apply_protocol(found.scanned, found.audit, "as-filed")
        copied: Prepared = as_published(
            filed, self.folder.file("copies"), seed=self.settings["seed"], progress=self.progress
        )
        return copied

    def _parts(self, prepared: Prepared, own: pd.Series | None) -> tuple[SplitResult, list[str]]:
        """Return the parts, and sentences about how they came about; `own` are those of the table's own column."""
        s = self.settings
        rows = prepared.table
        before = continued.begin(s["from"], self.folder) if s.get("from") else None
        if s.get("parts"):
            told = fixed(s["parts"])
        elif own is not None:
            told = own.to_frame()  # a table that was split before, by data split
        elif before is not None:
            return continued.keep_parts(rows, before, s["seed"], prepared.split_group)
        else:
            return split(rows, seed=s["seed"], group=prepared.split_group), []
        parts = split_as_told(rows, told, allow_torn=bool(s.get("unaudited")))
        if before is not None:
            continued.refuse_known(rows, parts.part, before)
            return parts, before.sentences(len(rows), 0)
        return parts, []

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
        warm = continued.begin_with(self.folder, self.recipe, classes, self.threads)
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
            on_epoch=self._epoch,
            warm=warm,
        )
        run_page.training(self.folder, self.recipe, history, {name: len(rows[name]) for name in ("train", "tune")})
        return {"epochs": len(history), "images_per_second": _rate(history, len(rows["train"]))}

    def _epoch(self, row: dict[str, float]) -> None:
        self.tracker.epoch(row)
        if self.on_epoch is not None:
            self.on_epoch({**row, "epochs": self.recipe.schedule.epochs})

    def _export(self) -> dict[str, Any]:
        frame, packed = self._packed()
        return judge.export(self.folder, self.recipe, frame, packed, self.progress, self.threads)

    def _evaluate(self) -> dict[str, Any]:
        frame, packed = self._packed()
        return judge.evaluate(self.folder, self.recipe, frame, packed, self.progress, self.threads)

    def _report(self) -> dict[str, Any]:
        run_page.report(self.folder, self.recipe)
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
