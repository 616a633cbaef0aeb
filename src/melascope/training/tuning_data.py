"""The photographs of a tuning: the parts train and tune; calibrate and Test stay closed and are not even packed."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import diagnosis
from melascope.audit import survey as look
from melascope.audit.protocol import apply_protocol
from melascope.audit.provenance import refuse_unusable
from melascope.counted import plural
from melascope.datasets import check_trainable, fixed, folds, origins, split, split_as_told, table
from melascope.datasets.fixed import own_parts
from melascope.errors import DataError, RunError
from melascope.evaluation.cross_validated import of_sources
from melascope.evaluation.support import Support, support
from melascope.progress import Progress
from melascope.training import recipe as recipes
from melascope.training import search_section
from melascope.training.backbone_names import NO_FILES
from melascope.training.run_folder import changes, write_text
from melascope.training.search_space import Space

RECORD = "tuning.json"
"""What was asked for and what the data are; written when both are settled."""


@dataclass(frozen=True)
class Task:
    """What the trials of a tuning have in common.

    Attributes:
        folder: Of the tuning.
        settings: What was asked for, JSON-ready.
        facts: About the data: `classes`, `protocol` (by its full name), `photographs`, `groups`, `test_left_out`,
            `calibrate_left_out`, `audited`, `sources` (how many are known), `too_few` (scores that too few lesions
            stand behind), `warnings`; `weights`, the sha256 of each file that `network.weights` names, by its path.
        space: What is searched.
        table: The photographs of the parts train and tune.
        mark: A digest of all that decides a score.
    """

    folder: Path
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    space: Space
    table: pd.DataFrame
    mark: str

    @property
    def name(self) -> str:
        """The name of the study: another task has another one, also in one database."""
        return f"melascope-{self.mark[:24]}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Codes of the diagnoses."""
        return tuple(self.facts["classes"])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Indices `(n,)` into the classes."""
        place = {code: i for i, code in enumerate(self.classes)}
        return np.array([place[code] for code in self.table["diagnosis"]], dtype=np.int64)

    @property
    def groups(self) -> NDArray[np.object_]:
        """Names `(n,)` of what stays in one fold."""
        return self.table["tuning_group"].to_numpy(dtype=object)


def refuse_foreign(folder: Path) -> None:
    """Raise RunError when a folder holds other files and no tuning."""
    if not folder.is_dir() or (folder / RECORD).exists():
        return
    # A tuning that was stopped while it read its data has its table, at most.
    others = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if set(others) - {"table.parquet"}:
        raise RunError(f"{folder} is not empty and holds no tuning. Choose another folder with --out.")


def start(folder: Path, settings: Mapping[str, Any], progress: Progress) -> Task:
    """Open the tuning in a folder, or prepare the data and begin it.

    Raises:
        DataError: When the data cannot be used.
        RunError: When the folder holds a tuning with other settings, or of other weights.
    """
    weights = _weights(settings)
    if (folder / RECORD).exists():
        task = open_task(folder)
        told = changes({key: task.settings.get(key) for key in settings}, settings)
        if told:
            raise RunError(
                f"{folder} was started with other settings ({told}). Ask for the same, or begin anew with --out."
            )
        _refuse_other_weights(task, weights)
        return task
    frame, facts = _photographs(settings, progress)
    facts["weights"] = weights
    folder.mkdir(parents=True, exist_ok=True)
    table.save(frame, folder / "table.parquet")
    record = {"schema": 1, "settings": dict(settings), "facts": facts, "mark": _mark(settings, facts, frame)}
    write_text(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False))
    return open_task(folder)


def open_task(folder: Path) -> Task:
    """Open the tuning in a folder; raises RunError where there is none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        settings, facts, mark = record["settings"], record["facts"], record["mark"]
    except FileNotFoundError:
        raise RunError(f"{folder} holds no tuning. Begin one with: melascope tune DATA --recipe FILE") from None
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{folder / RECORD} is damaged. Begin anew in another folder.") from None
    base = recipes.parse(tomllib.loads(settings["recipe"]), str(folder))
    space = search_section.parse(settings["search"], base, str(folder))
    return Task(folder, settings, facts, space, table.load(folder / "table.parquet"), mark)


