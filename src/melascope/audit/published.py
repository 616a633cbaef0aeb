"""The protocol `as-published`: copies first, divided at random afterwards, as course projects did it.

It exists to reproduce figures that were published, and to show what they are worth. Everything measured under it is
stamped optimistic.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from melascope import environment
from melascope.audit import caveats
from melascope.audit.problems import is_test
from melascope.audit.protocol import WITH_COPIES, FlowStep, Prepared
from melascope.counted import plural
from melascope.datasets import scan, split
from melascope.datasets.balanced import Balancing, Mode, may_be_copied, shared_photographs
from melascope.datasets.balanced_files import write_copies
from melascope.errors import DataError
from melascope.progress import Progress, silent

AS_PUBLISHED = "as-published"
ASIDE = "stands in Test, which this protocol leaves aside"
HELD_OUT = 0.2
"""The share that the projects hold out at random."""


def as_published(
    prepared: Prepared,
    folder: Path,
    per_class: int = 500,
    seed: int = 0,
    progress: Progress = silent,
    mode: Mode = "add",
) -> Prepared:
    """Add copies of the photographs outside Test, so that a split that follows divides them at random.

    The labels are as filed, and nothing is held together: a photograph that judges is often trained on as a copy that
    is turned by a few degrees, or not at all. `warnings` says how often.

    Args:
        prepared: Of the protocol `as-filed`.
        folder: Where the copies are written; what an earlier call has written there is used.
        per_class: Copies of each diagnosis.
        seed: Of the copies, and of the division that the warning counts.
        progress: Called with the stages `writing copies` and `reading photographs`.
        mode: As in `datasets.balanced.Balancing`.

    Raises:
        DataError: When the table was prepared by another protocol, or the copies cannot be written.
    """
    if prepared.name != "as-filed":
        raise DataError(f"The protocol {AS_PUBLISHED} starts from as-filed, not from {prepared.name}.")
    test = is_test(prepared.table)
    train = prepared.table[~test].reset_index(drop=True).drop(columns=WITH_COPIES, errors="ignore")
    if train.empty:
        raise DataError("All photographs stand in Test; none is left to be copied.")
    threads = environment.threads()
    copies = write_copies(train, folder, Balancing(per_class, mode, seed=seed), threads=threads, progress=progress)
    scanned = scan(copies, threads=threads, progress=progress)
    bad = scanned["error_kind"].notna()
    if bad.any():
        raise DataError(f"{scanned['path'][bad].iloc[0]} cannot be read; delete {folder} and start again.")
    unturned = int((scanned["degrees"] == 0).sum())
    table = pd.concat([train, scanned.drop(columns="degrees")], ignore_index=True)
    gone = prepared.table.loc[test, ["image_id", "path", "diagnosis", "split"]]
    excluded = pd.concat([prepared.excluded, gone.assign(reason=pd.array([ASIDE] * len(gone), dtype="string"))])
    flow = list(prepared.flow)
    if len(gone):
        flow.append(FlowStep("outside Test", len(train), {ASIDE: len(gone)}))
    flow.append(FlowStep(f"with {plural(len(copies), 'copy', 'copies')}", len(table)))
    return replace(
        prepared,
        table=table,
        excluded=excluded.reset_index(drop=True),
        flow=flow,
        name=AS_PUBLISHED,
        warnings=[
            *_warnings(table, int(may_be_copied(train).sum()), len(copies), unturned, seed),
            *caveats.of_lesions(table),
        ],
        optimistic=True,
        leak={},
        split_group=None,
    )


def _warnings(table: pd.DataFrame, sources: int, copies: int, unturned: int, seed: int) -> list[str]:
    fractions = {"train": 1 - HELD_OUT, "test": HELD_OUT}
    judged = (split(table, fractions, seed, group=None).part == "test").to_numpy(dtype=bool)
    shared, count = shared_photographs(table, ~judged, judged), int(judged.sum())
    originals = plural(sources, "photograph")
    judging = plural(count, "photograph that judges", "photographs that judge")
    return [
        f"Optimistic: {plural(copies, 'copy was', 'copies were')} made of {originals} first, and all were divided at "
        "random afterwards, as published projects did. Such figures show the size of a leak, not the worth of a "
        "network.",
        f"Where a fifth is held out at random, {shared:,} of {judging} "
        f"({shared / max(count, 1):.0%}) {'is' if shared == 1 else 'are'} trained on too, as the original or as a copy "
        "of it.",
        f"{unturned:,} of {plural(copies, 'copy is', 'copies are')} not turned at all: the very same pixels.",
    ]
