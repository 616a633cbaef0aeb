"""Going on from a run with other settings: its weights come first, and its photographs keep their parts.

What the first run learnt from is known to the weights. None of it, and
nothing of the same photograph, lesion or patient, may judge what comes out of
them; and what judged the first run stays out of the training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from melascope.bundle import TrainedOn
from melascope.counted import plural
from melascope.datasets import SplitResult, lesion_counts, split, table
from melascope.datasets.split import DEFAULT_FRACTIONS, DEFAULT_FRACTIONS_WITH_TEST, PARTS, balance
from melascope.errors import DataError, RunError
from melascope.training import checkpoint
from melascope.training.known_parts import TELLS, known_parts, perceptual
from melascope.training.recipe import Recipe
from melascope.training.run_folder import RunFolder
from melascope.training.warm_start import WarmStart, digest, refuse_other_backbone, warm_start

PathLike = str | os.PathLike[str]

LEARNT_FROM = ("train", "tune", "calibrate")
"""The parts whose photographs the bundle lists as known to it."""

RECORD, WEIGHTS, KNOWN = "continued.json", "start_weights.npz", "known.parquet"
"""Of a run that went on: what it went on from, those weights, and the photographs that they know, with their parts."""


@dataclass(frozen=True)
class Before:
    """What is known of the run that is gone on from.

    Attributes:
        name: Its folder, as it was named.
        known: `image_id, sha256, phash, lesion_id, patient_id, group, part` of every photograph that it, or a run
            before it, had.
        opened: Which runs had their test part opened: it, and those that it went on from itself.
        cross_fitted: Whether tune and calibrate shared a part.
    """

    name: str
    known: pd.DataFrame
    opened: tuple[str, ...]
    cross_fitted: bool

    def sentences(self, kept: int, moved: int) -> list[str]:
        """Return what a reader of the results must know."""
        told = []
        if moved:
            told.append(
                f"{plural(moved, 'photograph')} of the set's Test {'was' if moved == 1 else 'were'} known to "
                f"{self.name}, which is gone on from, by photograph, lesion or patient, and "
                f"{'does' if moved == 1 else 'do'} not judge here: Test is not whole, its scores are not comparable."
            )
        told += [
            f"The test part of {name}, which is gone on from, was opened before: settings that were chosen "
            "by its scores are flattered by them."
            for name in self.opened
            if kept
        ]
        return told


def refuse_untrained(folder: RunFolder) -> None:
    """Refuse a run that has no weights yet.

    Raises:
        RunError: What to do about it.
    """
    if not folder.done("fit"):
        raise RunError(f"{folder.path} is not trained yet: finish it with melascope train ... --resume, then go on.")
    for name in ("weights.npz", "table.parquet", "recipe.toml"):
        folder.need(name)


def begin(path: PathLike, folder: RunFolder) -> Before:
    """Keep in a new run's folder all that it needs of the run before: weights, photographs and a record.

    Args:
        path: The run that is gone on from.
        folder: The new run.

    Raises:
        RunError: When the run before is not trained.
    """
    first = RunFolder.open(path)
    refuse_untrained(first)
    weights = checkpoint.read(first.need("weights.npz"))
    checkpoint.write(folder.file(WEIGHTS), weights)
    audit = first.read_json("audit.json")
    known = _known(first)
    table.save(known, folder.file(KNOWN))
    learnt = known["part"].isin(LEARNT_FROM)
    before, first_recipe = record(first), recipe_of(first)
    opened = tuple(dict.fromkeys([*([first.path.name] if first.done("evaluate") else []), *_opened(before)]))
    told = {
        "run": str(first.path),
        "recipe": first_recipe.name,
        "backbone": first_recipe.network.backbone,
        "epochs": first.state["fit"]["epochs"],
        "protocol": audit["protocol"],
        "audited": audit["audited"],
        "classes": audit["classes"],
        "photographs": int(known.loc[learnt, "sha256"].nunique()),
        "weights": digest(weights),
        "opened": list(opened),
        "before": before,
    }
    folder.write_json(RECORD, told)
    return Before(first.path.name, known, opened, bool(audit["cross_fitted"]))


def _opened(told: dict[str, Any] | None) -> list[str]:
    """Return which runs of a chain had their test part opened, then or since."""
    if told is None:
        return []
    names = list(told.get("opened", []))
    try:
        then = RunFolder.open(told["run"])
        # Another run may stand in that folder by now.
        if then.done("evaluate") and digest(checkpoint.read(then.need("weights.npz"))) == told["weights"]:
            names.append(then.path.name)
    except RunError:
        pass  # it was deleted; what was known when it was gone on from stands in the record
    return [*names, *_opened(told["before"])]


def recipe_of(folder: RunFolder) -> Recipe:
    """Return the recipe of a run."""
    from melascope.training import recipe

    return recipe.load(folder.need("recipe.toml"))


def _known(folder: RunFolder) -> pd.DataFrame:
    """Return the photographs of a run and of all runs before it."""
    frames = [table.load(folder.need("table.parquet"))]
    if folder.file(KNOWN).exists():
        earlier = pd.read_parquet(folder.file(KNOWN))
        # Names of groups are those of one run: another's must not meet them by chance.
        frames.append(earlier.assign(group="before:" + earlier["group"].astype(str)))
    whole = pd.concat([frame.reindex(columns=list(TELLS)) for frame in frames], ignore_index=True)
    return whole.astype("string").drop_duplicates(ignore_index=True)


def record(folder: RunFolder) -> dict[str, Any] | None:
    """Return what a run went on from, None where it began anew."""
    return dict(folder.read_json(RECORD)) if folder.file(RECORD).exists() else None


def limited_by(folder: RunFolder, sentences: Sequence[str]) -> None:
    """Keep with the record what limits the judgement of a run that went on, so that page and card say it."""
    told = record(folder)
    if told is not None:
        folder.write_json(RECORD, {**told, "limits": list(sentences)})


def keep_parts(rows: pd.DataFrame, before: Before, seed: int, group: str | None) -> tuple[SplitResult, list[str]]:
    """Divide a table so that what an earlier run had stays in its part, and only the rest is split.

    A photograph of a group that stood in several parts goes to the one nearest to training, the set's own Test
    included: what the weights know must not judge them.

    Args:
        rows: The table of a `Prepared`.
        before: The run that is gone on from.
        seed: Of the split of what is new.
        group: What the split keeps whole. Of single photographs (None, or with the copies made of them to balance) only
            the very files are known again.

    Returns:
        The parts, and sentences about them.
    """
    whole = group == "group"
    part = known_parts(rows, before.known, grouped=whole)
    if group is not None and not whole:
        part = _together(part, rows[group])
    kept = int(part.notna().sum())
    test = (rows["split"] == "test").fillna(False).to_numpy(dtype=bool)
    if not whole:
        # What is filed as Test stays there under a protocol that is optimistic, and says so.
        part[test] = "test"
    moved = int((test & part.isin(LEARNT_FROM).to_numpy(dtype=bool)).sum())
    new = part.isna()
    if new.any():
        shares = DEFAULT_FRACTIONS if test.any() else DEFAULT_FRACTIONS_WITH_TEST
        part[new] = split(rows[new], shares, seed, group).part
    if before.cross_fitted and (part == "calibrate").any():
        part[part == "tune"] = "calibrate"
    counts = lesion_counts(rows)
    shared = balance(rows, part.to_numpy(dtype=object), rows["group"].to_numpy(dtype=object))
    result = SplitResult(part, not (part == "tune").any(), counts["known"], counts["assumed"], shared)
    return result, before.sentences(kept, moved)


def _together(part: pd.Series, names: pd.Series) -> pd.Series:
    """Give all rows of a name the part among theirs that is nearest to training."""
    rank = part.map({name: place for place, name in enumerate(PARTS)})
    least = rank.groupby(names).transform("min")
    return least.map(dict(enumerate(PARTS))).astype("string").rename("part")


def refuse_known(rows: pd.DataFrame, part: pd.Series, before: Before) -> None:
    """Refuse parts, made by somebody else, that judge with what the weights know.

    Raises:
        DataError: With how many photographs, and one of them.
    """
    must = known_parts(rows, before.known).map({name: rank for rank, name in enumerate(PARTS)})
    stands = part.map({name: rank for rank, name in enumerate(PARTS)})
    wrong = ((must < stands) & must.notna()).fillna(False).to_numpy(dtype=bool)
    if wrong.any():
        first = rows[wrong].iloc[0]
        raise DataError(
            f"{plural(int(wrong.sum()), 'photograph')}, such as {first['image_id']}, would judge in "
            f"{part[wrong].iloc[0]} what {before.name} has learnt from, or from others of that lesion or patient. "
            "Leave --parts out, so that the parts of that run are kept, or begin anew without --from."
        )


def learnt(folder: RunFolder, frame: pd.DataFrame) -> TrainedOn:
    """Return what a run's weights know: its own photographs, and those of every run that it went on from.

    Args:
        folder: The run.
        frame: Its table, with `part`.
    """
    rows = frame.loc[frame["part"].isin(LEARNT_FROM), ["sha256", "phash"]]
    if folder.file(KNOWN).exists():
        known = pd.read_parquet(folder.file(KNOWN))
        rows = pd.concat([rows, known.loc[known["part"].isin(LEARNT_FROM), ["sha256", "phash"]]])
        rows = rows.drop_duplicates("sha256")
    return TrainedOn.of(rows["sha256"].tolist(), perceptual(rows))


def layers_anew(folder: RunFolder) -> list[str]:
    """Return a sentence that names the layers which could not take the weights of the run before; none if all could."""
    told = record(folder)
    names = (told or {}).get("anew") or []
    if not told or not names:
        return []
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return [f"{plural(len(names), 'layer')} did not fit the weights of {told['run']} and started anew: {shown}."]


def words(told: dict[str, Any] | None) -> str:
    """Return in a few sentences what a run went on from; nothing where it began anew."""
    return " ".join(dict.fromkeys(_told(told, "Training")))


def _told(told: dict[str, Any] | None, what: str) -> list[str]:
    if not told:
        return []
    name = Path(told["run"]).name
    text = (
        f"{what} went on from the weights of {name} (recipe {told['recipe']}, {plural(told['epochs'], 'epoch')}), "
        f"which knew {plural(told['photographs'], 'photograph')}, with those that it stopped or was calibrated by."
    )
    return [text, *_told(told["before"], f"{name} itself"), *told.get("limits", ())]


def begin_with(folder: RunFolder, recipe: Recipe, classes: Sequence[str], threads: int | None) -> WarmStart | None:
    """Return the weights that a run begins with, None where it begins anew; the layers that do so are recorded.

    Raises:
        RunError: When no layer fits.
    """
    told = record(folder)
    if told is None:
        return None
    source = f"{told['run']} (recipe {told['recipe']})"
    same = told["classes"] == list(classes)
    if "backbone" in told:  # not in a record of an earlier version
        refuse_other_backbone(told["backbone"], recipe, source)
    start, anew = warm_start(folder.need(WEIGHTS), source, recipe, same, len(classes), threads)
    folder.write_json(RECORD, {**told, "anew": anew})
    return start
