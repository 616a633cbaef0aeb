"""What the audit's checks found beside single photographs: matrices, shortcuts, suspects, rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from melascope.reports import figures, wording
from melascope.reports.album import Album
from melascope.reports.page import Details, Drawing, Gallery, Points, Table, Text

Found = Mapping[str, Any]


def disagreement(audit: Found) -> list[Any]:
    """Return the matrix of filed against official diagnoses; nothing without an authority."""
    matrix: Mapping[str, Mapping[str, int]] = audit.get("disagreement") or {}
    officials = sorted({code for row in matrix.values() for code in row})
    if not officials:
        return []
    rows = [
        [wording.class_name(filed), *(_dot(row.get(code)) for code in officials), wording.count(sum(row.values()))]
        for filed, row in matrix.items()
    ]
    note = "Photographs that the authority knows; a finer label, such as seborrheic keratosis for BKL, agrees."
    columns = ["filed", *officials, "all"]
    return [Table("Filed diagnosis (rows) against the official one (columns)", columns, rows, note)]


def _dot(count: int | None) -> str:
    return wording.count(count) if count else "·"


def imbalance(details: Found) -> list[Any]:
    """Return what each diagnosis allows to be said: counts, the interval to expect, prediction sets."""
    rows = []
    for code, told in (details.get("by_class") or {}).items():
        around, sets = told["interval"], told["sets"]
        possible = [f"{float(level):.0%}" for level, cell in sets.items() if cell["possible"]]
        width = "too few to judge" if told["too_few_to_judge"] else f"{around['low']:.0%} to {around['high']:.0%}"
        counts = [wording.count(told["photographs"]), wording.count(told["lesions"]), wording.share(told["share"])]
        rows.append([wording.class_name(code), *counts, width, " and ".join(possible) or "none: always in the set"])
    if not rows:
        return []
    columns = ["diagnosis", "photographs", "lesions", "share", "95 % interval of a 95 % sensitivity", "prediction sets"]
    note = (
        f"The interval if all lesions were tested. Prediction sets need {details['needed'].get('0.9')} lesions to "
        f"calibrate for 90 % and {details['needed'].get('0.95')} for 95 %; {details['calibrate_share']:.0%} of the "
        f"lesions calibrate. "
        f"{wording.plural(details['lesions_assumed'], 'photograph is', 'photographs are each')} taken for a lesion."
    )
    return [Table("What the number of lesions allows", columns, rows, note)]


def suspects(details: Found, album: Album, stamp: str) -> list[Any]:
    """Return the photographs whose diagnosis may be wrong, as pictures, and how far the suspicion can be believed."""
    if not details:
        return []
    shown = [
        album.picture(
            row,
            f"{row['image_id']} · filed as {wording.class_name(row['filed'])} ({row['p_filed']:.0%}) · looks like "
            f"{wording.class_name(row['suggested'])} ({row['p_suggested']:.0%})",
            f"Photograph {row['image_id']}, filed as {wording.class_name(row['filed'])}",
            f"rank {row['rank']}",
            "warning",
        )
        for row in details.get("suspects") or ()
    ]
    told = [("note", str(note)) for note in details.get("notes") or ()]
    score = details.get("balanced_accuracy")
    if score:
        told.insert(
            0,
            (
                "note",
                f"{details['method']} Balanced accuracy on photographs it had not seen: {wording.score(score, 2)}, "
                f"chance {details['chance']:.2f}. A suspect is a question to a dermatologist, not an answer.",
            ),
        )
    blocks: list[Any] = [Points(told)] if told else []
    blocks += _agreement(details.get("agreement"))
    if shown:
        note = f"The {len(shown)} most suspicious of {wording.count(details.get('flagged'))}."
        blocks.append(Gallery(shown, "Diagnoses that may be wrong", note, stamp))
    return blocks


def _agreement(told: Found | None) -> list[Any]:
    if not told:
        return []
    rows = [
        [
            wording.count(at["k"]),
            wording.count(at["hits"]),
            wording.score(at["precision"], 2),
            wording.score(at["recall"], 2),
            wording.score(at["enrichment"], 1),
        ]
        for at in told["at"]
    ]
    note = (
        f"Of {wording.plural(told['known'], 'photograph')} that the authority knows, it corrects "
        f"{wording.count(told['corrections'])}. The score's AUROC for those is {wording.score(told['auroc'], 2)}."
    )
    columns = ["first", "corrected by the authority", "precision", "recall", "times chance"]
    return [Table("Do the suspects agree with the authority?", columns, rows, note)]


def other_sets(details: Found) -> list[Any]:
    """Return how many photographs stand in each other set."""
    rows = [[name, wording.count(count)] for name, count in (details.get("sets") or {}).items()]
    return [Table("In other sets too", ["set", "photographs"], rows)] if rows else []


def counted(title: str, column: str, counts: Found | None) -> list[Any]:
    """Return a table of counts, the largest first."""
    rows = sorted((counts or {}).items(), key=lambda item: -item[1])
    return [Table(title, [column, "photographs"], [[str(name), wording.count(n)] for name, n in rows])] if rows else []


def audit_details(audit: Found, album: Album, stamp: str) -> list[Any]:
    """Return all of it, each kind of problem folded out on its own.

    Args:
        audit: The content of `audit.json`.
        album: Makes the pictures.
        stamp: Printed under figures.
    """
    kinds: Mapping[str, Found] = audit.get("kinds") or {}

    def details(kind: str) -> Found:
        return (kinds.get(kind) or {}).get("details") or {}

    folds: Sequence[tuple[str, Callable[[], list[Any]]]] = (
        ("Filed and official diagnoses", lambda: disagreement(audit)),
        ("How the same photograph was searched", lambda: searched(details("same_photograph"))),
        ("What the number of lesions allows", lambda: imbalance(details("imbalance"))),
        ("Shortcuts: what tells the diagnosis without the lesion", lambda: shortcuts(details("shortcut"), stamp)),
        ("Diagnoses that may be wrong", lambda: suspects(details("label_suspect"), album, stamp)),
        ("Other sets", lambda: other_sets(details("other_set_leak"))),
        ("Rights and personal data", lambda: rights(details("personal_data"))),
    )
    blocks = [(title, make()) for title, make in folds]
    return [Details(title, found) for title, found in blocks if found]


def searched(details: Found) -> list[Any]:
    """Return how the same photograph was searched; nothing where it was not."""
    if not details:
        return []
    crops = {
        "full": "crops included",
        "near": "slight crops included (of crops to 90 to 97 % of each side, about one in twelve is missed)",
        "whole": "as whole photographs only",
    }[details["reach"]]
    return [Text(f"All pairs of {wording.count(details['contents'])} different files were compared, {crops}.")]


def rights(details: Found) -> list[Any]:
    """Return licences and personal data, counted."""
    if not details:
        return []
    licences = dict(details.get("licences") or {})
    if details.get("licence_unknown"):
        licences["not known"] = details["licence_unknown"]
    return [
        Text(str(details.get("sentence", ""))),
        *counted("Licences", "licence", licences),
        *counted("Personal data in the files", "what", details.get("kinds")),
    ]


def shortcuts(details: Found, stamp: str) -> list[Any]:
    """Return how well the diagnosis can be told without looking at the lesion: a figure, and the same as a table."""
    if not details:
        return []
    names = {"everything": "all together", "picture": "what the pixels show", "file": "what only the file tells"}
    together = details.get("together") or {}
    traits = [one for one in details.get("traits") or () if not one["of_lesion"]]
    shown = [(names.get(name, name), found) for name, found in together.items()]
    shown += [(one["label"], one) for one in traits[:12]]
    blocks: list[Any] = [Text(str(details.get("sentence", "")))]
    if not shown:
        return blocks
    chance = details.get("chance")
    caption = (
        "Balanced accuracy of trees that see no lesion, in cross-validation by photograph, lesion and patient, with "
        "95 % intervals. What stands far right of chance, a network may learn instead of the lesion."
    )
    told = "; ".join(f"{label}: {wording.score(found['accuracy'], 2)}" for label, found in shown)
    figure = figures.intervals([(label, found["accuracy"]) for label, found in shown], chance=chance, stamp=stamp)
    rows = [
        [
            one["label"],
            wording.score(one["accuracy"], 2),
            wording.share(one["information"]),
            ", ".join(one["tells"]) or "–",
            "yes" if one["strong"] else "no",
        ]
        for one in traits
    ]
    columns = ["trait", "balanced accuracy alone", "of the diagnosis' information", "tells best", "a shortcut"]
    return [*blocks, Drawing(figure, f"{caption} {told}", caption, True), Table("Each trait alone", columns, rows)]
