"""The photographs of a design: arrays, rows that are trained on, rows that judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.reproduction_rows import COPIES_PER_CLASS, FOLDS, Design
from melascope import diagnosis, environment
from melascope.audit.protocol import Prepared, apply_protocol
from melascope.audit.survey import survey
from melascope.datasets import folds, pack
from melascope.datasets.balanced import Balancing, draw
from melascope.images import Geometry
from melascope.images.turning import turned
from melascope.progress import Progress, silent

HELD_SHARE = 1 / FOLDS


@dataclass(frozen=True)
class Material:
    """The data set under both protocols, and its photographs decoded once.

    Attributes:
        prepared: By `filed` and `clean`; each table has `row`, the place of its photograph in `images`.
        images: `(n, h, w, 3)` uint8.
    """

    prepared: dict[str, Prepared]
    images: np.ndarray


@dataclass(frozen=True)
class Parts:
    """What a training is given.

    Attributes:
        images: `(n, h, w, 3)` uint8, originals and then copies.
        labels: `(n,)` indices into `classes`; -1 where a row is not used.
        classes: Codes of the diagnoses.
        rows: Rows of each of `train`, `validation` and, where that is another part, `test`.
        told: What the parts share, as counts.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    rows: dict[str, np.ndarray]
    told: dict[str, int]


def material(
    data: Path, authority: list[Path], geometry: Geometry, limit: int | None = None, progress: Progress = silent
) -> Material:
    """Read, audit and decode a data set."""
    base, prepared = protocols(data, authority, limit, progress)
    images = pack(base, geometry, environment.cache_folder(), environment.threads(), progress=progress).images
    return Material(prepared, images)


def protocols(
    data: Path, authority: list[Path], limit: int | None = None, progress: Progress = silent
) -> tuple[pd.DataFrame, dict[str, Prepared]]:
    """Read and audit a data set; return its photographs, each once, and its tables by protocol (see `Material`)."""
    found = survey(data, authority=authority, limit=limit, progress=progress)
    base = found.scanned[found.scanned["error_kind"].isna() & ~found.scanned["path"].duplicated()]
    base = base.reset_index(drop=True)
    place = pd.Series(np.arange(len(base)), index=base["path"])
    prepared = {}
    for name, protocol in (("filed", "as-filed"), ("clean", "clean")):
        made = apply_protocol(found.scanned, found.audit, protocol)
        made.table["row"] = made.table["path"].map(place).to_numpy(dtype=np.int64)
        prepared[name] = made
    return base, prepared


def parts(material: Material, design: Design, seed: int) -> Parts:
    """Return the parts of a design; the same seed gives the same."""
    prepared = material.prepared[design.labels]
    return _assembled(material.images, prepared.classes, divided(prepared, design, seed))


def divided(prepared: Prepared, design: Design, seed: int) -> dict[str, pd.DataFrame]:
    """Return the tables of the parts of a design, copies with the group of their source; no photograph is decoded.

    Args:
        prepared: The data set under the design's labels.
        design: Which.
        seed: The same gives the same.

    Returns:
        `train`, `validation` and, where that is another part, `test`; with `copy_of` and `degrees` of copies.
    """
    table = prepared.table.assign(copy_of=pd.NA, degrees=0.0)
    in_test = (table["split"] == "test").fillna(False).to_numpy(dtype=bool)
    test, pool = table[in_test], table[~in_test].reset_index(drop=True)
    if design.copies == "before":
        pool = pd.concat([pool, copies(pool, design, COPIES_PER_CLASS, seed)], ignore_index=True)
    held = _held(pool, design, seed)
    train, validation = pool[~held], pool[held]
    if design.copies == "after":
        per_class = copies_per_class(HELD_SHARE if held.any() else 0.0)
        train = pd.concat([train, copies(train, design, per_class, seed)], ignore_index=True)
    chosen = {"train": train, "validation": validation, "test": test}
    if design.held == "test":
        chosen = {"train": train, "validation": test}
    elif design.held == "some of test":
        some = np.random.default_rng([seed, 23]).permutation(len(test))[: int(len(test) * HELD_SHARE)]
        chosen = {"train": train, "validation": test.iloc[np.sort(some)], "test": test}
    return chosen


