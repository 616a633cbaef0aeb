"""How many independent photographs judge a design: those of one lesion and copies of one photograph are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.field_record import OURS
from benchmarks.reproduction_data import divided
from benchmarks.reproduction_pairs import of_ours
from benchmarks.reproduction_rows import JUDGES, trainings
from melascope import statistics
from melascope.audit.protocol import Prepared

Results = Mapping[str, Any]


def independent(groups: Sequence[str]) -> float:
    """Return the effective number of independent rows where those of one group are judged alike.

    That is the worst case: where they are judged less alike, more are independent. Source: Kish 1965, Survey Sampling.

    Args:
        groups: `(n,)` names; an empty name is a group of its own.
    """
    sizes = np.bincount(statistics.units(groups, len(groups))).astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def counted(results: Results, prepared: Mapping[str, Prepared]) -> dict[str, Any]:
    """Return by design, seed and part what judges: rows, photographs, groups, and how many rows are independent.

    Args:
        results: By training and seed; those that are there are counted.
        prepared: By protocol, `filed` and `clean`.
    """
    found: dict[str, Any] = {}
    for training in [*trainings(), *map(of_ours, OURS)]:
        design = training.design
        for seed, result in results.get(training.name, {}).items():
            if not set(result.get("parts", ())) - set(found.get(design.slug, {}).get(seed, {})):
                continue
            known = found.setdefault(design.slug, {}).setdefault(seed, {})
            tables = divided(prepared[design.labels], design, int(seed))
            for part in result["parts"]:
                judge = tables[part]
                groups = judge["group"].tolist()
                known[part] = {
                    "n": len(judge),
                    "photographs": int(judge["photograph"].nunique()),
                    "groups": statistics.count_units(groups, np.ones(len(judge), dtype=bool)),
                    "independent": round(independent(groups), 1),
                }
    return found


def with_counts(results: dict[str, Any], record: Results) -> dict[str, Any]:
    """Return results with `independent` in each part of which it is known; a count of other photographs is none.

    Args:
        results: By training and seed.
        record: What stands in the record; under `JUDGES` what `counted` found.
    """
    known, found = record.get(JUDGES, {}), dict(results)
    for training in [*trainings(), *map(of_ours, OURS)]:
        if training.name in results:
            by_seed = known.get(training.design.slug, {})
            found[training.name] = {
                seed: result | {"parts": _counted(result.get("parts", {}), by_seed.get(seed, {}))}
                for seed, result in results[training.name].items()
            }
    return found


def _counted(parts: Results, known: Results) -> dict[str, Any]:
    return {
        part: {**scores, "independent": known[part]["independent"]}
        if known.get(part, {}).get("n") == scores["n"]
        else scores
        for part, scores in parts.items()
    }
