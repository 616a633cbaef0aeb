"""What docs/reproduction.md comes to, in a few sentences at its head; every number is taken from the record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.field_page import accuracies
from benchmarks.field_page import in_short as of_the_field
from benchmarks.field_record import in_field
from benchmarks.reproduction_begun import with_begun
from benchmarks.reproduction_reasons import explanation
from benchmarks.reproduction_rows import ROWS, STEPS, Row
from benchmarks.reproduction_seen import in_short as by_heart
from benchmarks.reproduction_verdicts import judged, ours
from benchmarks.reproduction_words import filled
from melascope.counted import plural

Results = Mapping[str, Any]


def in_short(results: Results, field: Path) -> str:
    """Return the page's first section; empty where nothing is there.

    Args:
        results: Of recipes as they are now.
        field: The record of the cross-validation.
    """
    points = [*_numbers(results), *_copies(results), *_clean(results, field), *of_the_field(field)]
    return "\n".join(["## In short", "", *(filled(point, bullet=True) for point in points)]) if points else ""


def _numbers(results: Results) -> list[str]:
    """Return how many of the published numbers are reproduced, how many not, and how many have no result."""
    rows = [row for row in ROWS if row.published is not None]
    there = [row for row in rows if results.get(row.ours.name)]
    if not there:
        return []
    fine = [row for row in there if judged(row, results)[1]]
    differ = [row for row in there if row not in fine]
    told = [f"**{len(fine)} of {len(rows)} published numbers are reproduced** within sampling error"]
    if differ:
        why = "" if all(explanation(row, results) for row in differ) else ", not all of them"
        told.append(f"{len(differ)} {'is' if len(differ) == 1 else 'are'} not ({_names(differ)}), explained below{why}")
    none = [row for row in rows if row not in there]
    if none:
        each = "; ".join(f"`{row.name}`{_so_far(row, results)}" for row in none)
        told.append(f"{len(none)} {'has' if len(none) == 1 else 'have'} no result yet ({each})")
    return [f"{'; '.join(told)}."]


def _so_far(row: Row, results: Results) -> str:
    """Return what a training that is not finished has beside the published number; nothing where none is begun."""
    begun = with_begun(results).get(row.ours.name, {})
    if not begun or row.part != "validation":
        return ""
    one = begun[min(begun, key=int)]
    now = one["parts"][row.part]["accuracy"]
    return f": {now:.3f} after {one['epochs']} of {one['of']} epochs, published {row.published:.3f}"


def _copies(results: Results) -> list[str]:
    """Return what the accuracy that is published after rebalancing owes to copies on both sides."""
    first, then = (ours(results, step.training, step.part) for step in STEPS[:2])
    if first is None or then is None:
        return []
    told = results[STEPS[0].training.name][first.seeds[0]]["told"]
    share = told["photograph_in_train"] / told["validation"]
    return [
        f"**Why 83 % becomes 41 %**: {100 * share:.0f} % of the photographs that judge are trained on too, as the "
        f"original or as another copy. So ours has {first.mean:.3f}; where the same recipe makes its copies after the "
        f"division, {then.mean:.3f}. {by_heart(results)}".rstrip()
    ]


def _clean(results: Results, field: Path) -> list[str]:
    """Return between which accuracies the published recipes lie under `clean`: cross-validated, and on one fold."""
    names = list(dict.fromkeys(in_field(row.clean) for row in ROWS))
    every = accuracies(field)
    folds = [every[name]["value"] for name in names if name in every]
    one = [mean for row in {row.clean.name: row for row in ROWS}.values() if (mean := _mean(results, row)) is not None]
    told = []
    if folds:
        of = f"{len(folds)} of {len(names)} published recipes so far"
        of = of if len(folds) < len(names) else f"the {len(names)} published recipes"
        told.append(f"{of} have accuracies {_between(folds)} in grouped cross-validation")
    if one:
        has = "has an accuracy" if len(one) == 1 else "have accuracies"
        told.append(f"{plural(len(one), 'training')} that one fold or Test judges {has} {_between(one)}")
    words = "**Under `clean`**, with no photograph and no known lesion on both sides, "
    return [f"{words}{'; '.join(told)}."] if told else []


def _mean(results: Results, row: Row) -> float | None:
    """Return the mean accuracy of the seeds of a row's recipe under `clean`, where one fold or Test judges."""
    found = ours(results, row.clean, "validation")
    return None if found is None else found.mean


def _between(values: list[float]) -> str:
    return f"between {min(values):.3f} and {max(values):.3f}"


def _names(rows: list[Row]) -> str:
    return ", ".join(f"`{row.name}`" for row in rows)
