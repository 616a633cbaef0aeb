"""The time and energy of a model card: what making the model took, and an estimate whose assumption is stated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from melascope.counted import plural

WATTS_PER_CORE = 10.0
"""Assumed for a busy core of a server with its share of memory and cooling; a round figure, not a measurement."""
_STEPS = {
    "data": "auditing and splitting",
    "pack": "packing",
    "fit": "training",
    "export": "export and calibration",
}


def effort_of(steps: Mapping[str, Mapping[str, Any]], history: Path | None = None) -> dict[str, Any]:
    """Return the seconds of the steps that made the model, as a plain mapping.

    A training that was killed and resumed counts in `run.json` from its resumption only; the epochs of `history.csv`
    have all of it, so the larger of both is taken.

    Args:
        steps: `{step: {"seconds": s, ...}}`, as the run folder has them.
        history: `history.csv`, one row per epoch with its `seconds`.

    Returns:
        `{"seconds": {step: s}, "epochs": n or None}`.
    """
    seconds = {name: float(steps[name]["seconds"]) for name in _STEPS if name in steps and "seconds" in steps[name]}
    epochs = None
    if history is not None and history.exists():
        rows = pd.read_csv(history)
        epochs = len(rows)
        if "seconds" in rows.columns:
            seconds["fit"] = max(seconds.get("fit", 0.0), float(rows["seconds"].sum()))
    return {"seconds": seconds, "epochs": epochs}


def energy_kwh(seconds: float, cores: int) -> float:
    """Return the energy, in kWh, that so many busy cores take by the assumed watts."""
    return seconds * cores * WATTS_PER_CORE / 3.6e6


def effort_section(effort: Mapping[str, Any] | None, environment: Mapping[str, Any] | None) -> list[str]:
    """Return the lines of the section on time and energy.

    Args:
        effort: As `effort_of` returns it; None where it is not known.
        environment: As `melascope.environment.describe` tells.
    """
    lines = ["## Time and energy", ""]
    machine = f"{plural(environment['cores'], 'thread')} of {environment['processor']}" if environment else ""
    if not effort or not effort["seconds"]:
        told = "How long making this model took, and with how much energy, is not known."
        return [*lines, f"{told} Machine: {machine}." if machine else told, ""]
    seconds = effort["seconds"]
    lines += [f"Machine: {machine}." if machine else "The machine is not known.", "", "| step | time |", "|---|---|"]
    for name, words in _STEPS.items():
        if name in seconds:
            told = f" ({effort['epochs']} epochs)" if name == "fit" and effort["epochs"] else ""
            lines.append(f"| {words}{told} | {duration(seconds[name])} |")
    total = sum(seconds.values())
    lines += [f"| together | {duration(total)} |", ""]
    if environment:
        lines.append(
            f"Energy: about {_energy(energy_kwh(total, int(environment['cores'])))}, an estimate that assumes "
            f"{WATTS_PER_CORE:g} W for each of {plural(environment['cores'], 'core')}, with its share of memory and "
            "cooling, all of the time. It was not measured."
        )
    else:
        lines.append("Energy: not known, since the machine is not.")
    tried = "whatever was tried before this run (tuning, cross-validation, other recipes)"
    return [*lines, f"Evaluation and {tried} are not in it.", ""]


def _energy(kwh: float) -> str:
    return f"{kwh:.2g} kWh" if kwh >= 0.1 else f"{1000 * kwh:.2g} Wh"


def duration(seconds: float) -> str:
    """Return a duration for people.

    Example:
        >>> duration(157.1), duration(5400), duration(8.0)
        ('2 min 37 s', '1 h 30 min', '8.0 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
