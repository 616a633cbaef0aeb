"""What a model card shows of failures: melanomas missed, other cancers passed, and the most confident false alerts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from melascope import diagnosis
from melascope.counted import plural
from melascope.evaluation.card_checklists import BESIDE, to

SHOWN_MISSED = 20
SHOWN_ALERTS = 10
_PUBLIC = re.compile(r"ISIC_\d{7}")
_CONFUSED = 5


def failures_of(predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the failures of the headline's part, as a plain mapping that JSON can hold.

    A card travels with the model, and a clinic's file names may name patients: a photograph that is not of the ISIC
    Archive is called by the first twelve digits of its file's sha256, which tells it to those who have the file.

    Args:
        predictions: As `predict_table` returns them.
        metrics: `metrics.json`.

    Returns:
        `decided`; `missed`, `passed` and `false_alerts`, each `{n, of, shown[{id, diagnosis, said, melanoma,
        malignancy, alert}]}`, worst first.
    """
    from melascope.reports.run_examples import judged  # the report's own rule, so that both show the same

    rows = judged(metrics, predictions)
    if rows.empty or not rows["decided"].all():
        return {"decided": False}
    melanoma = rows["diagnosis"].isin(diagnosis.GROUPS["melanoma"])
    malignant = rows["diagnosis"].isin(diagnosis.GROUPS["malignant"])
    others, benign = rows[malignant & ~melanoma], rows[~malignant]
    missed = rows[melanoma & rows["below"]].sort_values("melanoma_risk", kind="stable")
    passed = others[~others["alert"]].sort_values("malignancy_risk", kind="stable")
    false = benign[benign["alert"]].sort_values("melanoma_risk", ascending=False, kind="stable")
    return {
        "decided": True,
        "missed": _listed(missed, int(melanoma.sum()), SHOWN_MISSED),
        "passed": _listed(passed, len(others), SHOWN_ALERTS),
        "false_alerts": _listed(false, len(benign), SHOWN_ALERTS),
    }


def _listed(rows: pd.DataFrame, of: int, most: int) -> dict[str, Any]:
    shown = [
        {
            "id": _named(row),
            "diagnosis": str(row["diagnosis"]),
            "said": str(row["said"]),
            "melanoma": float(row["melanoma_risk"]),
            "malignancy": float(row["malignancy_risk"]),
            "alert": bool(row["alert"]),
        }
        for row in rows.head(most).to_dict("records")
    ]
    return {"n": len(rows), "of": of, "shown": shown}


def _named(row: Mapping[Any, Any]) -> str:
    name = str(row.get("image_id", ""))
    digest = row.get("sha256")
    return name if _PUBLIC.fullmatch(name) else f"sha256 {digest[:12]}" if isinstance(digest, str) else "not named"


def failure_section(metrics: Mapping[str, Any], failures: Mapping[str, Any] | None, own: bool = False) -> list[str]:
    """Return the lines of the section on known failures.

    Args:
        metrics: `metrics.json`.
        failures: As `failures_of` returns them; None where there are no predictions.
        own: Whether the card tells of damaged and unusual photographs that this very model was shown.
    """
    part = metrics["parts"][metrics["headline"]]
    lines = ["## Known failures", "", *_confused(part), ""]
    if failures and failures["decided"]:
        missed, passed, false = failures["missed"], failures["passed"], failures["false_alerts"]
        on_malignancy = sum(one["alert"] for one in missed["shown"])
        lines += [
            "### Melanomas missed",
            "",
            f"{missed['n']:,} of {plural(missed['of'], 'melanoma photograph')} stayed below the threshold of melanoma "
            f"risk{_which(missed, 'lowest risk first')}."
            + (f" {on_malignancy} of those shown still alerted on malignancy risk." if on_malignancy else ""),
            "",
            *_table(missed),
            "### Other cancers without an alert",
            "",
            f"{passed['n']:,} of {plural(passed['of'], 'photograph')} of other malignant lesions"
            f"{_which(passed, 'lowest risk first')}.",
            "",
            *_table(passed),
            "### Most confident false alerts",
            "",
            f"{false['n']:,} of {plural(false['of'], 'photograph')} of benign lesions alerted"
            f"{_which(false, 'highest melanoma risk first')}.",
            "",
            *_table(false),
        ]
    else:
        lines += ["Single photographs are not listed: no predictions or no threshold were at hand.", ""]
    return [*lines, "### Kinds of failure", "", *_kinds(own), ""]


