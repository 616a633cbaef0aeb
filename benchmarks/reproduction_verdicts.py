"""Whether a published number is reproduced: what the seeds of a training gave, beside what a project says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.reproduction_plot import apart, half_width
from benchmarks.reproduction_reasons import collapsed, explanation, in_pairs
from benchmarks.reproduction_rows import COMPARED, OVERFIT, ROWS, Row, Training, key
from melascope.statistics import wilson

Results = Mapping[str, Any]
LAST = 10
"""How many epochs before the one that is read tell how much an accuracy moves from one to the next."""
NOT_YET = "not computed yet"
FEW = 50
"""Where fewer independent photographs judge, almost any number would count as reproduced."""
_HALF = 0.0005 + 1e-9
"""Half a unit of the last digit of what was published: three are given each time."""


@dataclass(frozen=True)
class Ours:
    """The accuracies of a training's seeds on a part.

    Attributes:
        values: One for each seed.
        trained: The training accuracy at the same epoch, one for each seed.
        balanced: The balanced accuracy at the same epoch, one for each seed.
        judged: How many photographs judge, for each seed.
        counts: As how many independent ones they count, for each seed; None where their groups are not counted.
        seeds: Which.
        precisions: In which each was trained.
        late: The accuracies of the last epochs up to the one that is read, for each seed; empty for a part that is
            judged at the end alone.
    """

    values: tuple[float, ...]
    trained: tuple[float, ...]
    balanced: tuple[float, ...]
    judged: tuple[int, ...]
    counts: tuple[float | None, ...]
    seeds: tuple[str, ...]
    precisions: tuple[str, ...]
    late: tuple[tuple[float, ...], ...] = ()

    @property
    def photographs(self) -> int:
        """How many judge, for the seed with the fewest."""
        return min(self.judged)

    @property
    def each_independent(self) -> tuple[float, ...]:
        """As how many independent photographs those that judge count, for each seed; all where it is not known."""
        return tuple(n if count is None else count for n, count in zip(self.judged, self.counts, strict=True))

    @property
    def independent(self) -> float:
        """The same for the seed with the fewest."""
        return min(self.each_independent)

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return sum(self.values) / len(self.values)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of each seed the Wilson interval (95 %), where groups of photograph and lesion were judged alike."""
        each = zip(self.seeds, self.values, self.each_independent, strict=True)
        found = {seed: wilson(value * n, n) for seed, value, n in each}
        return {seed: (one.low, one.high) for seed, one in found.items()}

    @property
    def range(self) -> tuple[float, float]:
        """From the least lower to the largest upper bound of the seeds' intervals."""
        lows, highs = zip(*self.intervals.values(), strict=True)
        return min(lows), max(highs)

    @property
    def lately(self) -> tuple[float, float, float] | None:
        """The mean, the lowest and the highest accuracy of the last epochs of all seeds; None where none are kept."""
        every = [value for each in self.late for value in each]
        return (sum(every) / len(every), min(every), max(every)) if every else None

    def said(self) -> str:
        """The seeds, and the range."""
        return f"{span(self.values)} ({self.range[0]:.3f} to {self.range[1]:.3f})"

    def said_lately(self) -> str:
        """The last epochs, in words."""
        if self.lately is None:
            return "-"
        mean, low, high = self.lately
        return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def span(values: tuple[float, ...]) -> str:
    """Return numbers from the lowest to the highest, in words."""
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def ours(results: Results, training: Training, part: str, epoch: int | None = None) -> Ours | None:
    """Return what the seeds of a training gave, or None where none was trained.

    Args:
        results: By training and seed.
        training: Which.
        part: `validation` or `test`.
        epoch: After which epoch; None for the last. Test is judged at the end alone.
    """
    by_seed = dict(sorted(results.get(training.name, {}).items(), key=lambda item: int(item[0])))
    found = list(by_seed.values())
    if not found:
        return None
    histories = [result["history"] for result in found]
    end = epoch or min(len(each["accuracy"]) for each in histories)
    late: tuple[tuple[float, ...], ...] = ()
    if part == "validation":
        late = tuple(tuple(each["tune_accuracy"][max(0, end - LAST) : end]) for each in histories)
    if epoch is not None and part == "validation":
        values = tuple(each["tune_accuracy"][end - 1] for each in histories)
        balanced = tuple(each["tune_balanced_accuracy"][end - 1] for each in histories)
    else:
        values, balanced = (
            tuple(result["parts"][part][score] for result in found) for score in ("accuracy", "balanced_accuracy")
        )
    return Ours(
        values=values,
        trained=tuple(each["accuracy"][end - 1] for each in histories),
        balanced=balanced,
        judged=tuple(result["parts"][part]["n"] for result in found),
        counts=tuple(result["parts"][part].get("independent") for result in found),
        seeds=tuple(by_seed),
        precisions=tuple(result["precision"] for result in found),
        late=late,
    )


def verdict(row: Row, results: Results) -> str:
    """Return whether a row is reproduced, in a word or a sentence."""
    words, fine = judged(row, results)
    fallen = collapsed(row, results)
    if fine and fallen:
        return f"{words}, but with seed {' and '.join(fallen)} the network hardly learns: explained below"
    return words if fine else f"{words}; {'explained below' if explanation(row, results) else 'not explained yet'}"


