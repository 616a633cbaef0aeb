"""Parts and folds of a whole data set, or of several: made, kept, shown."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from melascope import diagnosis
from melascope.audit import survey as look
from melascope.audit.protocol import apply_protocol
from melascope.audit.provenance import refuse_unusable
from melascope.counted import plural
from melascope.datasets import check_trainable, fixed, folds, lesion_counts, split, table
from melascope.datasets.fixed import keep_placed, unknown_names, write
from melascope.progress import Progress, silent

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Divided:
    """How a split came out.

    Attributes:
        table: The image table with the column `part` or `fold`.
        counts: Photographs of each diagnosis (rows, by name) in each part or fold (columns).
        shares: Of each diagnosis' photographs, the share in each part or fold.
        sentences: How balanced it is, and what is known of the lesions.
        page: The page that shows it, where one was written.
    """

    table: pd.DataFrame
    counts: pd.DataFrame
    shares: pd.DataFrame
    sentences: list[str]
    page: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return counts and shares as JSON-ready data."""
        return {
            "counts": {str(name): {str(k): int(v) for k, v in row.items()} for name, row in self.counts.iterrows()},
            "shares": {
                str(name): {str(k): round(float(v), 4) for k, v in row.items()} for name, row in self.shares.iterrows()
            },
            "lesions": lesion_counts(self.table),
            "sentences": self.sentences,
        }


def split_data(
    data: PathLike | Sequence[PathLike],
    out: PathLike | None = None,
    folds_wanted: int | None = None,
    fractions: Mapping[str, float] | None = None,
    keep: PathLike | None = None,
    ids: PathLike | None = None,
    seed: int = 0,
    protocol: str = "clean",
    progress: Progress = silent,
    **reading: Any,
) -> tuple[look.Survey, Divided]:
    """Split a data set into parts, or folds, by photograph, lesion and patient.

    Args:
        data: What `survey` takes: one data set, or several that are split as one.
        out: CSV or Parquet for the table; a page that shows how it came out is written beside it.
        folds_wanted: Folds instead of parts.
        fractions: Share of each part; the usual ones where not given.
        keep: An earlier table or fold file: what stands there stays, and only what is new is placed.
        ids: CSV or Parquet for a fold file: `image_id` and part or fold, nothing else.
        seed: Another seed, another split.
        protocol: Which rows count.
        progress: Called with the stage and how far it is.
        reading: Further arguments of `survey`.

    Raises:
        DataError: When the data cannot be used, or the wish makes no sense.
    """
    told = None if keep is None else fixed(keep)  # a misspelt file is told before the photographs are read
    found = look.survey(data, progress=progress, **reading)
    notes = [] if told is None else unknown_names(told, found.scanned, str(keep))
    prepared = apply_protocol(found.scanned, found.audit, protocol)
    check_trainable(prepared.table)
    refuse_unusable(found.audit.verdict, found.audit.reasons)
    frame = prepared.table.drop(columns=["part"], errors="ignore")
    column = "part" if folds_wanted is None else "fold"

    def divide(rows: pd.DataFrame) -> pd.Series:
        if folds_wanted is None:
            return split(rows, fractions, seed, prepared.split_group).part
        return folds(rows, folds_wanted, seed, prepared.split_group)

    if told is None:
        frame[column] = divide(frame)
        kept = None
    else:
        frame[column], kept = keep_placed(frame, told, column, divide)
    divided = _divided(frame, column, kept, notes)
    if out is not None:
        target = Path(out)
        table.save(frame, target)
        divided = Divided(
            divided.table, divided.counts, divided.shares, divided.sentences, _page(target, divided, prepared.name)
        )
    if ids is not None:
        write(frame, ids)
    return found, divided


def _divided(frame: pd.DataFrame, column: str, kept: int | None, notes: Sequence[str]) -> Divided:
    order = [part for part in ("train", "tune", "calibrate", "test") if (frame[column] == part).any()]
    counts = pd.crosstab(frame["diagnosis"], frame[column])
    counts = counts.reindex(index=diagnosis.ordered(counts.index), columns=order or sorted(counts.columns))
    if column == "fold":
        counts = counts.rename(columns=lambda fold: f"fold {fold}")
    shares = counts.div(counts.sum(axis=1), axis=0)
    whole = counts.sum() / counts.to_numpy().sum()
    # A diagnosis in twenty photographs cannot follow the shares of the whole; the others should.
    large = counts.sum(axis=1) >= 20
    worst = (shares[large] - whole).abs().max().max() if large.any() else float("nan")
    lesions = lesion_counts(frame)
    groups = frame.groupby("group")[column].nunique() if "group" in frame else pd.Series(dtype="int64")
    torn = int((groups > 1).sum())
    sentences = [
        _shares(whole),
        f"Among diagnoses with 20 photographs or more, none is further than {worst:.1%} from them."
        if large.any()
        else "No diagnosis has 20 photographs; shares say little.",
        f"{torn:,} of {plural(len(groups), 'group')} of photograph, lesion and patient "
        f"{'is' if torn == 1 else 'are'} torn apart; "
        f"{plural(lesions['known'], 'lesion is', 'lesions are')} known by id, "
        f"{plural(lesions['assumed'], 'photograph is', 'photographs are each')} taken for one.",
    ]
    if kept is not None:
        sentences.append(
            f"{plural(kept, 'photograph stays', 'photographs stay')} where they stood; {len(frame) - kept:,} "
            f"{'was' if len(frame) - kept == 1 else 'were'} placed now: new ones, and those whose lesion stood in "
            "several places."
        )
    sentences += notes
    named = counts.rename(index={code: diagnosis.name(str(code)) for code in counts.index})
    return Divided(frame, named, shares.set_axis(named.index), sentences)


def _shares(whole: pd.Series) -> str:
    """Return how the photographs fall to the parts, or between what shares where there are too many to name."""
    from melascope.reports.figures.divided import MOST_PARTS

    if len(whole) > MOST_PARTS:
        spread = f"between {whole.min():.1%} and {whole.max():.1%} in each of {len(whole)} folds"
        return f"Shares of all photographs: {spread}."
    return f"Shares of all photographs: {', '.join(f'{name} {share:.1%}' for name, share in whole.items())}."


def _page(target: Path, divided: Divided, protocol: str) -> Path:
    from melascope.reports import wording
    from melascope.reports.split_report import split_report

    page = target.with_suffix(".html")
    partial = page.with_name(f".{page.name}.partial")
    title = f"How {target.stem} came out"
    stamp = wording.stamp(True, protocol)
    told = split_report(title, divided.counts, divided.shares, divided.sentences, stamp)
    partial.write_text(told, encoding="utf-8")
    partial.replace(page)
    return page
