"""docs/reproduction.md from what has been trained: the table, how to read it, and why the numbers fall."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.field_beside import span as span_of
from benchmarks.field_page import accuracies, section
from benchmarks.field_record import in_field
from benchmarks.reproduction_pairs import section as in_pairs
from benchmarks.reproduction_plot import Bar, apart, difference, waterfall
from benchmarks.reproduction_reasons import collapsed, explanation
from benchmarks.reproduction_record import current
from benchmarks.reproduction_rows import (
    BEGUN,
    FLOW,
    JUDGES,
    ROWS,
    SEEDS,
    STEPS,
    WATERFALL,
    Row,
    Step,
    Training,
    asked,
    trainings,
)
from benchmarks.reproduction_seen import of_seen
from benchmarks.reproduction_short import in_short
from benchmarks.reproduction_verdicts import FEW, NOT_YET, Ours, few, judged, ours, span, verdict
from benchmarks.reproduction_words import (
    COMMANDS,
    HEAD,
    READING,
    STEPS_NOTE,
    filled,
    of_copies,
    of_costs,
    of_few,
    of_flow,
    of_judges,
    of_machines,
    of_steps,
    of_test,
    of_uncounted,
)
from melascope.counted import plural
from melascope.reports.figures.style import to_png

Results = dict[str, Any]
PICTURE = "reproduction.png"
UNFINISHED = "not finished"
_ON_TEST = next(row.ours for row in ROWS if row.ours.design.held == "test")


def command(*seeds: int) -> str:
    """Return the command that makes everything of some seeds."""
    return (
        "python -m benchmarks.reproduction isic9 --authority ISIC_2019_Training_GroundTruth.csv "
        f"ISIC_2019_Training_Metadata.csv --out reproduction --write docs/reproduction.md "
        f"--seeds {' '.join(map(str, seeds))}"
    )


def write_page(path: Path, results: Results) -> None:
    """Write the page, and its plot into `pictures` beside it where all of its trainings are there."""
    every, stale = current(results)
    fresh = {training.name: every[training.name] for training in trainings() if training.name in every}
    field = path.with_name(f"{path.stem}_clean.json")
    sections = [
        _head(),
        in_short(every, field),
        _made(fresh, stale),
        _table(every, field),
        _reading(every, results.get(JUDGES, {})),
    ]
    sections += [_why(path, every, results.get(FLOW)), _words(every)]
    sections += [section(field), in_pairs(every), _missing(every)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(section for section in sections if section) + "\n", encoding="utf-8")


def _head() -> str:
    return "\n".join(["# The numbers of the field, reproduced", "", filled(HEAD)])


def _made(results: Results, stale: list[str]) -> str:
    """Return how the page is made, how much of it is there, and by which machines."""
    every = [result for seeds in results.values() for result in seeds.values()]
    lines = ["## How it is made", "", "```sh", command(*SEEDS), "```", "", filled(COMMANDS)]
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
    wanted, named = asked(), " and ".join(map(str, SEEDS))
    done = {seed: sum(str(seed) in results.get(training.name, {}) for training in wanted) for seed in SEEDS}
    whole = sum(all(str(seed) in results.get(training.name, {}) for seed in SEEDS) for training in wanted)
    other = sum(len(results.get(training.name, ())) for training in trainings() if training not in wanted)
    told = (
        f"Asked for are {len(wanted)} trainings with each of the seeds {named}: {len(wanted) * len(SEEDS)} results. "
        f"**{sum(done.values())} of {len(wanted) * len(SEEDS)} are there**: "
        f"{', '.join(f'{n} of {len(wanted)} with seed {seed}' for seed, n in done.items())}."
    )
    if other:
        told += (
            f" Beside these {'stands' if other == 1 else 'stand'} {plural(other, 'result')} of one fold under `clean`."
        )
    if whole == len(wanted):
        return told
    many, where = (
        (f"{whole} of {len(wanted)} trainings {'has' if whole == 1 else 'have'} all seeds", "of the others")
        if whole
        else ("No number rests on more than one seed", "of any")
    )
    return (
        f"{told} {many}; what another division, other copies and another training would give is not known {where}, and "
        "the brackets are then the sampling error of the photographs that judge, no more."
    )


def _table(results: Results, field: Path) -> str:
    lines = [
        "## Each published number",
        "",
        "| row | project, recipe, judged by | published | ours (95 %) | its last ten epochs: mean (lowest to highest) "
        "| reproduced | under `clean`, cross-validated (95 %) | under `clean`, one fold or Test (95 %) | its last ten "
        "epochs | seeds (b: in bfloat16): ours; one fold or Test |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    project, of_folds = "", accuracies(field)
    for row in ROWS:
        found = ours(results, row.ours, row.part, row.epoch)
        clean = ours(results, row.clean, row.clean_part, row.epoch if row.clean_part == "validation" else None)
        named = f"**{row.project}**: {row.what}" if row.project != project else row.what
        project = row.project
        published = f"{row.published:.3f}" if row.published is not None else row.said
        seeds = "; ".join(_seeds(one) if one else "none" for one in (found, clean))
        late, clean_late = (one.said_lately() if one else "" for one in (found, clean))
        cell = _cell(found, row) if found else so_far(results, row.ours, row.part)
        judged_so = UNFINISHED if cell.startswith(UNFINISHED) else verdict(row, results)
        own = (row.name, named, published, cell, late, judged_so)
        cells = (*own, _on_all_folds(row, of_folds), _clean(row, clean, results), clean_late, seeds)
        lines.append("| " + " | ".join(cells) + " |")
    rows = _uncounted(results)
    return "\n".join([*lines, *(["", filled(of_uncounted(rows))] if rows else [])])


def _uncounted(results: Results) -> list[str]:
    """Return the rows, and `waterfall` for a bar, of which it is not known how many independent photographs judge."""
    found = [(row.name, ours(results, row.ours, row.part)) for row in ROWS]
    found += [(row.name, ours(results, row.clean, row.clean_part)) for row in ROWS]
    found += [(WATERFALL, ours(results, step.training, step.part)) for step in STEPS]
    named = {name for name, one in found if one is not None and None in one.counts}
    return [name for name in dict.fromkeys(name for name, _ in found) if name in named]


def _seeds(found: Ours) -> str:
    """Return the seeds behind a number, those in bfloat16 with a b."""
    marks = ("b" if precision == "bfloat16" else "" for precision in found.precisions)
    return ", ".join(seed + mark for seed, mark in zip(found.seeds, marks, strict=True))


def so_far(results: Results, training: Training, part: str) -> str:
    """Return what a training without a result has after its epochs so far, where one is begun; Test is not judged."""
    told = []
    for seed, one in sorted(results.get(BEGUN, {}).get(training.name, {}).items() if part == "validation" else ()):
        found = ours({training.name: {seed: one}}, training, part)
        if found is not None:
            trained = f"training {span(found.trained)}, validation {found.said()}"
            told.append(f"seed {seed} after {one['epochs']} of {one['of']} epochs {trained}")
    return f"{UNFINISHED}: {'; '.join(told)}" if told else NOT_YET


def _cell(found: Ours, row: Row | None = None) -> str:
    if row is not None and row.published is None:
        return f"training {span(found.trained)}, validation {found.said()}"
    return found.said()


def _clean(row: Row, found: Ours | None, results: Results) -> str:
    """Return what a row's recipe has under `clean` where one fold or Test judges; `-` where that is not asked for."""
    if found is not None:
        return _cell(found)
    told = so_far(results, row.clean, row.clean_part)
    return "-" if told == NOT_YET and row.clean not in asked() else told