def judged(row: Row, results: Results) -> tuple[str, bool]:
    """Return the verdict, and whether there is nothing to explain.

    A number is reproduced when the interval of at least one seed with which anything was learnt holds it. That it lies
    between two seeds neither of which supports it is not enough.
    """
    found = ours(results, row.ours, row.part, row.epoch)
    if found is None:
        return NOT_YET, True
    if row.published is None:
        return _holds(row, found, results)
    fallen = collapsed(row, results)
    learnt = {seed: interval for seed, interval in found.intervals.items() if seed not in fallen} or found.intervals
    held = [low <= row.published <= high for low, high in learnt.values()]
    rounded = [low - _HALF <= row.published <= high + _HALF for low, high in learnt.values()]
    if any(rounded):
        values = [value for seed, value in zip(found.seeds, found.values, strict=True) if seed in learnt]
        near = min(values) - _HALF <= row.published <= max(values) + _HALF
        words = "yes" if near else "yes, within sampling error"
        return f"{words if any(held) else f'{words} and its rounding'}{_of_few(found)}", True
    above = min(low for low, _ in learnt.values()) > row.published
    below = max(high for _, high in learnt.values()) < row.published
    words = f"no: ours is {'higher' if above else 'lower' if below else 'lower or higher by the seed'}"
    return f"{words} ({_to_published(row.published, found, learnt)}){_of_few(found)}", False


def few(results: Results) -> dict[str, tuple[int, float, float]]:
    """Return the rows of which so few photographs judge that almost any number would count as reproduced.

    Returns:
        By row: how many judge, and between which bounds a number counts as reproduced.
    """
    told = {}
    for row in ROWS:
        found = ours(results, row.ours, row.part, row.epoch)
        if found is not None and row.published is not None and found.independent < FEW:
            told[row.name] = (found.photographs, *found.range)
    return told


def _of_few(found: Ours) -> str:
    return f" (only {found.photographs} photographs judge)" if found.independent < FEW else ""


def _to_published(published: float, found: Ours, learnt: Mapping[str, Any]) -> str:
    """Return how far ours is from what was published, which other photographs judged, as many as ours."""
    of = zip(found.seeds, found.values, found.each_independent, strict=True)
    chosen = [(value, n) for seed, value, n in of if seed in learnt]
    mean, n = sum(value for value, _ in chosen) / len(chosen), min(n for _, n in chosen)
    less, half = mean - published, half_width((mean, n), (published, n))
    words = f"{less:+.3f}, {less - half:+.3f} to {less + half:+.3f} with the sampling error of both"
    return f"{words}: not shown to differ" if abs(less) <= half else words


def _holds(row: Row, found: Ours, results: Results) -> tuple[str, bool]:
    # Of each statement: whether it holds, does not, or cannot be told (None), and the words.
    told: list[tuple[bool | None, str]] = []
    if row.overfits:
        gap = sum(found.trained) / len(found.trained) - found.mean
        half = half_width((found.mean, found.independent))
        shown = None if gap - half <= OVERFIT <= gap + half else gap > OVERFIT
        told.append((shown, f"training is {gap:+.2f} ({gap - half:+.2f} to {gap + half:+.2f}) above validation"))
    for other, sign in ((row.above, 1), (row.below, -1)):
        if other:
            less = _less(row, found, other, results)
            if less is None:
                return f"{NOT_YET}: {other} is missing", True
            value, low, high, how = less
            shown = None if low <= 0 <= high else sign * low > 0
            told.append((shown, f"{value:+.3f} ({low:+.3f} to {high:+.3f}, {how}) to {other}"))
    if not told:
        return "no number to compare with", True
    if any(true is False for true, _ in told):
        holds = "not as said"
    else:
        holds = "as said" if all(true for true, _ in told) else "not shown"
    return f"{holds} ({'; '.join(words for _, words in told)})", holds == "as said"


def _less(row: Row, found: Ours, other: str, results: Results) -> tuple[float, float, float, str] | None:
    """Return by how much a row is above another, the interval, and whether in pairs; None where one is missing."""
    base = next(one for one in ROWS if one.name == other)
    against = ours(results, base.ours, base.part, base.epoch)
    if against is None:
        return None
    pairs = results.get(COMPARED, {}).get(key(row.name, other))
    if pairs is None:
        return found.mean - against.mean, *apart(against, found), "unpaired"
    every = set(found.seeds) | set(against.seeds)
    how = "paired" if set(pairs["seeds"]) == every else f"paired, seed {' and '.join(pairs['seeds'])}"
    if in_pairs(row, base, results):
        return pairs["value"], pairs["low"], pairs["high"], how
    # A seed without pairs counts as much as another: none decides because its interval is the narrower.
    alone = f"{how}, {pairs['value']:+.3f}, {pairs['low']:+.3f} to {pairs['high']:+.3f}"
    return found.mean - against.mean, *apart(against, found), f"all seeds, unpaired; {alone}"
