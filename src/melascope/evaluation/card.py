"""The model card that travels in the bundle: what the model is for, what it was made of, how it did, where it fails.

Follows Mitchell et al. 2019 ("Model Cards for Model Reporting") in its headings, and ends with two checklists.
Every number is taken from the run; none is typed. Every section is always there, so that each can be pointed to.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from melascope import diagnosis
from melascope.bundle.doubts import ADULT, CONTRAINDICATED_SITES, THE_YOUNG
from melascope.counted import plural
from melascope.evaluation import card_checklists as checklists
from melascope.evaluation.card_claim import SOURCE as CLAIM_SOURCE
from melascope.evaluation.card_claim import claim
from melascope.evaluation.card_clear_derm import SOURCE as CLEAR_DERM_SOURCE
from melascope.evaluation.card_clear_derm import clear_derm
from melascope.evaluation.card_data import data_of, data_section, shift_of_sources
from melascope.evaluation.card_effort import effort_of, effort_section
from melascope.evaluation.card_failures import failure_section, failures_of
from melascope.evaluation.card_scores import measured_on, results
from melascope.evaluation.findings import few_of, shown
from melascope.statistics import deployed

_WARNING = (
    "**Not a medical device.** Research use only. A finding never replaces examination, dermoscopy or histology, "
    "and a missing alert does not exclude melanoma."
)
_YOUNG = ("under 10", "10 to 19")
_SPECIAL = re.compile("|".join(CONTRAINDICATED_SITES.values()), re.IGNORECASE)


def gathered(
    table: pd.DataFrame,
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    steps: Mapping[str, Mapping[str, Any]],
    history: Path | None = None,
) -> dict[str, Any]:
    """Return what `model_card` takes beside metrics and decision, from the files of a run.

    Args:
        table: The run's table: one row per photograph, with its part.
        predictions: As `predict_table` returns them.
        metrics: `metrics.json`.
        steps: The run's finished steps with their seconds.
        history: The run's `history.csv`.

    Returns:
        `data`, `failures` and `effort`, plain mappings.
    """
    return {
        "data": data_of(table),
        "failures": failures_of(predictions, metrics),
        "effort": effort_of(steps, history),
    }


def model_card(
    metrics: Mapping[str, Any],
    decision: Mapping[str, Any],
    recipe: str = "",
    environment: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    failures: Mapping[str, Any] | None = None,
    effort: Mapping[str, Any] | None = None,
    beside: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the card as Markdown.

    Args:
        metrics: `metrics.json`.
        decision: `decision.json`.
        recipe: The resolved recipe, as TOML.
        environment: Where it was trained, as `melascope.environment.describe` tells.
        data: As `card_data.data_of` returns it.
        failures: As `card_failures.failures_of` returns it.
        effort: As `card_effort.effort_of` returns it.
        beside: What a run cannot know and its maker tells: a name of `card_checklists.BESIDE` to lines of Markdown.

    Raises:
        ValueError: For an unknown name in `beside`.
    """
    more = {name: list(lines) for name, lines in (beside or {}).items()}
    if not set(more) <= set(checklists.BESIDE):
        raise ValueError(f"A card tells beside the run {', '.join(checklists.BESIDE)}; not {', '.join(sorted(more))}.")
    told = tomllib.loads(recipe) if recipe else {}
    facts = checklists.Facts(
        metrics, decision, told, data, environment is not None, bool(failures and failures["decided"]), frozenset(more)
    )
    lines = [
        f"# {decision['name']} {decision['version']}",
        "",
        _WARNING,
        "",
        *_in_short(metrics, decision, told),
        *_use(decision),
        *data_section(metrics, data),
        *_made(metrics, decision, told, "designs" in more),
        *results(metrics, decision),
        *failure_section(metrics, failures, own="robustness" in more),
        *_beside(more),
        *_shift(metrics, data),
        *_limits(metrics),
        *effort_section(effort, environment),
        *_software(decision, environment),
        "## Checklists",
        "",
        "Filled in from what the run knows. *Answered* means that a section says it, not that all is well.",
        "",
        *checklists.table("CLAIM 2024", CLAIM_SOURCE, claim(facts)),
        *checklists.table("CLEAR Derm", CLEAR_DERM_SOURCE, clear_derm(facts)),
        *_recipe(recipe),
    ]
    return "\n".join(lines)