def _on_all_folds(row: Row, accuracy: Mapping[str, Any]) -> str:
    """Return what a row's recipe has in the cross-validation; `-` for a row of Test or of fewer epochs."""
    if row.clean_part == "test" or row.epoch is not None:
        return "-"
    found = accuracy.get(in_field(row.clean))
    return span_of(found) if found is not None else NOT_YET


def _reading(results: Results, judges: dict[str, Any]) -> str:
    counted = {"judges": of_judges(judges), "few": of_few(few(results), FEW)}
    return "\n".join(["## How to read it", "", *(filled(point.format(**counted), bullet=True) for point in READING)])


def _why(path: Path, results: Results, flow: dict[str, Any] | None) -> str:
    lines = ["## Why 83 % becomes 41 %", ""]
    for training, words in ((STEPS[0].training, of_copies), (_ON_TEST, of_test)):
        found = results.get(training.name)
        if found:
            seed = min(found)
            lines += [filled(words(found[seed]["told"], seed)), ""]
        if words is of_copies and (told := of_seen(results)):
            lines += [*told, ""]
    bars = [(step, ours(results, step.training, step.part)) for step in STEPS]
    drawn = [_bar(step, found) if found is not None else None for step, found in bars]
    there = [bar for bar in drawn if bar is not None]
    if len(there) == len(STEPS):
        steps = zip(STEPS[1:4], there[:3], there[1:4], strict=True)
        costs = [(after.once, b.mean - a.mean, *apart(a, b)) for after, a, b in steps]
        means = [bar.lately[0] for bar in there[:4] if bar.lately is not None]
        lines += [_drawing(path, there), "", filled(of_costs(costs, [bar.mean for bar in there[4:]], means)), ""]
    elif there:
        absent = dict.fromkeys(step.training.name for step, found in bars if found is None)
        names = ", ".join(f"`{name}`" for name in absent)
        lines += [filled(f"The plot is not computed yet; what is missing: {names} ({WATERFALL} below)."), ""]
    if there:
        told = [_first_told(results, step) for step in STEPS[:4]]
        lines += [
            "| bar | accuracy | its last ten epochs | balanced accuracy | judged by (independent) | seeds | precision "
            "| what it costs |",
            "|---|---|---|---|---|---|---|---|",
            *(_line(place, drawn) for place in range(len(STEPS))),
            "",
            filled(STEPS_NOTE),
            "",
            *(filled(point, bullet=True) for point in [*of_flow(flow), *of_steps(told[2], told[3])]),
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
        step.label, found.values, found.photographs, found.seeds, precision, step.published, step.against is not None,
        found.lately, found.balanced, None if None in found.counts else found.independent,
    )  # fmt: skip


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
        return f"| {label} | {NOT_YET} | | | | none | | |"
    before = step.against if step.against is not None else place - 1
    against = bars[before] if before >= 0 else None
    cost = "" if before < 0 else NOT_YET if against is None else difference(against, bar)
    if step.against is not None:
        cost += f" to bar {step.against + 1}: no correction, but Test, in part another source"
    late = "-" if bar.lately is None else "{:.3f} ({:.3f} to {:.3f})".format(*bar.lately)
    many = f"{bar.photographs:,}" + (f" ({bar.counts:,.0f})" if bar.counts is not None else "")
    own = (label, span(bar.values), late, span(bar.balanced), many)
    cells = (*own, ", ".join(bar.seeds), bar.precision, cost)
    return f"| {' | '.join(cells)} |"


