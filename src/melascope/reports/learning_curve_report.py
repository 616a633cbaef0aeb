"""The report of a learning curve: the curve, what it says of twice the lesions, and with what right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from melascope.reports import data_sections as data
from melascope.reports import wording
from melascope.reports.album import Album, LoadPicture
from melascope.reports.cross_validation_report import (
    BASELINES,
    TITLES,
    baselines,
    cell,
    reproduce,
    scored_on,
    shuffled_note,
    stamps,
)
from melascope.reports.data_report import FOOTER
from melascope.reports.figures.learning import learning_curve
from melascope.reports.page import Details, Drawing, Page, Points, Section, Table, Text


def learning_curve_report(
    result: Mapping[str, Any], title: str, table: pd.DataFrame | None = None, picture: LoadPicture | None = None
) -> str:
    """Return the report as one self-contained HTML page.

    Args:
        result: `learning_curve.json`.
        title: Of the page.
        table: The photographs used, for their counts.
        picture: Loads a photograph by its path as `(h, w, 3) uint8`.
    """
    stamp = f"out of fold · {wording.stamp(result['audited'], result['protocol'], result['optimistic'])}"
    recipe = result["recipe"]
    sections = [
        Section("summary", "In short", _summary(result, stamp), "for everyone"),
        Section("limits", "What limits this curve", _limits(result)),
        Section("numbers", "In numbers", _numbers(result), "statistics"),
        Section("data", "The photographs", _data(result, table, picture, stamp), "data"),
        Section("reproduce", "Doing it again", reproduce(result, [(recipe["name"], recipe["toml"])]), "engineering"),
    ]
    repeats = len(result["seeds"])
    subtitle = (
        f"{wording.plural(len(result['points']), 'size')}, {result['folds']} folds"
        f"{f', {repeats} times' if repeats > 1 else ''}: {wording.plural(result['photographs'], 'photograph')} in "
        f"{wording.plural(result['groups'], 'group')}"
    )
    return Page(title=title, subtitle=subtitle, stamps=stamps(result), sections=sections, footer=FOOTER).render()


def _summary(result: Mapping[str, Any], stamp: str) -> list[Any]:
    unit = result["unit"]
    lead = (
        f"Would more photographs help? The recipe was trained on growing shares of the {unit} and scored each time "
        f"{scored_on(result)}. Where the curve still rises at its right end, more {unit} like these are likely to "
        "help; where it is flat, a better recipe or other photographs are needed."
    )
    fits = result["fits"]
    chance = {"balanced_accuracy": result["support"]["chance"], "melanoma_auc": 0.5}
    titles = [(key, title) for key, title in TITLES[:2] if key not in result["support"]["too_few"]]
    figure = learning_curve(
        result["points"], result["by_training"], fits, titles, chance=chance, stamp=stamp, unit=unit
    )
    caption = (
        "Thin lines: one fold each. Blue: the mean of each size with its 95 % interval. Black: the power law through "
        "the means, dashed where it goes beyond what was measured; the diamond is what it says of twice as many, "
        f"with its 95 % interval. The axis of {unit} is logarithmic."
    )
    told = " ".join(str(fit["words"]) for fit in fits.values())
    return [
        Text(lead, "lead"),
        *([Text(result["not_above"], "warning")] if result.get("not_above") else []),
        *(Text(str(fit["words"]), "note") for fit in fits.values()),
        *shuffled_note(result),
        Drawing(figure, told, caption, True),
    ]


def _limits(result: Mapping[str, Any]) -> list[Any]:
    return [Points([("note", note) for note in (*result["notes"], *result["warnings"])])]


def _numbers(result: Mapping[str, Any]) -> list[Any]:
    unit = result["unit"] if result["by_group"] else "groups"
    columns = ["share", unit, "photo\u00adgraphs", *(title for _, title in TITLES)]
    rows = [
        [
            wording.share(point["share"])
            if (100 * point["share"]).is_integer()
            else f"{100 * point['share']:g}{wording.NBSP}%",
            wording.count(point["groups"]),
            wording.count(point["photographs"]),
            *(cell(result, key, point["scores"][key]) for key, _ in TITLES),
        ]
        for point in result["points"]
    ]
    note = (
        "Means over folds and repeats with 95 % intervals (corrected resampled t); an accuracy's is never narrower "
        "than Wilson's of as many groups."
    )
    each = [
        [
            f"seed {row['seed']}, fold {row['fold'] + 1}, {100 * row['share']:g}{wording.NBSP}%",
            wording.count(row["groups"]),
            wording.count(row["photographs"]),
            *("–" if row[key] is None else f"{row[key]:.3f}" for key, _ in TITLES),
            wording.count(row["n"]),
        ]
        for row in result["by_training"]
    ]
    laws = [
        [title, *(f"{fit[key]:.3g}" for key in "abc")]
        for key_of, title in TITLES[:2]
        if "a" in (fit := result["fits"].get(key_of, {}))
    ]
    blocks: list[Any] = [Table("Scores by size", columns, rows, note)]
    if laws:
        blocks.append(Table("The power law: score = a − b · n^−c", ["score", "a", "b", "c"], laws))
    against = baselines(result)
    if against:
        blocks.append(
            Table("Baselines, with all of them", ["baseline", *(title for _, title in TITLES)], against, BASELINES)
        )
    columns = ["training", unit, "photographs", *(title for _, title in TITLES), "n"]
    return [*blocks, Details("Every training in numbers", [Table("Scores of each training", columns, each)])]


def _data(result: Mapping[str, Any], table: pd.DataFrame | None, picture: LoadPicture | None, stamp: str) -> list[Any]:
    blocks = data.flow(result["flow"], {}, stamp)
    if table is None:
        return blocks
    shown = table.drop(columns=["part", "split"], errors="ignore")
    return data.class_counts(shown, stamp) + blocks + data.pictures(shown, Album(picture), stamp)
