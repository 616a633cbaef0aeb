"""What of a run's scores a tracker is told: none that the run's page calls too few to judge."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from melascope.statistics.intervals import FEW

_COUNTS = ("n", "n_groups", "n_positive", "n_negative")
# They set cases against all others, so that few of either are too few.
_RANKING = ("auc", "pauc80", "average_precision", "decision_curve")


def judged(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested scores such as a part of `metrics.json` without those that rest on fewer than ten cases.

    How many there were stays. The list `too_few` of a part, where it is there, names groups of diagnoses that have
    ten photographs, but of fewer than ten lesions or patients.
    """
    return _judged(scores, ())


def _judged(scores: Mapping[str, Any], few: Collection[str]) -> dict[str, Any]:
    listed = scores.get("too_few")
    if isinstance(listed, list):
        few = [str(entry["name"]) for entry in listed if entry.get("kind") == "group"]
    elif listed or ("value" in scores and _below(scores.get("n"))):
        return {name: scores[name] for name in _COUNTS if name in scores}
    found: dict[str, Any] = {}
    for name, value in scores.items():
        if not isinstance(value, Mapping):
            found[name] = value
            continue
        found[name] = _judged(value, few)
        if name in few or _below(value.get("n_positive")) or _below(value.get("n_negative")):
            found[name] = {score: told for score, told in found[name].items() if score not in _RANKING}
    return found


def _below(count: Any) -> bool:
    return isinstance(count, int) and count < FEW
