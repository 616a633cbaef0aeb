"""What docs/reproduction.md comes to, in a few sentences at its head; every number is taken from the record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.field_page import in_short as of_the_field
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
    points = [*_numbers(results), *_copies(results), *_clean(results), *of_the_field(field)]
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


def _clean(results: Results) -> list[str]:
    """Return between which accuracies the published recipes lie under `clean`."""
    rows = {row.clean.name: ours(results, row.clean, "validation") for row in ROWS}
    found = [one for one in rows.values() if one is not None]
    if not found:
        return []
    low, high = min(one.mean for one in found), max(one.mean for one in found)
    return [
        f"**Under `clean`**, with no photograph and no known lesion on both sides, "
        f"{plural(len(found), 'training')} of {len(rows)} so far {'has' if len(found) == 1 else 'have'} accuracies "
        f"between {low:.3f} and {high:.3f}."
        if len(found) < len(rows)
        else f"**Under `clean`**, with no photograph and no known lesion on both sides, the {len(rows)} trainings have "
        f"accuracies between {low:.3f} and {high:.3f}."
    ]


def _names(rows: list[Row]) -> str:
    return ", ".join(f"`{row.name}`" for row in rows)
