"""An estimate as one cell of a model card's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from melascope.statistics.intervals import FEW

_FEW = "too few to judge"


def cell(estimate: Mapping[str, Any] | None, digits: int = 2, few: bool = False, n: bool = True) -> str:
    """Return an estimate as a cell: `0.69 (0.44 to 0.88), n = 16`, `too few to judge` or `not measurable`."""
    if not estimate or estimate["value"] is None:
        return "not measurable"
    if few or min(estimate["n"], estimate.get("groups", FEW)) < FEW:
        return _FEW
    text = f"{estimate['value']:.{digits}f}"
    if estimate["low"] is not None:
        text += f" ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"
    return f"{text}, n = {estimate['n']:,}" if n else text


def signed(estimate: Mapping[str, Any] | None) -> str:
    """Return a difference as a cell, `+0.02 (-0.02 to +0.06)`; empty where there is none."""
    if not estimate or estimate["value"] is None:
        return ""
    ends = "" if estimate["low"] is None else f" ({estimate['low']:+.2f} to {estimate['high']:+.2f})"
    return f"{estimate['value']:+.2f}{ends}"