def _photographs(settings: Mapping[str, Any], progress: Progress) -> tuple[pd.DataFrame, dict[str, Any]]:
    s = settings
    found = look.survey(
        s["data"], s["images"], s["authority"], s["spellings"], s["limit"], s["seed"],
        looking=look.Looking(audit=s["audit"], audited=not s["unaudited"]), progress=progress,
    )  # fmt: skip
    prepared = apply_protocol(found.scanned, found.audit, s["protocol"])
    warnings = [*prepared.warnings, *check_trainable(prepared.table)]
    if found.audited:
        refuse_unusable(found.audit.verdict, found.audit.reasons)
    rows = prepared.table
    own, unused = (None, []) if s["parts"] else own_parts(rows)
    warnings += unused
    if s["parts"] or own is not None:
        told = fixed(s["parts"]) if own is None else own.to_frame()
        part = split_as_told(rows, told, allow_torn=s["unaudited"]).part
    else:
        # The split that `melascope run` makes with this seed, so that its Test part is left out here too.
        part = split(rows, seed=s["seed"], group=prepared.split_group).part
    # Thresholds must not be set on photographs that chose the recipe. A set too small for that shares one part.
    shared = not (part == "tune").any()
    closed = {"test"} if shared else {"test", "calibrate"}
    kept = rows[~part.isin(closed).to_numpy(dtype=bool)].reset_index(drop=True)
    if shared:
        warnings.append("The set is too small for a part of its own to choose by; what calibrates chooses too.")
    together = prepared.split_group
    names = kept[together].astype(str) if together else pd.Series(map(str, range(len(kept))))
    kept = kept.assign(tuning_group=names.to_numpy(dtype=object))
    classes = list(prepared.classes)
    _check_folds(kept, classes, s["folds"], s["seed"], s["score"])
    behind = _support(kept, classes, s["folds"], s["seed"])
    warnings += behind.notes([s["score"]])
    sources = int(origins(kept).nunique())
    if s["score"] == "melanoma_auc":
        warnings += of_sources({"sources": sources})
    facts = {
        "classes": classes,
        "sources": sources,
        "photographs": len(kept),
        "groups": int(kept["tuning_group"].nunique()),
        "test_left_out": int((part == "test").sum()),
        "calibrate_left_out": 0 if shared else int((part == "calibrate").sum()),
        "unreadable": found.unreadable,
        "protocol": prepared.name,
        "audited": found.audited,
        "optimistic": bool(getattr(prepared, "optimistic", False)),
        "too_few": list(behind.too_few),
        "warnings": warnings,
    }
    return kept, facts


def _support(rows: pd.DataFrame, classes: list[str], k: int, seed: int) -> Support:
    labels = np.array([classes.index(code) for code in rows["diagnosis"]], dtype=np.int64)
    fold = folds(rows.assign(group=rows["tuning_group"]), k, seed).to_numpy(dtype=np.int64)
    return support(labels, rows["tuning_group"].to_numpy(dtype=object), fold, classes)


def _check_folds(rows: pd.DataFrame, classes: list[str], k: int, seed: int, score: str) -> None:
    """Refuse at once folds in which the score is no number."""
    fold = folds(rows.assign(group=rows["tuning_group"]), k, seed)
    if score != "melanoma_auc":
        return
    melanoma = rows["diagnosis"].isin(diagnosis.GROUPS["melanoma"])
    for number in range(k):
        here = melanoma[fold == number]
        if here.all() or not here.any():
            raise DataError(
                f"Fold {number + 1} of {k} does not hold both melanomas and other diagnoses "
                f"({plural(int(melanoma.sum()), 'melanoma')} in all), so it has no melanoma AUC. "
                "Take fewer --folds or another --score."
            )


def _weights(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 of each file of weights, by its path: the same name may hold other weights another day."""
    named = [tomllib.loads(settings["recipe"]).get("network", {}).get("weights")]
    told = settings["search"].get("network.weights", [])
    named += told.get("choices", []) if isinstance(told, Mapping) else told
    found: dict[str, str] = {}
    for name in named:
        if not isinstance(name, str) or name in NO_FILES:
            continue
        try:
            with Path(name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise RunError(f"network.weights: {name} cannot be read ({error.strerror}).") from None
    return found


def _refuse_other_weights(task: Task, weights: Mapping[str, str]) -> None:
    """Refuse to go on with other weights under the same name; an earlier version did not remember which they were."""
    then = task.facts.get("weights", {})
    changed = [name for name in then if weights.get(name) != then[name]]
    if changed:
        raise RunError(
            f"network.weights: {changed[0]} holds other weights than when {task.folder} was begun. Put the former file "
            "back, or begin anew with --out."
        )


def _mark(settings: Mapping[str, Any], facts: Mapping[str, Any], frame: pd.DataFrame) -> str:
    """Return a digest of what decides a score; where the files lie does not."""
    decides = {key: settings[key] for key in ("recipe", "search", "folds", "score", "seed", "protocol")}
    rows = frame[["sha256", "diagnosis", "tuning_group"]].astype(str).to_numpy().tolist()
    told = [decides, facts["classes"], rows]
    for name, digest in facts["weights"].items():
        decides["recipe"] = decides["recipe"].replace(json.dumps(name, ensure_ascii=False), json.dumps(digest))
        decides["search"] = _renamed(decides["search"], name, digest)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _renamed(value: Any, old: str, new: str) -> Any:
    """Return a nested value in which one text is another."""
    if isinstance(value, Mapping):
        return {key: _renamed(below, old, new) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(below, old, new) for below in value]
    return new if value == old else value
