"""The report of a cross-validation: recipes on the same folds, their differences, and each one by diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from melascope.datasets.origins import OTHER as UNTOLD
from melascope.reports import data_sections as data
from melascope.reports import figures, wording
from melascope.reports.album import Album, LoadPicture
from melascope.reports.compare_report import paired
from melascope.reports.data_report import FOOTER
from melascope.reports.figures.folds import fold_scores
from melascope.reports.page import Code, Details, Drawing, Page, Points, Row, Section, Table, Text

TITLES = (
    ("balanced_accuracy", "Balanced accuracy"),
    ("melanoma_auc", "Melanoma AUC"),
    ("accuracy", "Accuracy"),
    ("log_loss", "Log loss (lower is better)"),
)

TOO_FEW = "too few to judge"

BASELINES = (
    "Baselines stand on the same folds: two without a network, and the network trained on shuffled labels for a "
    "quarter of the epochs and scored on the first fold alone (its interval resamples groups), which must be at chance."
)


def cross_validation_report(
    result: Mapping[str, Any], title: str, table: pd.DataFrame | None = None, picture: LoadPicture | None = None
) -> str:
    """Return the report as one self-contained HTML page.

    Args:
        result: `cross_validation.json`.
        title: Of the page.
        table: The photographs used, for their counts.
        picture: Loads a photograph by its path as `(h, w, 3) uint8`.
    """
    stamp = f"out of fold · {wording.stamp(result['audited'], result['protocol'], result['optimistic'])}"
    sections = [
        Section("summary", "In short", summary(result), "for everyone"),
        Section("folds", "Fold by fold", _folds(result, stamp), "statistics"),
        Section("differences", "What differs", _differences(result, stamp), "statistics"),
        Section("diagnoses", "Diagnosis by diagnosis", _diagnoses(result, stamp), "statistics"),
        Section("limits", "What limits these numbers", _limits(result)),
        Section("data", "The photographs", _data(result, table, picture, stamp), "data"),
        Section("reproduce", "Doing it again", reproduce(result), "engineering"),
    ]
    return Page(
        title=title, subtitle=_subtitle(result), stamps=stamps(result), sections=sections, footer=FOOTER
    ).render()


def stamps(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what limits every number of the page."""
    found = [("good", "audited data") if result["audited"] else ("warning", "unaudited data")]
    found.append(("note", f"protocol: {result['protocol']}"))
    if result["optimistic"]:
        found.append(("warning", "optimistic protocol"))
    if result["closed"]:
        found.append(("good", "test part closed"))
    if result.get("limited"):
        found.append(("warning", "a try: not all photographs"))
    return [*found, ("warning", "not a medical device")]


def _subtitle(result: Mapping[str, Any]) -> str:
    repeats = len(result["seeds"])
    times = f", {repeats} times" if repeats > 1 else ""
    return (
        f"{wording.plural(len(result['recipes']), 'recipe')}, {result['folds']} folds{times}: "
        f"{wording.plural(result['photographs'], 'photograph')} in {wording.plural(result['groups'], 'group')}"
    )


def summary(result: Mapping[str, Any]) -> list[Any]:
    """Return the table of recipes and what it says in words."""
    recipes = result["recipes"]
    each = "a recipe is" if len(recipes) == 1 else "each recipe is"
    trainings = result["folds"] * len(result["seeds"])
    how = (
        f"The photographs were dealt into {result['folds']} folds, and {each} trained {trainings} times, each time "
        "without one fold, on which it is then scored. What is shown is how good such a training is on average, "
        f"{scored_on(result)}."
    )
    blocks: list[Any] = [Text(how, "lead")]
    weak = [found["not_above"] for found in recipes.values() if found.get("not_above")]
    blocks += [Text(sentence, "warning") for sentence in weak]
    blocks += [Text(sentence, "note") for sentence in _verdicts(result)]
    of_sources = any(found.get("within_source") for found in recipes.values())
    within = ["melanoma AUC within a source"] if of_sources else []
    columns = ["recipe", *(name for _, name in TITLES), *within, "melanoma sensitivity, first choice"]
    rows = []
    for name, found in recipes.items():
        scores = [cell(result, key, found["scores"][key]) for key, _ in TITLES]
        melanoma = (found["per_class"].get("MEL") or {}).get("sensitivity")
        few = (found["per_class"].get("MEL") or {}).get("too_few", wording.too_few(melanoma))
        if of_sources:
            inside = found.get("within_source") or {}
            scores.append(TOO_FEW if inside.get("too_few") else wording.score(inside.get("auc"), 3))
        rows.append([name, *scores, TOO_FEW if few else wording.percent(melanoma)])
    rows += [[*row, *("–" for _ in within), "–"] for row in baselines(result)]
    note = (
        f"Means over {trainings} trainings with 95 % intervals (corrected resampled t; of the accuracy never narrower "
        "than Wilson's of as many groups). The last column pools all folds; its interval resamples groups. First "
        f"choice: no threshold for alerts is chosen here, so it is no operating point. {BASELINES}"
    )
    if of_sources:
        note += " Within a source: only photographs of one source are compared, since a source can tell the diagnosis."
        if any(UNTOLD in (found.get("within_source") or {}).get("sources", ()) for found in recipes.values()):
            note += f' Those of a source "{UNTOLD}" count as one and may be of several, of which one can tell it too.'
    blocks += shuffled_note(result)
    return [*blocks, Table("Scores out of fold", columns, rows, note)]


