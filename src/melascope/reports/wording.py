"""Numbers in words: an estimate is never written without its interval and its n.

An *estimate* here is a mapping `{"value", "low", "high", "n"}` as in
`metrics.json`; any of the four may be missing or null. Fewer than ten cases are
"too few to judge" and get no number in colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from melascope import diagnosis
from melascope.counted import plural as counted_noun

Estimate = Mapping[str, Any]

NBSP = "\u00a0"
FEW = 10
"""Below this many cases a score is not judged."""


def number(value: Any) -> float:
    """Return `value` as a float; NaN where it is missing, null or no number."""
    if isinstance(value, bool) or value is None:
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def value(estimate: Estimate | None) -> float:
    """Return an estimate's value, NaN where there is none."""
    return number(estimate.get("value")) if isinstance(estimate, Mapping) else math.nan


def bounds(estimate: Estimate | None) -> tuple[float, float]:
    """Return an estimate's interval, NaNs where there is none."""
    if not isinstance(estimate, Mapping):
        return math.nan, math.nan
    return number(estimate.get("low")), number(estimate.get("high"))


def cases(estimate: Estimate | None) -> int | None:
    """Return an estimate's n, None where it is not given."""
    n = number(estimate.get("n")) if isinstance(estimate, Mapping) else math.nan
    return None if math.isnan(n) else round(n)


def too_few(estimate: Estimate | None) -> bool:
    """Whether an estimate rests on fewer than ten cases, or on fewer than ten independent groups of them."""
    n = cases(estimate)
    groups = number(estimate.get("groups")) if isinstance(estimate, Mapping) else math.nan
    return (n is not None and n < FEW) or groups < FEW


def known(estimate: Estimate | None) -> bool:
    """Whether there is a value at all."""
    return not math.isnan(value(estimate))


def count(n: Any) -> str:
    """Return a count with thousands separated, such as `2,357`; a dash where it is unknown."""
    plain = number(n)
    return "–" if math.isnan(plain) else f"{round(plain):,}"


def plural(n: Any, one: str, many: str | None = None) -> str:
    """Return `1 photograph`, `2,357 photographs`."""
    known = number(n)
    return f"– {many or one + 's'}" if math.isnan(known) else counted_noun(round(known), one, many)


def percentage(fraction: float, n: int | None = None) -> str:
    """Return a fraction as percent without the sign: whole, or with one decimal from 1,000 cases on."""
    if math.isnan(fraction):
        return "–"
    # Halves go up, as readers expect of 12.5 %; Python would round them to even.
    text = f"{100 * fraction + 1e-9:.{1 if n is not None and n >= 1000 else 0}f}"
    # 99.6 % is not 100 %: a rounded certainty would be a claim nobody made.
    if float(text) in (0.0, 100.0) and fraction not in (0.0, 1.0):
        text = f"{100 * fraction:.1f}"
        if float(text) in (0.0, 100.0):
            text = "<0.1" if fraction < 0.5 else ">99.9"
    return text


def share(fraction: Any, n: int | None = None) -> str:
    """Return a fraction as `90 %`."""
    plain = number(fraction)
    return "–" if math.isnan(plain) else f"{percentage(plain, n)}{NBSP}%"


def percent(estimate: Estimate | None) -> str:
    """Return `90 % (78 to 96)`."""
    if not known(estimate):
        return "–"
    n = cases(estimate)
    low, high = bounds(estimate)
    text = share(value(estimate), n)
    return text if math.isnan(low) else f"{text} ({_span(percentage(low, n), percentage(high, n))})"


def score(estimate: Estimate | None, decimals: int = 2) -> str:
    """Return `0.87 (0.82 to 0.91)`, for scores that are no proportions."""
    if not known(estimate):
        return "–"
    low, high = bounds(estimate)
    text = _fixed(value(estimate), decimals)
    return text if math.isnan(low) else f"{text} ({_span(_fixed(low, decimals), _fixed(high, decimals))})"


def _fixed(plain: float, decimals: int) -> str:
    return f"{plain:.{decimals}f}".replace("-", "−")


def _span(low: str, high: str) -> str:
    # One unit: a table's cell breaks before the interval, never inside it.
    return f"{low}{NBSP}to{NBSP}{high}"


def with_n(text: str, estimate: Estimate | None) -> str:
    """Append `, n = 42` where n is known."""
    n = cases(estimate)
    return text if n is None else f"{text}, n{NBSP}={NBSP}{count(n)}"


def counted(estimate: Estimate | None) -> str | None:
    """Return `38 of 42` where the estimate is a plain proportion of its n, else None."""
    n = cases(estimate)
    if n is None or not known(estimate):
        return None
    hits = value(estimate) * n
    return f"{count(hits)} of {count(n)}" if abs(hits - round(hits)) < 1e-3 else None


def interval(estimate: Estimate | None) -> str:
    """Return `90 %, 95 % interval 78 to 96`."""
    if not known(estimate):
        return "not measured"
    n = cases(estimate)
    return f"{share(value(estimate), n)}, {span(*bounds(estimate), n)}"


def span(low: float, high: float, n: int | None = None) -> str:
    """Return `95 % interval 78 to 96`."""
    if math.isnan(low):
        return "no interval"
    return f"95{NBSP}% interval {percentage(low, n)} to {percentage(high, n)}"


def listed(items: Iterable[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    words = list(items)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + (" and " + words[-1] if words else "")


def class_name(code: Any) -> str:
    """Return a diagnosis's full name, or the text itself where it is no code."""
    known_code = diagnosis.DIAGNOSES.get(str(code))
    return known_code.name if known_code else str(code)


def stamp(audited: Any, protocol: Any, optimistic: Any = False) -> str:
    """Return what stands in every figure's corner, such as `audited · protocol clean`."""
    words = ["audited" if audited is True else "UNAUDITED"]
    if protocol:
        words.append(f"protocol {protocol}")
    if optimistic:
        words.append("OPTIMISTIC")
    return " · ".join(words)
