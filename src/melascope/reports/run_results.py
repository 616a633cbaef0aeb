"""What a statistician reads first: every part, every class, curves and confusion, with intervals and n."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from melascope import diagnosis
from melascope.reports import figures, wording
from melascope.reports.page import Details, Drawing, Row, Table, Text
from melascope.reports.run_summary import few_of, headline_part, operating_point

_PART_WORDS = {
    "train": "train (fitted on: no evidence)",
    "tune": "tune (guided the training)",
    "calibrate": "calibrate (set the threshold)",
    "test": "test",
    "test_authority_only": "test, official labels only",
    "test_unseen": "test, not trained on",
}
Write = Callable[[Any], str]


def results(metrics: Mapping[str, Any], stamp: str) -> list[Any]:
    """Return the tables and figures of the evaluation."""
    name, part = headline_part(metrics)
    if not part:
        return []
    stamp = f"{name} · {stamp}"
    blocks: list[Any] = [_by_part(metrics), *_groups(part, name), *_curves(part, stamp)]
    blocks += [*_classes(part, name, stamp), *_other_units(metrics, part)]
    return blocks


def cell(estimate: Any, write: Write) -> str:
    """Return an estimate as a table's cell, `too few` where it rests on fewer than ten cases."""
    if not wording.known(estimate):
        return "–"
    if wording.too_few(estimate):
        return f"too few (n{wording.NBSP}={wording.NBSP}{wording.cases(estimate)})"
    return write(estimate)


def ranked(part: Mapping[str, Any], group: str, score: str, write: Write) -> str:
    """Return a ranking score of a group as a cell, `too few` where the part holds too few of it or of the others."""
    found = (part.get("groups") or {}).get(group) or {}
    if wording.known(found.get(score)) and few_of(part, group):
        return "too few to judge"
    return cell(found.get(score), write)


def _part_row(label: str, part: Mapping[str, Any], unit: str = "n_images") -> list[str]:
    lesions = part.get("n_lesions") or {}
    melanoma = (part.get("groups") or {}).get("melanoma") or {}
    point = operating_point(part, "melanoma")
    n = part.get(unit)
    if unit == "n_lesions" and lesions:
        n = wording.number(lesions.get("known")) + wording.number(lesions.get("assumed"))
    return [
        label,
        f"{wording.count(n)} / {wording.count(melanoma.get('n_positive'))}",
        f"{wording.count(lesions.get('known'))} + {wording.count(lesions.get('assumed'))}",
        cell(point.get("sensitivity"), wording.percent),
        cell(point.get("specificity"), wording.percent),
        ranked(part, "melanoma", "auc", wording.score),
        cell(part.get("balanced_accuracy"), wording.percent),
        cell(part.get("accuracy"), wording.percent),
    ]


_PART_COLUMNS = (
    "part",
    "n / MEL",
    "lesions known + assumed",
    "melanoma sensitivity",
    "melanoma specificity",
    "melanoma AUC",
    "balanced accuracy",
    "accuracy",
)


def _by_part(metrics: Mapping[str, Any]) -> Table:
    parts = metrics.get("parts") or {}
    order = [name for name in _PART_WORDS if name in parts] + [name for name in parts if name not in _PART_WORDS]
    rows = [
        _part_row(_PART_WORDS.get(name, str(name)), parts[name]) for name in order if isinstance(parts[name], Mapping)
    ]
    note = (metrics.get("unit") or {}).get("text") if isinstance(metrics.get("unit"), Mapping) else metrics.get("unit")
    return Table("Each part, with 95 % intervals", _PART_COLUMNS, rows, str(note or ""))


def _aim(point: Mapping[str, Any]) -> str:
    """Return what an operating point was chosen for, and whether that is assured."""
    aim = point.get("aim", "sensitivity")
    if aim == "youden":
        return "largest sum of both"
    of = " (specificity)" if aim == "specificity" else ""
    return f"{wording.share(point.get('target'))}{of}, {'assured' if point.get('assured') else 'not assured'}"