def cell(result: Mapping[str, Any], key: str, estimate: wording.Estimate | None) -> str:
    """Return a score with its interval, or that too few lesions stand behind it."""
    return TOO_FEW if key in result["support"]["too_few"] else wording.score(estimate, 3)


def baselines(result: Mapping[str, Any]) -> list[list[str]]:
    """Return a row of `TITLES` for each baseline."""
    rows = [
        [f"baseline: {name}", *(cell(result, key, found["scores"][key]) for key, _ in TITLES)]
        for name, found in result.get("baselines", {}).items()
    ]
    shuffled = result.get("shuffled_labels")
    if shuffled:
        scores = [cell(result, key, shuffled[key]) if key in shuffled else "–" for key, _ in TITLES]
        rows.append([f"baseline: {shuffled['recipe']} on shuffled labels, one fold", *scores])
    return rows


def shuffled_note(result: Mapping[str, Any]) -> list[Any]:
    """Return the sentence that a network trained on shuffled labels deserves: none where it is at chance."""
    shuffled = result.get("shuffled_labels")
    if not shuffled or shuffled["at_chance"]:
        return []
    why = (
        "something other than the lesions tells the diagnosis, or photographs of one lesion stand on both sides"
        if result["grouped"]
        else "copies and other photographs of a lesion stand on both sides, and a network that knows the photograph "
        "knows its label, even a wrong one"
    )
    return [Text(f"Trained on shuffled labels the network is above chance: {why}.", "note")]


def scored_on(result: Mapping[str, Any]) -> str:
    """Return in words what the photographs of a fold are to the network that is scored on them."""
    assumed = result["lesions"]["assumed"]
    if result["torn"]:
        return (
            "on other files from the same sources, among them copies or other photographs of lesions that it has seen "
            "(the folds tear them apart), so that it flatters"
        )
    if not result["grouped"]:
        return (
            "on other files from the same sources, among them copies and other photographs of lesions that it has "
            "seen, so that it flatters"
        )
    if not result["audited"]:
        return "on other photographs from the same sources; the data are unaudited, and copies may be among them"
    if assumed:
        return (
            f"on photographs that it has not seen, from the same sources. For {wording.plural(assumed, 'photograph')} "
            "no lesion is known, so that other photographs of the same lesion may have been seen"
        )
    return "on photographs of lesions that it has not seen, from the same sources"


def _verdicts(result: Mapping[str, Any]) -> list[str]:
    told = []
    for key, name in TITLES[:2]:
        rows = [d for d in result["differences"] if d["score"] == key and d["value"] is not None]
        if key in result["support"]["too_few"]:
            rows = []
        shown = sorted((d for d in rows if d["differs"]), key=lambda d: float(d["p"]))
        corrected = f", also when corrected for {len(rows)} pairs" if len(rows) > 1 else ""
        for d in shown[:3]:
            better, worse = (d["a"], d["b"]) if d["value"] > 0 else (d["b"], d["a"])
            low, high = sorted((abs(d["low"]), abs(d["high"])))
            told.append(
                f"{name}: {better} is better than {worse} by {abs(d['value']):.3f} "
                f"(95{wording.NBSP}% interval {low:.3f} to {high:.3f}{corrected})."
            )
        if len(shown) > 3:
            told.append(
                f"{name}: {wording.plural(len(shown) - 3, 'more pair differs', 'more pairs differ')}; see below."
            )
        if rows and not shown:
            told.append(f"{name}: no difference between the recipes is shown.")
    return told


