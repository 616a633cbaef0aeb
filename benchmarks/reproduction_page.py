"""docs/reproduction.md from what has been trained: the table, how to read it, and why the numbers fall."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.field_page import section
from benchmarks.reproduction_pairs import section as in_pairs
from benchmarks.reproduction_plot import Bar, waterfall
from benchmarks.reproduction_rows import ROWS, STEPS, WATERFALL, Row, Training, trainings
from benchmarks.reproduction_words import COMMANDS, HEAD, READING, STEPS_NOTE, filled, of_copies, of_test
from melascope.counted import plural
from melascope.reports.figures.style import to_png
from melascope.statistics import wilson
from melascope.training import recipe as recipes

Results = dict[str, Any]
PICTURE = "reproduction.png"
PAIRS = "pairs"
"""The key of the results under which ours stand beside others, of `reproduction_pairs.pairs`."""
COMMAND = (
    "python -m benchmarks.reproduction isic9 --authority ISIC_2019_Training_GroundTruth.csv "
    "ISIC_2019_Training_Metadata.csv --out reproduction --seeds 0 1"
)
_OVERFIT = 0.1
_BELOW = "; explained below"
_ON_TEST = next(row.ours for row in ROWS if row.ours.design.held == "test")


@dataclass(frozen=True)
class Ours:
    """The accuracies of a training's seeds on a part.

    Attributes:
        values: One for each seed.
        trained: The training accuracy at the same epoch, one for each seed.
        judged: How many photographs judge, for each seed.
    """

    values: tuple[float, ...]
    trained: tuple[float, ...]
    judged: tuple[int, ...]

    @property
    def photographs(self) -> int:
        """How many judge, for the seed with the fewest."""
        return min(self.judged)

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return sum(self.values) / len(self.values)

    @property
    def range(self) -> tuple[float, float]:
        """From the least lower to the largest upper bound of the seeds' Wilson intervals (95 %)."""
        each = [wilson(round(value * n), n) for value, n in zip(self.values, self.judged, strict=True)]
        return min(one.low for one in each), max(one.high for one in each)

    def said(self) -> str:
        """The seeds, and the range."""
        seeds = _span(self.values)
        return f"{seeds} ({self.range[0]:.3f} to {self.range[1]:.3f})"


def write_page(path: Path, results: Results) -> None:
    """Write the page, and its plot into `pictures` beside it where all of its trainings are there."""
    fresh, stale = _current(results)
    sections = [_head(fresh, stale), _table(fresh), _reading(), _why(path, fresh), _words(fresh)]
    sections += [section(path.with_name(f"{path.stem}_clean.json")), in_pairs(results.get(PAIRS, {})), _missing(fresh)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(section for section in sections if section) + "\n", encoding="utf-8")


def ours(results: Results, training: Training, part: str, epoch: int | None = None) -> Ours | None:
    """Return what the seeds of a training gave, or None where none was trained."""
    found = [result for _, result in sorted(results.get(training.name, {}).items())]
    if not found:
        return None
    place = -1 if epoch is None else epoch - 1
    trained = tuple(result["history"]["accuracy"][place] for result in found)
    if epoch is not None and part == "validation":
        values = tuple(result["history"]["tune_accuracy"][place] for result in found)
    else:
        values = tuple(result["parts"][part]["accuracy"] for result in found)
    return Ours(values, trained, tuple(result["parts"][part]["n"] for result in found))


def verdict(row: Row, results: Results) -> str:
    """Return whether a row is reproduced, in a word or a sentence."""
    found = ours(results, row.ours, row.part, row.epoch)
    if found is None:
        return "not computed yet"
    if row.published is None:
        return _holds(row, found, results)
    low, high = found.range
    if low <= row.published <= high:
        return "yes" if min(found.values) <= row.published <= max(found.values) else "yes, within sampling error"
    return f"no: ours is {'lower' if high < row.published else 'higher'}{_BELOW if row.explained else ''}"


def _holds(row: Row, found: Ours, results: Results) -> str:
    # Of each statement: whether it holds, does not, or cannot be told (None), and the words.
    told: list[tuple[bool | None, str]] = []
    if row.overfits:
        gap = sum(found.trained) / len(found.trained) - found.mean
        told.append((gap > _OVERFIT, f"training is {gap:+.2f} above validation"))
    for other, sign in ((row.above, 1), (row.below, -1)):
        if other:
            base = next(one for one in ROWS if one.name == other)
            against = ours(results, base.ours, base.part, base.epoch)
            if against is None:
                return "not computed yet"
            low, high = _apart(against, found)
            shown = None if low <= 0 <= high else sign * low > 0
            told.append((shown, f"{_difference(against, found)} to {other}"))
    if not told:
        return "no number to compare with"
    if any(true is False for true, _ in told):
        holds = "not as said"
    else:
        holds = "as said" if all(true for true, _ in told) else "not shown"
    below = _BELOW if row.explained and holds != "as said" else ""
    return f"{holds} ({'; '.join(words for _, words in told)}){below}"


def _current(results: Results) -> tuple[Results, list[str]]:
    """Return the results whose recipe is still today's, and the names of the others."""
    fresh, stale = {}, []
    for training in trainings():
        kept = {}
        for seed, result in results.get(training.name, {}).items():
            now = training.resolved(result["precision"])
            if _plain(recipes.parse(tomllib.loads(result["recipe"]))) == _plain(now):
                kept[seed] = result
            else:
                stale.append(f"{training.name}/seed-{seed}")
        if kept:
            fresh[training.name] = kept
    return fresh, stale


