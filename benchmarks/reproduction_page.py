"""docs/reproduction.md from what has been trained: the table, how to read it, and why the numbers fall."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.field_page import section
from benchmarks.reproduction_pairs import lacking, missing_pairs
from benchmarks.reproduction_pairs import section as in_pairs
from benchmarks.reproduction_plot import Bar, apart, difference, waterfall
from benchmarks.reproduction_reasons import collapsed, explanation
from benchmarks.reproduction_rows import ROWS, SEEDS, STEPS, WATERFALL, Row, Step, Training, trainings
from benchmarks.reproduction_words import (
    COMMANDS,
    HEAD,
    READING,
    STEPS_NOTE,
    filled,
    of_copies,
    of_costs,
    of_machines,
    of_steps,
    of_test,
)
from melascope.counted import plural
from melascope.reports.figures.style import to_png
from melascope.statistics import wilson
from melascope.training import recipe as recipes

Results = dict[str, Any]
PICTURE = "reproduction.png"
_OVERFIT = 0.1
_HALF = 0.0005 + 1e-9
"""Half a unit of the last digit of what was published: three are given each time."""
_ON_TEST = next(row.ours for row in ROWS if row.ours.design.held == "test")
_NOT_YET = "not computed yet"
_ANEW = (
    "What {names} chose for each photograph of the fold was not kept, so that a pair with it needs the training anew; "
    "the command does it."
)


def command(*seeds: int) -> str:
    """Return the command that makes everything of some seeds."""
    return (
        "python -m benchmarks.reproduction isic9 --authority ISIC_2019_Training_GroundTruth.csv "
        f"ISIC_2019_Training_Metadata.csv --out reproduction --write docs/reproduction.md "
        f"--seeds {' '.join(map(str, seeds))}"
    )


@dataclass(frozen=True)
class Ours:
    """The accuracies of a training's seeds on a part.

    Attributes:
        values: One for each seed.
        trained: The training accuracy at the same epoch, one for each seed.
        judged: How many photographs judge, for each seed.
        seeds: Which.
        precisions: In which each was trained.
    """

    values: tuple[float, ...]
    trained: tuple[float, ...]
    judged: tuple[int, ...]
    seeds: tuple[str, ...]
    precisions: tuple[str, ...]

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
    sections += [section(path.with_name(f"{path.stem}_clean.json")), in_pairs(results), _missing(fresh, results)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(section for section in sections if section) + "\n", encoding="utf-8")


def ours(results: Results, training: Training, part: str, epoch: int | None = None) -> Ours | None:
    """Return what the seeds of a training gave, or None where none was trained."""
    by_seed = dict(sorted(results.get(training.name, {}).items(), key=lambda item: int(item[0])))
    found = list(by_seed.values())
    if not found:
        return None
    place = -1 if epoch is None else epoch - 1
    trained = tuple(result["history"]["accuracy"][place] for result in found)
    if epoch is not None and part == "validation":
        values = tuple(result["history"]["tune_accuracy"][place] for result in found)
    else:
        values = tuple(result["parts"][part]["accuracy"] for result in found)
    judged = tuple(result["parts"][part]["n"] for result in found)
    return Ours(values, trained, judged, tuple(by_seed), tuple(result["precision"] for result in found))


def verdict(row: Row, results: Results) -> str:
    """Return whether a row is reproduced, in a word or a sentence."""
    words, fine = _judged(row, results)
    fallen = collapsed(row, results)
    if fine and fallen:
        return f"{words}, but with seed {' and '.join(fallen)} the network hardly learns: explained below"
    return words if fine else f"{words}; {'explained below' if explanation(row, results) else 'not explained yet'}"


def _judged(row: Row, results: Results) -> tuple[str, bool]:
    """Return the verdict, and whether there is nothing to explain."""
    found = ours(results, row.ours, row.part, row.epoch)
    if found is None:
        return _NOT_YET, True
    if row.published is None:
        return _holds(row, found, results)
    low, high = found.range
    if low - _HALF <= row.published <= high + _HALF:
        near = min(found.values) - _HALF <= row.published <= max(found.values) + _HALF
        return "yes" if near else "yes, within sampling error", True
    return f"no: ours is {'lower' if high < row.published else 'higher'}", False


def _holds(row: Row, found: Ours, results: Results) -> tuple[str, bool]:
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
                return f"{_NOT_YET}: {other} is missing", True
            low, high = apart(against, found)
            shown = None if low <= 0 <= high else sign * low > 0
            told.append((shown, f"{difference(against, found)} to {other}"))
    if not told:
        return "no number to compare with", True
    if any(true is False for true, _ in told):
        holds = "not as said"
    else:
        holds = "as said" if all(true for true, _ in told) else "not shown"
    return f"{holds} ({'; '.join(words for _, words in told)})", holds == "as said"


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
        command(*SEEDS),
        "```",
        "",
        filled(COMMANDS),
    ]
    if every:
        last = max(every, key=lambda result: result["date"])
        machine, packages = last["machine"], last["machine"]["packages"]
        seconds = sum(result["seconds"] for result in every)
        versions = ", ".join(f"{n} {packages[n]}" for n in ("keras", "tensorflow-cpu", "tensorflow") if n in packages)
        told = (
            f"Last result: {last['date']}, {machine['processor']}, {versions}; {seconds / 3600:.1f} hours of training: "
            f"{of_machines(every)}."
        )
        lines += ["", filled(_seeds_behind(results)), "", filled(told)]
    if stale:
        lines += ["", f"Left out, since the recipe has changed since: {', '.join(stale)}."]
    return "\n".join(lines)


def _seeds_behind(results: Results) -> str:
    """Return how many of the trainings that are asked for are done, and how many seeds stand behind a number."""
    asked, named = trainings(), " and ".join(map(str, SEEDS))
    done = {seed: sum(str(seed) in results.get(training.name, {}) for training in asked) for seed in SEEDS}
    whole = sum(all(str(seed) in results.get(training.name, {}) for seed in SEEDS) for training in asked)
    told = (
        f"Asked for are {len(asked)} trainings with each of the seeds {named}: {len(asked) * len(SEEDS)} results. "
        f"**{sum(done.values())} of {len(asked) * len(SEEDS)} are there**: "
        f"{', '.join(f'{n} of {len(asked)} with seed {seed}' for seed, n in done.items())}."
    )
    if whole == len(asked):
        return told
    many, where = (
        (f"{whole} of {len(asked)} trainings {'has' if whole == 1 else 'have'} all seeds", "of the others")
        if whole
        else ("No number rests on more than one seed", "of any")
    )
    return (
        f"{told} {many}; what another division, other copies and another training would give is not known {where}, and "
        "the range is then the sampling error of the photographs that judge, no more."
    )


def _table(results: Results) -> str:
    lines = [
        "## Each published number",
        "",
        "| row | project, recipe, judged by | published | ours (range) | reproduced | under `clean` (range) "
        "| seeds (b: in bfloat16): ours; `clean` |",
        "|---|---|---|---|---|---|---|",
    ]
    project = ""
    for row in ROWS:
        found = ours(results, row.ours, row.part, row.epoch)
        clean = ours(results, row.clean, row.clean_part, row.epoch if row.clean_part == "validation" else None)
        named = f"**{row.project}**: {row.what}" if row.project != project else row.what
        project = row.project
        published = f"{row.published:.3f}" if row.published is not None else row.said
        seeds = "; ".join(_seeds(one) if one else "none" for one in (found, clean))
        cells = (row.name, named, published, _cell(found, row), verdict(row, results), _cell(clean), seeds)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _seeds(found: Ours) -> str:
    """Return the seeds behind a number, those in bfloat16 with a b."""
    marks = ("b" if precision == "bfloat16" else "" for precision in found.precisions)
    return ", ".join(seed + mark for seed, mark in zip(found.seeds, marks, strict=True))


def _cell(found: Ours | None, row: Row | None = None) -> str:
    if found is None:
        return _NOT_YET
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
            seed = min(found)
            lines += [filled(words(found[seed]["told"], seed)), ""]
    bars = [(step, ours(results, step.training, step.part)) for step in STEPS]
    drawn = [_bar(step, found) if found is not None else None for step, found in bars]
    there = [bar for bar in drawn if bar is not None]
    if len(there) == len(STEPS):
        steps = zip(STEPS[1:4], there[:3], there[1:4], strict=True)
        costs = [(after.once, b.mean - a.mean, *apart(a, b)) for after, a, b in steps]
        lines += [_drawing(path, there), "", filled(of_costs(costs, [bar.mean for bar in there[4:]])), ""]
    elif there:
        absent = dict.fromkeys(step.training.name for step, found in bars if found is None)
        names = ", ".join(f"`{name}`" for name in absent)
        lines += [filled(f"The plot is not computed yet; what is missing: {names} ({WATERFALL} below)."), ""]
    if there:
        told = [_first_told(results, step) for step in STEPS[:4]]
        lines += [
            "| bar | accuracy | judged by | seeds | precision | what it costs |",
            "|---|---|---|---|---|---|",
            *(_line(place, drawn) for place in range(len(STEPS))),
            "",
            filled(STEPS_NOTE),
            "",
            *(filled(point, bullet=True) for point in of_steps(told[2], told[3])),
        ]
    else:
        lines.append(f"The waterfall is not computed yet ({WATERFALL} below).")
    return "\n".join(lines)


def _first_told(results: Results, step: Step) -> dict[str, Any] | None:
    """Return what the first seed of a step counted."""
    found = results.get(step.training.name)
    return found[min(found)]["told"] if found else None


def _bar(step: Step, found: Ours) -> Bar:
    precision = " and ".join(sorted(set(found.precisions)))
    return Bar(
        step.label, found.values, found.photographs, found.seeds, precision, step.published, step.against is not None
    )


def _drawing(path: Path, bars: list[Bar]) -> str:
    seeds = sorted({seed for bar in bars for seed in bar.seeds}, key=int)
    stamp = (
        "nine-class set, sgd-augmented on copies, without augmentation, 36 epochs, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: as-published (optimistic) to clean"
    )
    picture = path.parent / "pictures" / PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    title = "One recipe, one correction more at a time; and the same networks on Test"
    picture.write_bytes(to_png(waterfall(bars, title=title, stamp=stamp), dpi=130))
    alt = "; ".join(f"{' '.join(bar.label.split())}: {100 * bar.mean:.0f} %" for bar in bars)
    return f"![{alt}](pictures/{PICTURE})"


def _line(place: int, bars: list[Bar | None]) -> str:
    """Return a row of the waterfall's table."""
    step, bar = STEPS[place], bars[place]
    label = f"{place + 1}. {step.named}"
    label += f" (published: {step.published:.3f})" if step.published is not None else ""
    if bar is None:
        return f"| {label} | {_NOT_YET} | | none | | |"
    before = step.against if step.against is not None else place - 1
    against = bars[before] if before >= 0 else None
    cost = "" if before < 0 else _NOT_YET if against is None else difference(against, bar)
    if step.against is not None:
        cost += f" to bar {step.against + 1}: no correction, but Test, in part another source"
    cells = (label, _span(bar.values), f"{bar.photographs:,}", ", ".join(bar.seeds), bar.precision, cost)
    return f"| {' | '.join(cells)} |"


