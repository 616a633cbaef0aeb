"""The sections of a model card that divide the photographs: subgroups, sources, benign lesions; and its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from melascope.counted import plural
from melascope.evaluation.baselines import TOLD
from melascope.evaluation.card_cells import cell, signed
from melascope.evaluation.findings import few_of, shown

_COLUMNS = {
    "source": "source",
    "confirmed_by": "confirmed by",
    "sex": "sex",
    "site": "site",
    "age_band": "age",
    "skin_tone": "skin tone, estimated",
}
_IDS = {"lesion_id": "lesion id", "patient_id": "patient id"}
_NAMES = {
    "largest_class": "always the largest class",
    "colour_histogram": "colour alone",
    "shuffled_labels": "the same network on shuffled labels",
}


def subgroups_of(part: Mapping[str, Any]) -> list[str]:
    """Return the names of the columns by which subgroups were judged."""
    return [_COLUMNS.get(column, column.replace("_", " ")) for column in part.get("subgroups") or {}]


def subgroups(part: Mapping[str, Any]) -> list[str]:
    """Return the section on melanoma within each group of photographs, and on benign lesions by what confirmed them."""
    lines = ["### Subgroups", ""]
    if not part.get("subgroups"):
        return [*lines, "None: source, sex, site and age were not recorded.", ""]
    lines += [
        "Melanoma at the deployed threshold, within each group; the last column is how often the prediction set holds "
        "the diagnosis.",
        "",
        "| group | n (melanomas) | sensitivity | specificity | AUC | set |",
        "|---|---|---|---|---|---|",
    ]
    for column, values in part["subgroups"].items():
        for value, one in sorted(values.items(), key=lambda named: not named[0].startswith("under")):
            scores = [
                "none" if estimate is None or (estimate["n"] == 0) else cell(estimate, few=few, n=False)
                for estimate, few in (
                    (one.get("sensitivity"), False),
                    (one.get("specificity"), False),
                    (one["auc"], one["too_few"]),
                    (one.get("coverage"), False),
                )
            ]
            name = f"{_COLUMNS.get(column, column.replace('_', ' '))}: {value}"
            lines.append(f"| {name} | {one['n']:,} ({one['n_positive']:,}) | " + " | ".join(scores) + " |")
    cells = part.get("missing") or {}
    asked = (*_COLUMNS, *_IDS, "age")
    missing = {name: n["missing"] for name, n in cells.items() if name in asked and n["missing"]}
    lines += _gaps(part.get("gaps") or {})
    if missing:
        told = ", ".join(f"{(_COLUMNS | _IDS).get(name, name)} {n:,}" for name, n in missing.items())
        lines += ["", f"Not known, of {plural(part['n_images'], 'photograph')}: {told}."]
    lines += _rare(part, cells)
    if "skin_tone" not in part["subgroups"]:
        lines += ["", "Skin tone was not judged: neither a measurement nor an estimate is in these data."]
    return [*lines, *_benign(part.get("benign") or {}), ""]


def _rare(part: Mapping[str, Any], cells: Mapping[str, Any]) -> list[str]:
    """Return how many photographs have a value that has no row, since others are more frequent."""
    rare = {
        name: part["n_images"] - cells[name]["missing"] - sum(one["n"] for one in values.values())
        for name, values in part["subgroups"].items()
        if name in cells
    }
    told = ", ".join(f"{_COLUMNS.get(name, name)} {n:,}" for name, n in rare.items() if n > 0)
    return ["", f"Of rarer values, which have no row above: {told}."] if told else []


def _benign(benign: Mapping[str, Any]) -> list[str]:
    """Return the specificity on benign lesions by what confirmed them: those that were excised are the hard ones."""
    if not benign:
        return []
    lines = [
        "",
        "Benign lesions alone, by what confirmed them; those that were excised looked suspicious to somebody:",
        "",
        "| benign, confirmed by | specificity for melanoma | no alert at all |",
        "|---|---|---|",
    ]
    for kind, one in benign.items():
        lines.append(f"| {kind} | {cell(one.get('melanoma_specificity'))} | {cell(one['specificity'])} |")
    return lines


def within_source(part: Mapping[str, Any]) -> list[str]:
    """Return the AUCs over pairs of one source: over all pairs, what tells the source ranks too."""
    found, lesions = part.get("within_source"), (part.get("per_lesion") or {}).get("within_source")
    if not found:
        return []

    def told(found: Mapping[str, Any]) -> str:
        return "; ".join(
            f"{name} {cell(one['auc'])} ({', '.join(one['sources'])})"
            if one["auc"]
            else f"{name} not measurable: no source has lesions of both kinds"
            for name, one in (("melanoma", found["melanoma"]), ("malignancy", found["malignant"]))
        )

    per_lesion = f". Per lesion: {told(lesions)}" if lesions else ""
    return ["", f"AUC over pairs of one source, which no mark of a source can raise: {told(found)}{per_lesion}."]


def _gaps(gaps: Mapping[str, Any]) -> list[str]:
    """Return the largest difference of each score among the groups of each column."""
    told = [
        f"- {score} by {_COLUMNS.get(column, column.replace('_', ' '))}: {gap['value']:.2f} "
        f"({gap['low']:.2f} to {gap['high']:.2f}), {gap['higher']} above {gap['lower']}"
        + ("" if gap["low"] > 0 else "; not shown to be a difference")
        for column, scores in gaps.items()
        for score, gap in scores.items()
        if gap
    ]
    if not told:
        return []
    said = "Largest gaps between groups that can be judged, with intervals that hold for all pairs of groups at once:"
    return ["", said, "", *(line.replace("- auc", "- AUC") for line in told)]


def baselines(metrics: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    """Return the section on what the model must beat, each in pairs with it."""
    lines = ["### Baselines", ""]
    if not metrics["baselines"]:
        return [*lines, "None were made.", ""]
    few = few_of(part, "melanoma")
    several = any("melanoma_auc_within" in one for one in metrics["baselines"].values())
    own = ((part.get("within_source") or {}).get("melanoma") or {}).get("auc")
    heads = ["", "balanced accuracy", "the model's less this", "melanoma AUC", "the model's less this"]
    heads += ["within a source", "the model's less this"] if several else []
    lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    model = cell(part["balanced_accuracy"], n=False), cell(part["groups"]["melanoma"]["auc"], few=few, n=False)
    lines.append(f"| this model | {model[0]} | | {model[1]} | |" + (f" {cell(own, n=False)} | |" if several else ""))
    for key, one in metrics["baselines"].items():
        less = one.get("difference") or {}
        cells = [_NAMES.get(key, key.replace("_", " ")), cell(one["balanced_accuracy"], n=False)]
        cells += [signed(less.get("balanced_accuracy"))]
        cells += [cell(one["melanoma_auc"], few=few, n=False), "" if few else signed(less.get("melanoma_auc"))]
        if several:
            within = one.get("melanoma_auc_within")
            cells += [cell(within, n=False) if within else "", signed(less.get("melanoma_auc_within"))]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Differences are in pairs, on the same photographs; an interval that holds 0 shows none."]
    shuffled = metrics["baselines"].get("shuffled_labels") or {}
    if shuffled.get("at_chance") is not None:
        lines += ["", _of_shuffled(shuffled)]
    return [*lines, ""]


def _of_shuffled(shuffled: Mapping[str, Any]) -> str:
    """Return what shuffled labels show, and what one training on them leaves open."""
    if not shuffled["at_chance"]:
        return "On shuffled labels the network is **above** chance."
    text = f"On shuffled labels its balanced accuracy is not above chance ({shown(shuffled['balanced_accuracy'])})."
    explained, area = shuffled.get("explained"), shuffled["melanoma_auc"]
    if explained and explained["low"] is not None and explained["low"] > 0:
        text += (
            f" It explains {explained['value']:.3f} of the diagnoses' entropy ({explained['low']:.3f} to "
            f"{explained['high']:.3f}), within the limit of {TOLD} that is allowed to one network."
        )
    if area["low"] is not None and not area["low"] <= 0.5 <= area["high"]:
        text += (
            f" Its melanoma AUC is off one half ({shown(area)}): a network that learnt nothing ranks by some arbitrary "
            "property of photographs, which may go with the diagnosis either way; one shuffle cannot tell more."
        )
    return text
