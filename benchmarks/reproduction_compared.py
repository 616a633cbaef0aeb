"""Two published recipes that the very same photographs judge, in pairs: by how much the one is above the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.reproduction_data import judged
from benchmarks.reproduction_pairs import said_of
from benchmarks.reproduction_rows import ROWS, Design, Row, key, on_the_fold, trainings
from benchmarks.reproduction_seen import on_both_sides
from melascope import statistics
from melascope.audit.protocol import Prepared


def rows_of_same() -> Iterator[tuple[Row, Row]]:
    """Yield each row with the other that its project compares it with, where the same photographs judge both."""
    for row in ROWS:
        for other in (one for one in ROWS if one.name in (row.above, row.below)):
            if (row.ours.design, row.part) == (other.ours.design, other.part):
                yield row, other


def keeps_said(design: Design) -> bool:
    """Return whether the record keeps what a training on a design said of each photograph that judges it."""
    return on_the_fold(design) or on_both_sides(design) or any(design == row.ours.design for row, _ in rows_of_same())


def kept_slugs() -> set[str]:
    """Return the names of these designs, as they stand in those of folders."""
    return {training.design.slug for training in trainings() if keeps_said(training.design)}


def compared(results: Mapping[str, Any], prepared: Mapping[str, Prepared]) -> dict[str, Any]:
    """Return how much the accuracy of a row is above that of the one it is compared with, where both are kept.

    Photographs of several seeds are drawn together, so that one that judges twice is drawn as one.

    Args:
        results: By training and seed; `said` where it is kept.
        prepared: By protocol, `filed` and `clean`.

    Returns:
        By `key`: both `rows`, `seeds`, and `value`, `low`, `high` and `n` of the difference.
    """
    found = {}
    for row, other in rows_of_same():
        seeds, ours, theirs, groups, labels = [], [], [], [], []
        for seed in sorted(set(results.get(row.ours.name, ())) & set(results.get(other.ours.name, ())), key=int):
            one, against = (said_of(results, each.ours.name, int(seed)) for each in (row, other))
            if one is None or against is None:
                continue
            judges = judged(prepared[row.ours.design.labels], row.ours.design, int(seed))
            if not np.array_equal(one[0], against[0]) or len(one[0]) != len(judges):
                raise SystemExit(f"{row.name} and {other.name} were judged by other photographs; train both anew.")
            seeds.append(seed)
            labels.append(one[0])
            ours.append(one[1] == one[0])
            theirs.append(against[1] == one[0])
            groups.append(judges["group"].to_numpy(dtype=object))
        if seeds:
            apart = statistics.paired_bootstrap(
                _share, np.concatenate(ours), np.concatenate(theirs), np.concatenate(groups), np.concatenate(labels)
            )
            found[key(row.name, other.name)] = {"rows": [row.name, other.name], "seeds": seeds, **apart.to_json()}
    return found


def _share(right: np.ndarray, weights: np.ndarray | None) -> Any:
    if weights is None:
        return right.mean()
    return (weights * right[:, None]).sum(axis=0) / weights.sum(axis=0)