def _words(results: Results) -> str:
    told = [(row, explanation(row, results)) for row in ROWS if not _judged(row, results)[1] or collapsed(row, results)]
    lines: dict[str, list[str]] = {}
    for row, why in told:
        if why:
            lines.setdefault(why, []).append(f"`{row.name}`")
    if not lines:
        return ""
    points = (filled(f"{', '.join(names)}: {why}", bullet=True) for why, names in lines.items())
    return "\n".join(["## What differs, and why", "", *points])


def _missing(fresh: Results, results: Results) -> str:
    """Return what is missing of each seed, with the command that trains it."""
    needed = {row.name: (row.ours, row.clean) for row in ROWS}
    needed[WATERFALL] = tuple(step.training for step in STEPS)
    lines = []
    for seed in SEEDS:
        absent = {training.name for training in trainings() if str(seed) not in fresh.get(training.name, {})}
        unmade, anew = missing_pairs(results, seed), lacking(results, seed)
        rows, left = [], absent | anew
        for name, of_row in needed.items():
            wanted = {training.name for training in of_row} & left
            rows += [name] if wanted else []
            left -= wanted
        if not (rows or left):
            continue
        words = [plural(len(absent), "training")] if absent else []
        words += [f"{plural(len(unmade), 'pair')} on the fold"] if unmade else []
        lines += ["", filled(f"Of seed {seed}: {' and '.join(words)}."), ""]
        if kept := sorted(name for name in anew if str(seed) in results.get(name, {})):
            lines += [filled(_ANEW.format(names=", ".join(f"`{name}`" for name in kept))), ""]
        # What is left are ours. The whole command has them too.
        some = "" if len(absent) == len(trainings()) else f" --rows {' '.join([*rows, *(['ours'] if left else [])])}"
        weights = " --weights mobilenetv2_imagenet.npz" if left else ""
        lines += ["```sh", f"{command(seed)}{some}{weights}", "```"]
    return "\n".join(["## Not computed yet", *lines]) if lines else ""