def _words(results: Results) -> str:
    told = [(row, explanation(row, results)) for row in ROWS if not judged(row, results)[1] or collapsed(row, results)]
    lines: dict[str, list[str]] = {}
    for row, why in told:
        if why:
            lines.setdefault(why, []).append(f"`{row.name}`")
    if not lines:
        return ""
    points = (filled(f"{', '.join(names)}: {why}", bullet=True) for why, names in lines.items())
    return "\n".join(["## What differs, and why", "", *points])


def _missing(results: Results) -> str:
    """Return what is missing of each seed, with the command that trains it.

    Args:
        results: Of recipes as they are now.
    """
    needed = {row.name: (row.ours, row.clean) for row in ROWS}
    needed[WATERFALL] = tuple(step.training for step in STEPS)
    lines = []
    for seed in SEEDS:
        absent = {training.name for training in asked() if str(seed) not in results.get(training.name, {})}
        rows, left = [], set(absent)
        for name, of_row in needed.items():
            wanted = {training.name for training in of_row} & left
            rows += [name] if wanted else []
            left -= wanted
        if absent:
            some = "" if len(absent) == len(asked()) else f" --rows {' '.join(rows)}"
            told = ["", f"Of seed {seed}: {plural(len(absent), 'training')}.", ""]
            lines += [*told, "```sh", f"{command(seed)}{some}", "```"]
    return "\n".join(["## Not computed yet", *lines]) if lines else ""