def judged(prepared: Prepared, design: Design, seed: int) -> pd.DataFrame:
    """Return the rows of the table that judge a design without copies before the split, in the order of `parts`."""
    table = prepared.table
    pool = table[~(table["split"] == "test").fillna(False).to_numpy(dtype=bool)].reset_index(drop=True)
    return pool[_held(pool, design, seed)].reset_index(drop=True)


def copies_per_class(held_share: float) -> int:
    """Return how many copies are made after a division: as many as where they are made before it, and divided."""
    return round(COPIES_PER_CLASS * (1 - held_share))


def copies(pool: pd.DataFrame, design: Design, per_class: int, seed: int) -> pd.DataFrame:
    """Return the rows of the copies of a pool, with `copy_of` and `degrees`; the same seed gives the same."""
    drawn = draw(pool, Balancing(per_class, design.mode, seed=seed))  # type: ignore[arg-type]
    made = pool.iloc[drawn["row"].to_numpy()].reset_index(drop=True)
    return made.assign(**{name: drawn[name].to_numpy() for name in ("image_id", "copy_of", "degrees")})


def turned_copies(originals: np.ndarray, made: pd.DataFrame) -> list[np.ndarray]:
    """Return the photographs of copies: each `row` of the originals, turned by its `degrees`."""
    return [turned(originals[row], degrees) for row, degrees in made[["row", "degrees"]].itertuples(index=False)]


def _held(pool: pd.DataFrame, design: Design, seed: int) -> np.ndarray:
    """Return which rows of the pool `(n,)` are held out."""
    held = np.zeros(len(pool), dtype=bool)
    if design.held == "random":
        # As `image_dataset_from_directory(validation_split=0.2)`: shuffled, the last fifth, no regard to classes.
        order = np.random.default_rng([seed, 80]).permutation(len(pool))
        held[order[len(pool) - int(len(pool) * HELD_SHARE) :]] = True
    elif design.held == "group":
        # The first fold of those that `cross_validate` makes of the same seed.
        held = (folds(pool, FOLDS, seed) == 0).to_numpy(dtype=bool)
    return held


def _assembled(originals: np.ndarray, classes: tuple[str, ...], chosen: dict[str, pd.DataFrame]) -> Parts:
    used = {name: frame.reset_index(drop=True) for name, frame in chosen.items()}
    copied = {name: frame["copy_of"].notna().to_numpy(dtype=bool) for name, frame in used.items()}
    made = [each for name, frame in used.items() for each in turned_copies(originals, frame[copied[name]])]
    images = np.concatenate([originals, np.stack(made)]) if made else originals
    labels = np.full(len(images), -1, dtype=np.int64)
    code = {name: place for place, name in enumerate(classes)}
    rows, next_copy = {}, len(originals)
    for name, frame in used.items():
        place = frame["row"].to_numpy(dtype=np.int64).copy()
        place[copied[name]] = np.arange(next_copy, next_copy + int(copied[name].sum()))
        next_copy += int(copied[name].sum())
        labels[place] = frame["diagnosis"].map(code).to_numpy(dtype=np.int64)
        rows[name] = place
    return Parts(images, labels, classes, rows, _told(used["train"], used["validation"]))


def _told(train: pd.DataFrame, judged: pd.DataFrame) -> dict[str, int]:
    """Count what the photographs that judge share with those that are trained on, and how sure their labels are."""
    same = judged["photograph"].isin(set(train["photograph"])).to_numpy(dtype=bool)
    tied = judged["group"].isin(set(train["group"])).to_numpy(dtype=bool)
    both = pd.concat([train, judged])
    several = both.groupby("photograph")["filed_diagnosis"].nunique()
    twice = judged["photograph"].isin(set(several.index[several > 1])).to_numpy(dtype=bool)
    official = judged["official_diagnosis"].fillna("").tolist()
    wrong = sum(
        bool(known) and not diagnosis.agree(str(told), str(known))
        for told, known in zip(judged["diagnosis"], official, strict=True)
    )
    return {
        "train": len(train),
        "validation": len(judged),
        "copies_in_train": int(train["copy_of"].notna().sum()),
        "copies_in_validation": int(judged["copy_of"].notna().sum()),
        "photograph_in_train": int(same.sum()),
        "tied_to_train": int(tied.sum()),
        "two_diagnoses": int(twice.sum()),
        "label_contradicted": int(wrong),
    }