def _groups(part: Mapping[str, Any], name: str) -> list[Any]:
    ranking, measured, again = [], [], []
    for group, found in (part.get("groups") or {}).items():
        found = found or {}
        of = f"{wording.count(found.get('n_positive'))} / {wording.count(found.get('n_negative'))}"
        areas = [
            ranked(part, group, "auc", wording.score),
            ranked(part, group, "pauc80", lambda e: wording.score(e, 3)),
            ranked(part, group, "average_precision", wording.score),
        ]
        ranking.append([str(group), of, *areas])
        for point_name, point in (found.get("operating_points") or {}).items():
            point, label = point or {}, f"{group}, {point_name}"
            threshold = wording.number(point.get("threshold"))
            measured.append(
                [
                    label,
                    of,
                    "–" if threshold != threshold else f"{threshold:.4f}",
                    _aim(point),
                    *(cell(point.get(score), wording.percent) for score in ("sensitivity", "specificity")),
                ]
            )
            anew = point.get("threshold_chosen_again") or {}
            if anew:
                again.append([label, of, *(cell(anew.get(s), wording.percent) for s in ("sensitivity", "specificity"))])
            if wording.number(point.get("prevalence")) == wording.number(point.get("prevalence")):
                told = [cell(point.get(score), wording.percent) for score in ("ppv", "npv")]
                again.append(
                    [f"{label}, PPV and NPV at a prevalence of {wording.share(point['prevalence'])}", of, *told]
                )
    words = _PART_WORDS.get(name, name)
    blocks: list[Any] = []
    if ranking:
        note = (
            f"{_malignant()} The partial area (sensitivity above 80 %) is as in the ISIC challenge's scoring, not "
            "corrected after McClish. Average precision holds for these shares of cases only."
        )
        columns = ["group", "n yes / no", "AUC", "pAUC above 80 %", "average precision"]
        blocks.append(Table(f"Melanoma and malignancy, {words}: ranking, with 95 % intervals", columns, ranking, note))
    if measured:
        note = (
            "Thresholds come from calibrate; sensitivity and specificity are measured here. “Assured”: the lower 95 % "
            "bound of what the point aims at (sensitivity, where nothing else is said) on calibrate reaches the target."
        )
        columns = ["group, operating point", "n yes / no", "threshold", "target", "sensitivity", "specificity"]
        blocks.append(Table(f"Melanoma and malignancy, {words}: at the thresholds", columns, measured, note))
    if again:
        intro = (
            "The threshold is chosen again in every bootstrap draw: the intervals hold that choice's uncertainty too."
        )
        columns = ["group, operating point", "n yes / no", "sensitivity (PPV)", "specificity (NPV)"]
        tables = [Table("Operating points, whole procedure", columns, again, intro)]
        blocks.append(Details("Intervals that include the choice of the threshold", tables))
    return blocks


def _malignant() -> str:
    members = diagnosis.ordered(code for code in diagnosis.GROUPS["malignant"] if code != "AKIEC")
    return (
        f"Malignant: {wording.listed(wording.class_name(code) for code in members)}; actinic keratosis, a precursor, "
        "counts as benign unless the labels (AKIEC) do not tell it from carcinoma."
    )


def _curves(part: Mapping[str, Any], stamp: str) -> list[Any]:
    curves, groups = part.get("curves") or {}, part.get("groups") or {}
    known = [name for name in ("melanoma", "malignant") if name in groups]
    wanted = [name for name in known if not few_of(part, name)]
    left = [name for name in known if name not in wanted]
    auc = {name: groups[name].get("auc") for name in wanted}
    points = {name: operating_point(part, name) for name in wanted}
    precision = {name: groups[name].get("average_precision") for name in wanted}
    chance = {name: _prevalence(groups[name]) for name in wanted}
    drawn: list[Any] = []
    roc = {name: c for name, c in (curves.get("roc") or {}).items() if name in wanted}
    if roc:
        areas = "; ".join(f"{name} {wording.with_n(wording.score(auc[name]), auc[name])}" for name in roc)
        told = f"Receiver operating characteristic (ROC). Area under the curve: {areas}. Marks: operating points."
        drawn.append(Drawing(figures.roc(_ordered(roc, wanted), auc=auc, points=points, stamp=stamp), told, told))
    pr = {name: c for name, c in (curves.get("pr") or {}).items() if name in wanted}
    if pr:
        areas = "; ".join(f"{name} {wording.with_n(wording.score(precision[name]), precision[name])}" for name in pr)
        told = f"Precision against sensitivity. Average precision: {areas}. It holds for these shares of cases only."
        figure = figures.precision_recall(
            _ordered(pr, wanted), average_precision=precision, prevalence=chance, stamp=stamp
        )
        drawn.append(Drawing(figure, told, told))
    for name in wanted:
        if isinstance(groups[name].get("decision_curve"), Mapping):
            drawn.append(_decision(groups[name], name, points[name], stamp))
    words = f"No curve of {' and '.join(left)} is drawn: too few in this part to judge (fewer than {wording.FEW})."
    return [*([Text(words, "note")] if left else []), *([Row(drawn)] if drawn else [])]


