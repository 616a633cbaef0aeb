"""A folder for trainings that are compared: what was asked, and the photographs that all of them share.

The same command goes on where it was stopped. The photographs are read and
audited once; those of the test part are closed here and stay so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import environment
from melascope.audit import survey as look
from melascope.audit.protocol import WITH_COPIES, apply_protocol
from melascope.audit.provenance import refuse_unusable
from melascope.counted import plural
from melascope.datasets import check_trainable, fixed, lesion_counts, origins, pack, table
from melascope.datasets.fixed import FIXED
from melascope.errors import DataError, RunError
from melascope.progress import Progress, silent
from melascope.training.closed import OWN, without_test
from melascope.training.recipe import Recipe
from melascope.training.run_folder import AsFound, changes, write_text

PathLike = str | os.PathLike[str]

SCHEMA = 1
MATERIAL = "material.json"
"""What is told of the photographs; there when they are read and audited."""


@dataclass(frozen=True)
class Reading:
    """Which photographs, and how they are read; the options of `melascope run` of the same names.

    Attributes:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table.
        protocol: `clean` or `as-filed`.
        images: Where the photographs are that a CSV names.
        authority: CSVs with official labels, lesion and patient ids.
        spellings: What unknown labels mean, label to code.
        limit: Use only so many photographs.
        seed: Of that draw.
        audit: A folder in which `melascope data audit` has proved these data.
        parts: A fold file: its part `test` is closed, its folds are used as they are. `table` uses the folds of the
            table's own column `fold`; a `part` of the table is heeded always.
        unaudited: Use what the audit refuses.
    """

    data: PathLike
    protocol: str = "clean"
    images: PathLike | None = None
    authority: Sequence[PathLike] = ()
    spellings: Mapping[str, str] | None = None
    limit: int | None = None
    seed: int = 0
    audit: PathLike | None = None
    parts: PathLike | None = None
    unaudited: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what decides which photographs are used."""
        return {
            "data": str(Path(self.data).resolve()),
            "protocol": self.protocol,
            "images": None if self.images is None else str(Path(self.images).resolve()),
            "authority": [str(Path(path).resolve()) for path in self.authority],
            "spellings": dict(self.spellings or {}),
            "limit": self.limit,
            "audit": None if self.audit is None else str(Path(self.audit).resolve()),
            "parts": None
            if self.parts is None
            else str(self.parts)
            if str(self.parts) in (*FIXED, OWN)
            else str(Path(self.parts).resolve()),
            "unaudited": self.unaudited,
        }

    def words(self) -> list[str]:
        """Return the options as a command has them."""
        told = self.to_json()
        words = [told["data"]]
        for path in told["authority"]:
            words += ["--authority", path]
        for label, code in told["spellings"].items():
            words += ["--spelling", f"{label}={code}"]
        for name in ("images", "limit", "audit", "parts"):
            if told[name] is not None:
                words += [f"--{name}", str(told[name])]
        words += ["--unaudited"] if self.unaudited else []
        return [*words, "--protocol", self.protocol]


