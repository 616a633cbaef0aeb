"""What stands in docs/reproduction.json: which of it holds today, and what of the data set is told beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.field_record import OURS, same
from benchmarks.reproduction_judges import with_counts
from benchmarks.reproduction_pairs import PAIRS, of_ours
from benchmarks.reproduction_rows import BEGUN, COMPARED, FLOW, JUDGES, ROWS, SEEN, Training, opens_test, trainings
from melascope.audit.protocol import Prepared

Results = dict[str, Any]
RESERVED = (PAIRS, FLOW, JUDGES, COMPARED, BEGUN, SEEN)
"""Keys of the results that are no training."""


def current(results: Mapping[str, Any]) -> tuple[Results, list[str]]:
    """Return what was trained by recipes as they are now, with the pairs of it; and what was not, by training and seed.

    Args:
        results: By training and seed: `recipe`, `precision` and more; under `PAIRS` and `COMPARED` the pairs, under
            `JUDGES` how many judge, which then stands in each part too, under `SEEN` what is known by heart, and under
            `BEGUN` what is not finished.
    """
    fresh: Results = {}
    stale: list[str] = []
    for training in [*trainings(), *map(of_ours, OURS)]:
        for seed, result in results.get(training.name, {}).items():
            if _as_now(result, training):
                fresh.setdefault(training.name, {})[seed] = result
            else:
                stale.append(f"{training.name}/seed-{seed}")
    made = {
        theirs: {
            seed: {
                mine: less
                for mine, less in each.items()
                if not {f"{name}/seed-{seed}" for name in (theirs, of_ours(mine).name)} & set(stale)
            }
            for seed, each in seeds.items()
        }
        for theirs, seeds in results.get(PAIRS, {}).items()
    }
    left = {theirs: {seed: each for seed, each in seeds.items() if each} for theirs, seeds in made.items()}
    if any(left.values()):
        fresh[PAIRS] = {theirs: seeds for theirs, seeds in left.items() if seeds}
    named = {row.name: row.ours.name for row in ROWS}
    whole = {
        name: one
        for name, one in results.get(COMPARED, {}).items()
        if not {f"{named[row]}/seed-{seed}" for row in one["rows"] for seed in one["seeds"]} & set(stale)
    }
    if whole:
        fresh[COMPARED] = whole
    by_heart = {
        name: {seed: one for seed, one in seeds.items() if seed in fresh.get(name, {})}
        for name, seeds in results.get(SEEN, {}).items()
    }
    if any(by_heart.values()):
        fresh[SEEN] = by_heart
    begun = {
        training.name: {
            seed: one
            for seed, one in results.get(BEGUN, {}).get(training.name, {}).items()
            if _as_now(one, training) and seed not in fresh.get(training.name, {})
        }
        for training in trainings()
    }
    found = with_counts(fresh, results)
    if any(begun.values()):
        found[BEGUN] = with_counts({name: seeds for name, seeds in begun.items() if seeds}, results)
    return found, stale


def _as_now(result: Mapping[str, Any], training: Training) -> bool:
    return same({"toml": result["recipe"]}, training.resolved(result["precision"]))


def close_test(results: Results) -> None:
    """Drop what trainings scored on Test that are not asked for it: it is opened for the numbers of a row alone."""
    for name, seeds in results.items():
        if name not in RESERVED and not opens_test(name):
            for result in seeds.values():
                result.get("parts", {}).pop("test", None)


def flow(prepared: Prepared) -> dict[str, Any]:
    """Return how the photographs under a protocol come from those that were found, and how sure their labels are."""
    outside = prepared.table[~(prepared.table["split"] == "test").fillna(False).to_numpy(dtype=bool)]
    return {
        "steps": [step.to_json() for step in prepared.flow],
        "photographs": len(outside),
        "filed": int((outside["label_from"] == "filed").sum()),
    }