def _in_short(metrics: Mapping[str, Any], decision: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[str]:
    part = metrics["parts"][metrics["headline"]]
    classes = ", ".join(f"{diagnosis.name(code)} ({code})" for code in decision["classes"])
    melanoma = part["groups"]["melanoma"]
    lines = [
        "## In short",
        "",
        f"A convolutional neural network{_called(recipe)} that sorts dermoscopic photographs of single skin lesions "
        f"into {len(decision['classes'])} diagnoses: {classes}. Made and judged retrospectively. Measured on "
        f"{measured_on(metrics)}:",
        "",
    ]
    name = deployed(melanoma["operating_points"])
    if name is not None:
        point = melanoma["operating_points"][name]
        lines += [
            f"- melanoma sensitivity at `{name}`: {shown(point['sensitivity'])}",
            f"- melanoma specificity there: {shown(point['specificity'])}",
        ]
    few = f"too few to judge ({melanoma['n_positive']} melanomas, {melanoma['n_negative']} others)"
    return [
        *lines,
        f"- melanoma ranked above other lesions (AUC): {few if few_of(part, 'melanoma') else shown(melanoma['auc'])}",
        f"- balanced accuracy over the diagnoses: {shown(part['balanced_accuracy'])}",
        "",
        "With your cameras and patients it will do otherwise, and probably worse: see "
        f"{checklists.to('Shift and prevalence', 'Known failures')}.",
        "",
    ]


def _called(recipe: Mapping[str, Any]) -> str:
    network = recipe.get("network", {})
    name = network.get("backbone") if network.get("name") == "backbone" else None
    return f" (deep learning, {name})" if name else " (deep learning)"


def _use(decision: Mapping[str, Any]) -> list[str]:
    return [
        "## Intended use",
        "",
        "**For** research on melanoma detection: sorting photographs for a dermatologist, who sees the patient and "
        "decides. **By** researchers, and by dermatologists who take part in research and know these limits; not by "
        "patients, and not for anybody's treatment. **Input** is one dermoscopic photograph of one lesion, whole, in "
        "focus and evenly lit. **Output** is a second look with calibrated risks, not a diagnosis.",
        "",
        "## Contraindications",
        "",
        "The model was not made for these, and the numbers below do not tell how it does on them:",
        "",
        "- palms and soles (acral skin), nails, mucosa, eyes and genitals;",
        f"- {THE_YOUNG};",
        "- tattooed skin, and skin or lesions that were treated, operated on, biopsied, burnt or inflamed;",
        "- photographs taken without a dermatoscope, of several lesions, of whole regions, or of poor quality;",
        "- diagnoses other than those that it knows, which it must call by one of their names;",
        "- skin tones, cameras and clinics unlike those of its data.",
        "",
        f"Where age and site are given with a photograph, those under {ADULT} and those sites are referred instead of "
        "passed; an alert stands.",
        "",
        *_barely_known(decision),
    ]


def _barely_known(decision: Mapping[str, Any]) -> list[str]:
    """Return how many lesions of the young, and of special sites, the model learnt from."""
    context = decision.get("known_context") or {}
    lines = []
    if context.get("age_band"):
        young = sum(n for band, n in context["age_band"].items() if band in _YOUNG)
        lines.append(f"{plural(young, 'lesion')} of people under 20")
    if context.get("site"):
        special = sum(n for site, n in context["site"].items() if _SPECIAL.search(site.replace("_", " ")))
        lines.append(f"{plural(special, 'lesion')} of palms, soles, nails, mouth or genitals")
    if not lines:
        return []
    return [f"As far as age and site are known, it learnt from {' and '.join(lines)}.", ""]


def _beside(told: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what its maker measured beside the run."""
    lines = ["## Beside the run", ""] if told else []
    for name, heading in checklists.BESIDE.items():
        if name in told:
            lines += [f"### {heading}", "", *told[name], ""]
    return lines


def _made(
    metrics: Mapping[str, Any], decision: Mapping[str, Any], recipe: Mapping[str, Any], designs: bool
) -> list[str]:
    shape = decision.get("geometry")
    lines = ["## How it was made", ""]
    if shape:
        how = f"prepared by `{shape['mode']}`: `docs/images.md`" if "mode" in shape else "see `docs/images.md`"
        lines.append(f"- Input: {shape['height']} x {shape['width']} pixels, RGB ({how}).")
    network, schedule = recipe.get("network", {}), recipe.get("schedule", {})
    if network:
        weights = Path(str(network.get("weights") or "").replace("\\", "/")).name
        start = f"from the weights `{weights}`" if weights else "from random weights"
        start = "from the weights of another run (see above)" if metrics.get("continued_from") else start
        kind = network.get("backbone") or network["name"]
        lines.append(f"- Network: {kind}, started {start}; one network, no ensemble.")
    if schedule:
        optimiser, kept = recipe.get("optimiser", {}), schedule.get("keep", "last")
        keep = "the last epoch is kept" if kept == "last" else f"the best epoch by `{schedule.get('monitor')}` is kept"
        lines.append(
            f"- Training: {schedule['epochs']} epochs with `{optimiser.get('name')}`, sampling "
            f"`{recipe.get('balance', {}).get('sampling', 'none')}`, on the part `train`; {keep}."
        )
    elif not recipe:
        lines.append("- The recipe was not recorded with this card.")
    method = (decision.get("calibration") or {}).get("method")
    if method:
        lines.append(f"- Calibration: `{method}`, fitted like the thresholds on the part `calibrate`.")
    if metrics["cross_fitted"] and checklists.fixed_in_advance(recipe):
        lines.append("- There is no part `tune`: epochs were fixed beforehand, and the last one is kept.")
    elif metrics["cross_fitted"]:
        lines.append("- The set is too small for four parts: early stopping and calibration share their photographs.")
    if designs:
        ideas = checklists.to(checklists.BESIDE["designs"])
        return [*lines, f"- What was tried before, and how often the test part was looked at: {ideas}.", ""]
    return [
        *lines,
        "- This run opened its test part once, at its end. Whether others looked at the same photographs, and how many "
        "recipes were tried, a run cannot know; scores by which one of several was chosen are optimistic.",
        "",
    ]


def _shift(metrics: Mapping[str, Any], data: Mapping[str, Any] | None) -> list[str]:
    group = metrics["parts"][metrics["headline"]]["groups"]["melanoma"]
    share = group["n_positive"] / max(1, group["n_positive"] + group["n_negative"])
    learnt = (metrics["parts"].get("calibrate") or {}).get("groups", {}).get("melanoma")
    calibrated = ""
    if learnt:
        of = learnt["n_positive"] / max(1, learnt["n_positive"] + learnt["n_negative"])
        calibrated = f", and {of:.0%} of those that calibrated the risks"
    lines = [
        "## Shift and prevalence",
        "",
        "- Sensitivity and specificity shift with cameras, clinics and skin tones; measure them on your own "
        "photographs with `melascope evaluate`.",
        f"- **Prevalence.** Melanomas are {share:.0%} of the photographs that were judged{calibrated}. Where they are "
        "rarer, risks are too high, and a larger share of the alerts is false: see "
        f"{checklists.to('Predictive values')}.",
        "- **Choice of lesions.** Collections hold lesions that somebody found worth photographing and often excising; "
        "those of unselected patients differ.",
        "- **Skin.** Public collections are mostly of Europe, North America and Australia, and hold little dark skin "
        "(Wen et al., Lancet Digit Health 2022; 4: e64); on dark skin nothing is promised.",
        "- Thresholds, risks and prediction sets hold for photographs like those of the part `calibrate`. A target "
        "that was reached there need not be reached elsewhere.",
    ]
    source = (metrics.get("source_told") or {}).get("text")
    lines += [f"- {source}"] if source else []
    return [*lines, *(f"- {told}" for told in shift_of_sources(data)), ""]


def _limits(metrics: Mapping[str, Any]) -> list[str]:
    part = metrics["parts"][metrics["headline"]]
    choice = (metrics.get("first_choice") or {}).get("text")
    size = [group["text"] for group in (part.get("sample_size") or {}).values()]
    return [
        "## Limits",
        "",
        *(f"- {note}" for note in [*metrics["notes"], *size, metrics["unit"]["text"]] if note != choice),
        "- It was not tried in a clinic, and compared with no reader. It sees one photograph: no history, no touch, "
        "no change.",
        "",
    ]


def _software(decision: Mapping[str, Any], environment: Mapping[str, Any] | None) -> list[str]:
    lines = [
        "## Software",
        "",
        f"Melascope {decision['version']}, whose code is under the Apache License 2.0; the weights are not: see "
        f"{checklists.to('Licences and citations')}. Try the model with `melascope predict`, and measure it with "
        "`melascope evaluate`.",
    ]
    if environment:
        packages = ", ".join(f"{name} {version}" for name, version in (environment.get("packages") or {}).items())
        lines += ["", f"Python {environment['python']}" + (f"; {packages}." if packages else ".")]
    return [*lines, ""]


def _recipe(recipe: str) -> list[str]:
    if not recipe:
        return ["## Recipe", "", "Not recorded with this card.", ""]
    # Of files only the names: folders are nobody else's business.
    named = re.sub(r'"(?:[A-Za-z]:)?[/\\][^"\n]*[/\\]([^"/\\\n]+)"', r'"\1"', recipe.strip())
    return ["## Recipe", "", "```toml", named, "```", ""]