def _folds(result: Mapping[str, Any], stamp: str) -> list[Any]:
    chance = {"balanced_accuracy": result["support"]["chance"], "melanoma_auc": 0.5}
    titles = [(key, title) for key, title in TITLES if key not in result["support"]["too_few"]]
    figure = fold_scores(result["recipes"], titles[:-1], chance=chance, stamp=stamp)
    caption = (
        "A dot is one fold, a diamond the mean with its 95 % interval. "
        + (
            "Thin lines join the same fold across recipes: lines that lean one way are a difference. "
            * (len(result["recipes"]) > 1)
        )
        + f"Classes guessed at random reach a balanced accuracy of {chance['balanced_accuracy']:.2f}."
    )
    told = "; ".join(
        f"{name}: {title.lower()} {cell(result, key, found['scores'][key])}"
        for name, found in result["recipes"].items()
        for key, title in TITLES[:2]
    )
    rows = [
        [
            f"{name}, seed {row['seed']}, fold {row['fold'] + 1}",
            *(_number(row[key]) for key, _ in TITLES),
            wording.count(row["n"]),
        ]
        for name, found in result["recipes"].items()
        for row in found["by_fold"]
    ]
    columns = ["training", *(title for _, title in TITLES), "n"]
    return [
        Drawing(figure, f"Dots of each fold's scores. {told}.", caption, True),
        Details("Every training in numbers", [Table("Scores of each fold", columns, rows)]),
    ]


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _differences(result: Mapping[str, Any], stamp: str) -> list[Any]:
    rows = pd.DataFrame(result["differences"])
    if rows.empty:
        return []
    columns, *cells = paired(rows)
    columns[-2] = "trainings"
    caption = (
        "Paired differences, fold by fold, each with its own 95 % interval. Filled: shown to differ, which is decided "
        "by p corrected for the number of pairs of one score (Holm)."
    )
    told = "; ".join(f"{cell[0]}: {cell[1]}" for cell in cells)
    return [
        Drawing(figures.compare_forest(rows, stamp=stamp), f"{caption} {told}", caption, True),
        Table("Paired differences", columns, cells),
    ]


def _diagnoses(result: Mapping[str, Any], stamp: str) -> list[Any]:
    blocks: list[Any] = []
    repeats = len(result["seeds"])
    for name, found in result["recipes"].items():
        counted = f"each photograph counts once in each of {repeats} repeats" if repeats > 1 else "each photograph once"
        matrix = Drawing(
            figures.confusion(found["confusion"], result["classes"], title=name, stamp=stamp),
            f"Confusion matrix of {name}, out of fold.",
            f"{name}: first choices out of fold, {counted}; rows are diagnoses.",
        )
        per_class = Drawing(
            figures.per_class_intervals(found["per_class"], scores=("sensitivity",), stamp=stamp),
            "; ".join(
                f"{wording.class_name(c)} {'too few to judge' if e['too_few'] else wording.percent(e['sensitivity'])}"
                for c, e in found["per_class"].items()
            ),
            f"{name}: share of each diagnosis that was told right, with 95 % intervals over groups. n counts "
            "photographs; too few are those of fewer than ten groups (lesions or patients).",
        )
        blocks.append(Row([per_class, matrix]))
    return blocks


def _limits(result: Mapping[str, Any]) -> list[Any]:
    return [Points([("note", note) for note in (*result["notes"], *result["warnings"])])]


def _data(result: Mapping[str, Any], table: pd.DataFrame | None, picture: LoadPicture | None, stamp: str) -> list[Any]:
    blocks = data.flow(result["flow"], {}, stamp)
    if table is None:
        return blocks
    shown = table.drop(columns=["part", "split"], errors="ignore")
    return data.class_counts(shown, stamp) + blocks + data.pictures(shown, Album(picture), stamp)


def reproduce(result: Mapping[str, Any], recipes: Sequence[tuple[str, str]] | None = None) -> list[Any]:
    """Return the command, the recipes and the machine."""
    listed = recipes or [(name, found["toml"]) for name, found in result["recipes"].items()]
    blocks: list[Any] = [Code(str(result["command"]), "The command")]
    blocks += [Details(f"The recipe {name}, as it was resolved", [Code(toml.strip())]) for name, toml in listed]
    return blocks + data.facts(result["environment"])