def _plain(recipe: recipes.Recipe) -> Any:
    return recipe.model_dump(mode="json", exclude={"name", "description", "expected"})


def _head(results: Results, stale: list[str]) -> str:
    every = [result for seeds in results.values() for result in seeds.values()]
    lines = [
        "# The numbers of the field, reproduced",
        "",
        filled(HEAD),
        "",
        "```sh",
        COMMAND,
        "```",
        "",
        filled(COMMANDS),
    ]
    if every:
        machine = every[-1]["machine"]
        packages = machine["packages"]
        seconds = sum(result["seconds"] for result in every)
        done = sum(1 for training in trainings() if training.name in results)
        versions = ", ".join(f"{n} {packages[n]}" for n in ("keras", "tensorflow-cpu", "tensorflow") if n in packages)
        lines += [
            "",
            f"Last result: {max(result['date'] for result in every)}, {machine['processor']}, "
            f"{plural(machine['cores'], 'core')}, {versions}; {done} of {len(trainings())} trainings done, "
            f"{seconds / 3600:.1f} hours{_precisions(every)}.",
        ]
    if stale:
        lines += ["", f"Left out, since the recipe has changed since: {', '.join(stale)}."]
    return "\n".join(lines)


def _precisions(every: list[Results]) -> str:
    """Return how many trainings were not in float32, in words."""
    others = sum(1 for result in every if result["precision"] != "float32")
    return (
        f"; of these {plural(len(every), 'result')} {others:,} in bfloat16 (`--precision bfloat16`)" if others else ""
    )


def _table(results: Results) -> str:
    lines = [
        "## Each published number",
        "",
        "| row | project, recipe, judged by | published | ours (range) | reproduced | under `clean` (range) |",
        "|---|---|---|---|---|---|",
    ]
    project = ""
    for row in ROWS:
        found = ours(results, row.ours, row.part, row.epoch)
        clean = ours(results, row.clean, row.clean_part, row.epoch if row.clean_part == "validation" else None)
        named = f"**{row.project}**: {row.what}" if row.project != project else row.what
        project = row.project
        published = f"{row.published:.3f}" if row.published is not None else row.said
        cells = (row.name, named, published, _cell(found, row), verdict(row, results), _cell(clean))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(found: Ours | None, row: Row | None = None) -> str:
    if found is None:
        return "not computed yet"
    if row is not None and row.published is None:
        return f"training {_span(found.trained)}, validation {found.said()}"
    return found.said()


def _span(values: tuple[float, ...]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def _reading() -> str:
    return "\n".join(["## How to read it", "", *(filled(point, bullet=True) for point in READING)])


def _why(path: Path, results: Results) -> str:
    lines = ["## Why 83 % becomes 41 %", ""]
    for training, words in ((STEPS[0].training, of_copies), (_ON_TEST, of_test)):
        found = results.get(training.name)
        if found:
            lines += [filled(words(found[min(found)]["told"])), ""]
    bars = [(step, ours(results, step.training, step.part)) for step in STEPS]
    if any(found is None for _, found in bars):
        lines.append(f"The waterfall is not computed yet: `{COMMAND} --rows {WATERFALL}`.")
        return "\n".join(lines)
    drawn = [Bar(step.label, found.values, found.photographs) for step, found in bars if found is not None]
    seeds = min(len(bar.values) for bar in drawn)
    stamp = f"nine-class set, sgd-augmented, 36 epochs, {plural(seeds, 'seed')}: as-published (optimistic) to clean"
    picture = path.parent / "pictures" / PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(
        to_png(waterfall(drawn, title="One recipe, one correction more at a time", stamp=stamp), dpi=130)
    )
    alt = "; ".join(f"{' '.join(bar.label.split())}: {bar.mean:.0%}" for bar in drawn)
    lines += [
        f"![{alt}](pictures/{PICTURE})",
        "",
        "| one more correction | accuracy | judged by | what it costs |",
        "|---|---|---|---|",
    ]
    for before, bar in zip([None, *drawn], drawn, strict=False):
        cost = "" if before is None else _difference(before, bar)
        lines.append(f"| {' '.join(bar.label.split())} | {_span(bar.values)} | {bar.photographs:,} | {cost} |")
    lines += [
        "",
        filled(STEPS_NOTE),
    ]
    return "\n".join(lines)


def _apart(before: Bar | Ours, after: Bar | Ours) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two accuracies on different photographs."""
    value = after.mean - before.mean
    half = 1.96 * math.sqrt(sum(one.mean * (1 - one.mean) / one.photographs for one in (before, after)))
    return value - half, value + half


def _difference(before: Bar | Ours, after: Bar | Ours) -> str:
    low, high = _apart(before, after)
    return f"{after.mean - before.mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _words(results: Results) -> str:
    explained = [row for row in ROWS if row.explained and ours(results, row.ours, row.part) is not None]
    if not explained:
        return ""
    return "\n".join(
        ["## What differs, and why", "", *(filled(f"`{row.name}`: {row.explained}", bullet=True) for row in explained)]
    )


def _missing(results: Results) -> str:
    missing = [row.name for row in ROWS if row.ours.name not in results or row.clean.name not in results]
    missing += [WATERFALL] if any(step.training.name not in results for step in STEPS) else []
    if not missing:
        return ""
    return "\n".join(["## Not computed yet", "", "```sh", f"{COMMAND} --rows {' '.join(missing)}", "```"])