def _which(listed: Mapping[str, Any], order: str) -> str:
    if not listed["n"]:
        return ""
    shown = len(listed["shown"])
    return f"; {'all' if shown == listed['n'] else f'{shown} are'} shown, {order}"


def _table(listed: Mapping[str, Any]) -> list[str]:
    if not listed["shown"]:
        return []
    lines = ["| photograph | diagnosis | first choice | melanoma risk | malignancy risk | alert |"]
    lines += [
        "|---|---|---|---|---|---|",
        *(
            f"| {one['id']} | {_name(one['diagnosis'])} | {_name(one['said'])} | {one['melanoma']:.1%} | "
            f"{one['malignancy']:.1%} | {'yes' if one['alert'] else 'no'} |"
            for one in listed["shown"]
        ),
    ]
    return [*lines, ""]


def _name(code: str) -> str:
    return diagnosis.name(code) if code in diagnosis.DIAGNOSES else code


def _confused(part: Mapping[str, Any]) -> list[str]:
    """Return the most frequent confusions, and what melanomas were called."""
    classes, matrix = part["classes"], part["confusion"]
    counts = {truth: sum(row) for truth, row in zip(classes, matrix, strict=True)}
    wrong = sorted(
        (
            (n, truth, said)
            for truth, row in zip(classes, matrix, strict=True)
            for said, n in zip(classes, row, strict=True)
            if truth != said and n
        ),
        key=lambda one: -one[0],
    )
    lines = []
    melanomas = [f"{_name(said)} {n:,}" for n, truth, said in wrong if truth in diagnosis.GROUPS["melanoma"]]
    if melanomas:
        of = sum(counts[code] for code in classes if code in diagnosis.GROUPS["melanoma"])
        lines.append(f"Of {plural(of, 'melanoma photograph')} the first choice was another: {', '.join(melanomas)}.")
    if not wrong:
        return ["No photograph was confused with another diagnosis."]
    told = [f"{_name(truth)} called {_name(said)} ({n:,} of {counts[truth]:,})" for n, truth, said in wrong[:_CONFUSED]]
    return [*lines, f"Most frequent confusions: {'; '.join(told)}."]


def _kinds(own: bool) -> list[str]:
    """Return the kinds of failure that were measured on other networks of ours, in words; the numbers stand there.

    With `own`, the card has a section on what was measured of this one.
    """
    measured = f"; what was measured of this one: {to(BESIDE['robustness'])}" if own else ""
    return [
        f"Measured on networks of this project, and to be expected of this one too{measured}:",
        "",
        "- **A diagnosis that was never trained is not found as unknown.** It is called by one of the known names, and "
        "often looks more ordinary than they do: novelty is no protection against a rare lesion (`docs/novelty.md`).",
        "- Little light, hair, ink, strong motion, a distant lesion and a black frame change many answers, slight blur "
        "and fewer pixels few (`docs/quality.md`). Underexposure is often not told, for the sake of dark skin.",
        "- The quality score tells of few errors: most melanomas that are missed are in photographs with nothing wrong "
        "(`docs/quality.md`).",
        "- Real clinical photographs, taken without a dermatoscope, were not measured; simulated ones are mostly, not "
        "always, recognised (`docs/novelty.md`).",
        "- A heat map shows what moved the network, not what is right; heat on a ruler or in a corner is a reason to "
        "distrust the finding (`docs/bundle.md`).",
        "- The skin tone that is estimated depends on white balance and exposure, and is no skin type "
        "(`docs/quality.md`).",
    ]
