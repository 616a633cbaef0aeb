"""The parts about data that the run's report and the data report share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.reports import figures, wording
from melascope.reports.album import Album, describe, name_of, readable, records
from melascope.reports.page import Details, Drawing, Facts, Gallery, Picture, Points, Table, Text, jpeg

PARTS = ("train", "tune", "calibrate", "test")
PROBLEMS = {
    "unreadable": "files that cannot be read",
    "byte_identical": "byte-identical files",
    "same_photograph": "the same photograph in different files",
    "id_conflict": "one id under two diagnoses",
    "authority_conflict": "the filed diagnosis differs from the official one",
    "photograph_leak": "a photograph in Train and in Test",
    "lesion_leak": "a lesion in Train and in Test",
    "lesion_repeat": "several photographs of one lesion",
    "other_set_leak": "photographs that stand in another set too",
    "shortcut": "the diagnosis can be told without the lesion",
    "outlier": "photographs far from the rest",
    "imbalance": "imbalance of the classes",
    "personal_data": "personal data or writing",
    "label_suspect": "the diagnosis may be wrong",
}
ACTIONS = {"exclude": "left out", "warn": "a warning", "correct": "the official label"}
EXCLUDED = {
    "byte_identical": "one of each is kept",
    "same_photograph": "one of each is kept",
    "lesion_repeat": "one photograph of each lesion is kept",
    "id_conflict": "left out where no authority decides",
    "photograph_leak": "left out of Train",
    "lesion_leak": "left out of Train",
}
"""What excluding means where it does not leave out every photograph that has the problem."""
_WITHOUT_PICTURES = ("imbalance", "shortcut", "label_suspect")
_CONTEXT = ("age", "sex", "site", "lesion_id", "patient_id", "source", "modality", "confirmed_by")


def part_of(table: pd.DataFrame) -> pd.Series:
    """Return each row's part: the run's `part`, else the set's own `split`, else `all`."""
    for column in ("part", "split"):
        if column in table and table[column].notna().any():
            return table[column].astype("string").fillna("not used")
    return pd.Series("all", index=table.index, dtype="string")


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Count photographs per class (rows, in the usual order) and part (columns)."""
    labelled = table[table["diagnosis"].notna()] if "diagnosis" in table else table.iloc[:0]
    if labelled.empty:
        return pd.DataFrame()
    found = pd.crosstab(labelled["diagnosis"].astype(str), part_of(labelled).astype(str))
    known = [code for code in diagnosis.ORDER if code in found.index]
    parts = [part for part in PARTS if part in found.columns]
    rows = known + [code for code in found.index if code not in known]
    return found.loc[rows, parts + [part for part in found.columns if part not in parts]]


def class_counts(table: pd.DataFrame, stamp: str) -> list[Any]:
    """Return the counts as a sentence, a figure and a table."""
    found = counts(table)
    if found.empty:
        return [Text("None of the photographs has a diagnosis.", "warning")]
    total = found.sum(axis=1)
    whole = int(total.sum())
    most, least = str(total.idxmax()), str(total.idxmin())
    ratio = total[most] / total[least]
    sentence = f"{wording.plural(whole, 'photograph')} of {wording.plural(len(found), 'class', 'classes')}. "
    if len(found) > 1:
        sentence += (
            f"Most frequent: {wording.class_name(most)} ({wording.count(total[most])}); least frequent: "
            f"{wording.class_name(least)} ({wording.count(total[least])}); ratio {ratio:.1f} to 1."
        )
    rows = [
        [
            f"{wording.class_name(code)} ({code})",
            *[_count_and_share(found.loc[code, part], found[part].sum()) for part in found.columns],
            _count_and_share(total[code], whole),
        ]
        for code in found.index
    ]
    rows.append(["all", *[wording.count(found[part].sum()) for part in found.columns], wording.count(whole)])
    parts = [str(part) for part in found.columns]
    alt = f"Bar charts of photographs per class, one each for {wording.listed(parts)}. {sentence}"
    return [
        Text(sentence),
        Drawing(figures.class_counts(found, stamp=stamp), alt, f"Photographs per class in each part. {sentence}", True),
        Table("Photographs per class, with shares of each part", ["class", *parts, "all together"], rows),
    ]


def _count_and_share(n: Any, of: Any) -> str:
    return f"{wording.count(n)} ({wording.share(n / of)})" if of else wording.count(n)


def missing_data(table: pd.DataFrame) -> list[Any]:
    """Return how much is missing of what the table may say about each photograph."""
    rows = []
    for column in _CONTEXT:
        gaps = int(table[column].isna().sum()) if column in table else len(table)
        rows.append([column.replace("_", " "), _count_and_share(gaps, len(table)), wording.count(len(table) - gaps)])
    if not len(table):
        return []
    return [Table("Missing data, all photographs of the table", ["column", "missing", "known"], rows)]


def sizes(table: pd.DataFrame, stamp: str) -> list[Any]:
    """Return the figure of image sizes, a sentence where there is only one, nothing where they were not scanned."""
    if "width" not in table or "height" not in table:
        return []
    both = table[["width", "height"]].dropna()
    if both.empty:
        return []
    common = both.value_counts()
    width, height = common.index[0]
    if len(common) == 1:
        return [Text(f"All {wording.plural(len(both), 'photograph')} are {width} × {height} pixels.")]
    caption = (
        f"Sizes in pixels of {wording.plural(len(both), 'photograph')}: {wording.plural(len(common), 'size')}, "
        f"most often {width} × {height} ({wording.count(common.iloc[0])})."
    )
    figure = figures.image_sizes(both["width"].tolist(), both["height"].tolist(), stamp=stamp)
    return [Drawing(figure, f"Scatter plot. {caption}", caption)]


def pictures(table: pd.DataFrame, album: Album, stamp: str, seed: int = 0, n: int = 24) -> list[Any]:
    """Return one photograph of each class, and a random sample."""
    if "diagnosis" not in table or "path" not in table:
        return []
    usable = readable(table[table["diagnosis"].notna()])
    rng = np.random.default_rng(seed)
    one_each: list[Picture] = []
    for code in diagnosis.ORDER:
        rows = usable[usable["diagnosis"] == code]
        if len(rows):
            row = records(rows.iloc[[int(rng.integers(len(rows)))]])[0]  # type: ignore[index]
            one_each.append(album.picture(row, f"{wording.class_name(code)} · {name_of(row)}", describe(row), code))
    drawn = usable.iloc[rng.permutation(len(usable))[:n]] if len(usable) else usable
    sample = [
        album.picture(row, wording.class_name(row["diagnosis"]), describe(row), str(row["diagnosis"]))
        for row in records(drawn)
    ]
    if not one_each:
        return []
    note = f"{len(sample)} of {wording.plural(len(usable), 'photograph')}, drawn at random with seed {seed}."
    return [
        Gallery(one_each, "One photograph of each class", "Drawn at random within the class.", stamp),
        Gallery(sample, "A random sample", note, stamp),
    ]


def augmentation(preview: Mapping[str, np.ndarray], stamp: str) -> list[Any]:
    """Return what each augmentation does to one photograph."""
    shown = []
    for name, variants in preview.items():
        for index, variant in enumerate(np.asarray(variants)):
            alt = f"One photograph after the augmentation {name}, variant {index + 1}"
            shown.append(Picture(jpeg(variant), alt, str(name)))
    if not shown:
        return []
    note = "What the network sees of one photograph in training; tune, calibrate and test are never augmented."
    return [Gallery(shown, "Augmentation", note, stamp)]


def audit_summary(audit: Mapping[str, Any]) -> list[Any]:
    """Return the audit's verdict, its reasons, and a table of problems."""
    if not audit:
        return [Text("These data were not audited.", "warning")]
    blocks: list[Any] = (
        [Points([("warning", str(told)) for told in audit["warnings"]])] if audit.get("warnings") else []
    )
    verdict, reasons = audit.get("verdict"), [str(reason) for reason in audit.get("reasons") or ()]
    if verdict:
        blocks.append(Text(f"Verdict: {verdict}.", "lead"))
    if reasons:
        blocks.append(Points([("note", reason) for reason in reasons]))
    rows = []
    for kind, found in problem_counts(audit).items():
        by_class = found.get("by_class") or {}
        classes = ", ".join(f"{code} {wording.count(n)}" for code, n in by_class.items() if n)
        looked = found.get("looked_for", True)
        numbers = [wording.count(found.get("groups")), wording.count(found.get("images"))] if looked else ["–", "–"]
        action = leads_to(kind, found.get("action")) if looked else "not looked for"
        rows.append([PROBLEMS.get(kind, kind.replace("_", " ")), *numbers, classes, action])
    if rows:
        columns = ["problem", "groups", "photographs", "by class", "leads to"]
        blocks.append(
            Table(f"What the audit of {wording.plural(audit.get('images'), 'photograph')} found", columns, rows)
        )
    return blocks