def _decision(group: Mapping[str, Any], name: str, point: Mapping[str, Any], stamp: str) -> Drawing:
    curve, n = group["decision_curve"], wording.cases(group.get("auc"))
    threshold = wording.number(point.get("threshold"))
    where = (
        "a stated prevalence: sensitivity and specificity are taken along, risks are as the model shows them"
        if curve.get("stated", True)
        else "its share among the judged: yours is another, stated by --prevalence"
    )
    found = "malignancy" if name == "malignant" else name
    told = (
        f"Net benefit of referring by this model against referring everybody or nobody, where {found} has a prevalence "
        f"of {wording.share(curve.get('prevalence'))}, {where}. Above both other lines the model helps. The band is "
        "the 95 % interval, threshold by threshold."
    )
    figure = figures.decision_curve(curve, name=name, threshold=threshold, n=n, stamp=stamp)
    return Drawing(figure, told, told)


def _ordered(curves: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: curves[name] for name in names if name in curves}


def _prevalence(group: Mapping[str, Any]) -> float:
    yes, no = wording.number(group.get("n_positive")), wording.number(group.get("n_negative"))
    return yes / (yes + no) if yes + no > 0 else float("nan")


def _classes(part: Mapping[str, Any], name: str, stamp: str) -> list[Any]:
    per_class, classes = part.get("per_class") or {}, list(part.get("classes") or ())
    scores = ("sensitivity", "specificity", "precision", "f1", "auc", "average_precision")
    rows = []
    for code, found in per_class.items():
        few = bool(found.get("too_few")) or wording.number(found.get("n")) < wording.FEW
        cells = [
            "too few to judge" if few else cell(found.get(s), wording.percent if i < 3 else wording.score)
            for i, s in enumerate(scores)
        ]
        rows.append([f"{wording.class_name(code)} ({code})", wording.count(found.get("n")), *cells])
    blocks: list[Any] = []
    if classes and np.shape(part.get("confusion") or ()) == (len(classes), len(classes)):
        told = (
            f"Confusion matrix, {name}: rows are the diagnoses, columns the model's first choice; counts, and below "
            "them the share of the row. First choices are not alerts: those have thresholds of their own."
        )
        figure = figures.confusion(part["confusion"], classes, title="First choices", stamp=stamp)
        blocks.append(Drawing(figure, f"{told} {_confusion_words(part['confusion'], classes)}", told, True))
    if rows:
        told = (
            "Sensitivity and specificity of the first choice per diagnosis, 95 % intervals; hollow: too few to judge."
        )
        words = "; ".join(f"{row[0]}: sensitivity {row[2]}, specificity {row[3]}" for row in rows)
        blocks.append(Drawing(figures.per_class_intervals(per_class, stamp=stamp), f"{told} {words}", told, True))
        columns = ["diagnosis", "n", "sensitivity", "specificity", "precision", "F1", "AUC", "average precision"]
        blocks.append(Table("Each diagnosis against the rest", columns, rows))
    return blocks


def _confusion_words(matrix: Any, classes: list[str]) -> str:
    rights = []
    for i, (code, row) in enumerate(zip(classes, matrix, strict=False)):
        total = sum(wording.number(cell) for cell in row)
        rights.append(f"{wording.class_name(code)} {wording.count(row[i])} of {wording.count(total)}")
    return "Right: " + ", ".join(rights) + "."


def _other_units(metrics: Mapping[str, Any], part: Mapping[str, Any]) -> list[Any]:
    rows = [_part_row("per photograph (as above)", part)]
    if isinstance(part.get("per_lesion"), Mapping):
        rows.append(_part_row("per lesion", part["per_lesion"], "n_lesions"))
    authority = (metrics.get("parts") or {}).get("test_authority_only")
    if isinstance(authority, Mapping):
        rows.append(_part_row("only photographs with an official label", authority))
    if len(rows) == 1:
        return []
    return [Table("The same model counted otherwise", ["unit", *_PART_COLUMNS[1:]], rows)]