@dataclass(frozen=True)
class Material:
    """The photographs of an experiment.

    Attributes:
        table: A row per photograph, those of the test part left out; with `fold` where it was fixed.
        told: `protocol, audited, optimistic, by_group, grouped, torn, folds_from, classes, closed, found, unreadable,
            limited, flow, warnings`; `closed` counts the photographs of the test part, `torn` the groups that fixed
            folds tear apart; `by_group` whether the protocol has groups, `grouped` whether they also stay whole.
    """

    table: pd.DataFrame
    told: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Codes of the diagnoses, in the order of the labels."""
        return tuple(self.told["classes"])

    @property
    def labels(self) -> NDArray[np.int64]:
        """`(n,)` indices into the classes."""
        place_of = {code: i for i, code in enumerate(self.classes)}
        labels: NDArray[np.int64] = np.asarray(self.table["diagnosis"].map(place_of), dtype=np.int64)
        return labels

    @property
    def groups(self) -> NDArray[np.object_]:
        """`(n,)` names of what stays whole; without groups each photograph, with the copies made of it to balance."""
        if self.told.get("by_group", self.told["grouped"]):
            return self.table["group"].to_numpy(dtype=object)
        if WITH_COPIES in self.table.columns:
            return self.table[WITH_COPIES].to_numpy(dtype=object)
        again = self.table.groupby("image_id").cumcount().astype(str)
        return (self.table["image_id"].astype(str) + "#" + again).to_numpy(dtype=object)

    @property
    def facts(self) -> dict[str, Any]:
        """What a result says of the photographs; docs/cross_validation.md lists it."""
        names = ("protocol", "audited", "optimistic", "grouped", "classes", "closed", "limited")
        return {
            **{name: self.told[name] for name in names},
            "torn": self.told.get("torn", 0),
            "by_group": self.told.get("by_group", self.told["grouped"]),
            "fixed_folds": self.told.get("folds_from"),
            "photographs": len(self.table),
            "groups": len(set(self.groups)),
            "lesions": lesion_counts(self.table),
            "sources": int(origins(self.table).nunique()),
        }

    def images(self, recipe: Recipe, progress: Progress = silent) -> NDArray[np.uint8]:
        """Return the photographs `(n, h, w, 3)` uint8 as a recipe takes them, packed."""
        threads = environment.threads()
        packed = pack(self.table, recipe.geometry, environment.cache_folder(), threads=threads, progress=progress)
        images: NDArray[np.uint8] = packed.images
        return images


class Experiment:
    """The folder of an experiment.

    Args:
        out: The folder.
        kind: `cross-validation` or `learning-curve`.
        settings: What decides all trainings; a folder begun with others is refused.
        reading: Which photographs.

    Raises:
        RunError: When the folder holds something else.
    """

    def __init__(self, out: PathLike, kind: str, settings: Mapping[str, Any], reading: Reading) -> None:
        self.path, self.reading = Path(out), reading
        self._found = AsFound(out)
        whole = {"schema": SCHEMA, "kind": kind, "settings": {**reading.to_json(), **settings}}
        record = self.path / "experiment.json"
        if record.exists() and (self.path / MATERIAL).exists():
            _refuse_other(self.path, record, whole)
        elif record.exists():  # killed while it read the photographs: begun anew
            _refuse_other(self.path, record, {**whole, "settings": None})
            self.write_json("experiment.json", whole)
        elif self.path.is_file():
            raise RunError(f"{self.path} is a file; --out needs a folder.")
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(f"{self.path} is not empty and holds no {kind}. Choose another folder with --out.")
        else:
            if reading.parts not in (None, OWN):
                fixed(reading.parts)  # a misspelt file is told before anything is made
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_json("experiment.json", whole)

    def if_refused(self) -> AbstractContextManager[None]:
        """Return a block that leaves the folder as it was found where the experiment is refused before a training."""
        return self._found.if_refused((self.path / MATERIAL).exists)

    def material(self, progress: Progress = silent) -> Material:
        """Return the photographs: read, audited and freed of the test part once, then kept here.

        Raises:
            DataError: When they cannot be used.
        """
        told, rows = self.path / MATERIAL, self.path / "table.parquet"
        if told.exists():
            return Material(table.load(rows), json.loads(told.read_text(encoding="utf-8")))
        found = _material(self.reading, progress)
        table.save(found.table, rows)
        self.write_json(MATERIAL, found.told)
        return found

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        write_text(self.path / name, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def _refuse_other(folder: Path, record: Path, wanted: Mapping[str, Any]) -> None:
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
        settings = dict(before["settings"])
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{record} is damaged. Begin anew in another folder.") from None
    if (before.get("schema"), before.get("kind")) != (wanted["schema"], wanted["kind"]):
        raise RunError(f"{folder} holds a {before.get('kind')}, of another kind or version. Choose another folder.")
    now = wanted["settings"]
    if now is None:
        return
    told = changes(settings, now)
    if told:
        raise RunError(
            f"{folder} was started with other settings ({told}). Ask for the same, or begin anew with --out."
        )


def _material(reading: Reading, progress: Progress) -> Material:
    found = look.survey(
        reading.data,
        reading.images,
        reading.authority,
        reading.spellings,
        reading.limit,
        reading.seed,
        looking=look.Looking(audit=reading.audit, audited=not reading.unaudited),
        progress=progress,
    )
    prepared = apply_protocol(found.scanned, found.audit, reading.protocol)
    if found.audited:
        refuse_unusable(found.audit.verdict, found.audit.reasons)
    used = without_test(prepared, reading.parts, reading.unaudited, str(reading.data))
    rows, closed = used.rows, used.closed
    if rows.empty:
        raise DataError("All photographs stand in the test part, which stays closed; none is left to train on.")
    warnings = [*used.warnings, *prepared.warnings, *check_trainable(rows)]
    if not found.audited:
        warnings.insert(0, "Unaudited: no refusal of the audit was heeded, and copies may not have been searched.")
    if not closed:
        why = (
            f"of the {plural(reading.limit, 'photograph')} that were drawn (--limit) none stands in one."
            if reading.limit
            else "the set has no Test folder, and neither its table nor a file of parts names one."
        )
        warnings.append(
            f"No test part was closed: {why} All photographs are used here, those too that a run would keep for its "
            "test part."
        )
    steps = look.flow(prepared)
    if closed:
        steps.append(
            {"label": "apart from the closed test part", "photographs": len(rows), "excluded": {"Test, closed": closed}}
        )
    told = {
        "protocol": prepared.name,
        "audited": found.audited,
        "optimistic": prepared.optimistic or used.torn > 0,
        "by_group": prepared.split_group == "group",
        "grouped": prepared.split_group == "group" and not used.torn,
        "torn": used.torn,
        "folds_from": used.folds_from,
        "classes": [code for code in prepared.classes if (rows["diagnosis"] == code).any()],
        "closed": closed,
        "found": len(found.scanned),
        "unreadable": found.unreadable,
        "limited": reading.limit,
        "flow": steps,
        "warnings": warnings,
    }
    return Material(rows, told)