def leads_to(kind: str, action: Any) -> str:
    """Return what a policy's action does about a kind of problem, in words."""
    words = ACTIONS.get(str(action), "–")
    return EXCLUDED.get(kind, words) if action == "exclude" else words


def problem_counts(audit: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return `{kind: {"groups", "images", "by_class"}}` of an audit's summary."""
    for key in ("problems", "kinds"):
        if isinstance(audit.get(key), Mapping):
            return {str(kind): found for kind, found in audit[key].items() if isinstance(found, Mapping)}
    return {str(kind): v for kind, v in audit.items() if isinstance(v, Mapping) and "images" in v and "groups" in v}


def audit_pictures(problems: pd.DataFrame | None, album: Album, stamp: str, groups: int = 4) -> list[Any]:
    """Return the first groups of each kind of problem, their photographs side by side."""
    if problems is None or problems.empty or not {"kind", "path"} <= set(problems.columns):
        return []
    blocks: list[Any] = []
    for kind, rows in problems.groupby("kind", sort=False):
        if str(kind) in _WITHOUT_PICTURES:
            continue
        keys = rows["group"].astype(str) if "group" in rows else pd.Series(range(len(rows)), index=rows.index)
        chosen = list(dict.fromkeys(keys))[:groups]
        shown = []
        for number, key in enumerate(chosen, start=1):
            for row in records(rows[keys == key].head(6)):
                shown.append(_problem_picture(row, number, album))
        title = PROBLEMS.get(str(kind), str(kind).replace("_", " "))
        note = (
            f"{wording.plural(len(rows), 'photograph')} in {wording.plural(keys.nunique(), 'group')}; "
            f"the first {wording.plural(len(chosen), 'group')} are shown, numbered in the corner."
        )
        blocks.append(
            Details(f"{title[:1].upper()}{title[1:]}: what they look like", [Gallery(shown, "", note, stamp)])
        )
    return blocks


def _problem_picture(row: dict[str, Any], number: int, album: Album) -> Picture:
    words = [name_of(row)]
    for key in ("diagnosis", "split", "evidence"):
        value = row.get(key)
        if value is not None and not pd.isna(value) and str(value):
            words.append(wording.class_name(value) if key == "diagnosis" else str(value))
    return album.picture(row, " · ".join(words), describe(row), f"group {number}", "warning")


def flow(steps: Sequence[Mapping[str, Any]], parts: Mapping[str, int], stamp: str) -> list[Any]:
    """Return the flow diagram, and the same as a table."""
    steps = arriving(steps)
    if not steps:
        return []
    # A flow that goes on to the scored photographs of one part does not branch into parts after that.
    if sum(parts.values()) != wording.number(steps[-1].get("photographs")):
        parts = {}
    rows = []
    for step in steps:
        left = {str(reason): n for reason, n in step["excluded"].items() if n}
        reasons = "; ".join(f"{reason}: {wording.count(n)}" for reason, n in left.items()) or "none"
        rows.append([str(step.get("label", "")), wording.count(step.get("photographs")), reasons])
    told = ". ".join(f"{label}: {n}, left out before: {reasons}" for label, n, reasons in rows)
    ends = ", ".join(f"{part} {wording.count(n)}" for part, n in parts.items())
    alt = f"Flow diagram. {told}." + (f" In the end: {ends}." if ends else "")
    caption = "From photographs found to photographs used; every exclusion is counted (after STARD 2015)."
    table = Table(
        "The flow of photographs in words", ["step", "photographs", "left out on the way there"], rows, words=True
    )
    return [
        Drawing(figures.flow_diagram(steps, parts, stamp=stamp), alt, caption, True),
        Details("The flow as a table", [table]),
    ]


def arriving(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps with each exclusion at the step it leads to.

    A flow may also note exclusions at the step they leave from; the counts tell which was meant.
    """
    plain = [{**step, "excluded": dict(step.get("excluded") or {})} for step in steps]
    if not plain:
        return []
    left = [sum(wording.number(n) for n in step["excluded"].values()) for step in plain]
    totals = [wording.number(step.get("photographs")) for step in plain]
    pairs = range(len(plain) - 1)
    arrives = all(totals[i] - left[i + 1] == totals[i + 1] for i in pairs)
    leaves = all(totals[i] - left[i] == totals[i + 1] for i in pairs)
    if any(left) and not arrives and (leaves or (left[0] > 0 and not left[-1])):
        moved: list[dict[str, Any]] = [{}, *[step["excluded"] for step in plain[:-1]]]
        return [{**step, "excluded": excluded} for step, excluded in zip(plain, moved, strict=True)]
    if left[0] > 0:
        return [{"label": "photographs found", "photographs": totals[0] + left[0], "excluded": {}}, *plain]
    return plain


def facts(values: Mapping[str, Any]) -> list[Any]:
    """Return a mapping as terms and values; inner mappings are joined."""
    shown = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{name} {_inner(inner)}" for name, inner in value.items())
        elif isinstance(value, (list, tuple)):
            value = ", ".join(str(item) for item in value)
        if value is not None and value != "":
            shown.append((str(key).replace("_", " "), str(value)))
    return [Facts(shown)] if shown else []


def _inner(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['seconds']} s" if "seconds" in value else " ".join(f"{k} {v}" for k, v in value.items())
    return str(value)
