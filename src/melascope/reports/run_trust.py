"""Whether the results can be trusted: calibration, prediction sets, subgroups, baselines, leaks, sample size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from melascope.reports import figures, wording
from melascope.reports.page import Details, Drawing, Points, Row, Table, Text
from melascope.reports.run_results import Write, cell
from melascope.reports.run_summary import GAP_SCORES, few_of, gap_words, headline_part

_SKIN_TONE = (
    "Skin tone is estimated from the skin around the lesion (individual typology angle); light and white balance move "
    "it by more than a band, so that it sorts photographs of one camera and measures nobody's skin."
)
_BASELINES = {
    "largest_class": "always the largest class",
    "colour_histogram": "colour histogram + logistic regression",
    "shuffled_labels": "same network, shuffled labels",
}


def calibration(metrics: Mapping[str, Any], stamp: str) -> list[Any]:
    """Return reliability diagrams, the calibration table, and the prediction sets."""
    name, part = headline_part(metrics)
    stamp = f"{name} · {stamp}"
    drawn, rows = [], []
    for group, found in (part.get("calibration") or {}).items():
        if not isinstance(found, Mapping):
            continue
        cells = [cell(found.get(s), lambda e: wording.score(e, 3)) for s in ("slope", "intercept", "brier", "ece")]
        n = next((wording.cases(found.get(s)) for s in ("brier", "slope") if found.get(s)), None)
        rows.append([str(group), wording.count(n), *cells])
        if found.get("reliability"):
            told = (
                f"Predicted {group} risk against how often it was so, in bins of equal size. On the dotted line risks "
                f"mean what they say; slope {wording.score(found.get('slope'))}, "
                f"intercept {wording.with_n(wording.score(found.get('intercept')), found.get('intercept'))}."
            )
            figure = figures.reliability(
                found["reliability"],
                name=str(group),
                slope=found.get("slope"),
                intercept=found.get("intercept"),
                stamp=stamp,
            )
            drawn.append(Drawing(figure, told, told))
    blocks: list[Any] = [Row(drawn)] if drawn else []
    if rows:
        note = (
            "Slope 1 and intercept 0 are perfect; a slope below 1 means risks too extreme. "
            "The expected calibration error (ECE) depends on the bins: read it last."
        )
        columns = ["risk", "n", "slope", "intercept", "Brier score", "ECE"]
        blocks.append(Table("Calibration, with 95 % intervals", columns, rows, note))
    return blocks + _prediction_sets(part)


_PASSED = ("melanoma_specificity", "specificity")
_BENIGN = ("confirmed by", "n", "specificity for melanoma", "no alert at all")


def _prediction_sets(part: Mapping[str, Any]) -> list[Any]:
    found = part.get("prediction_set")
    if not isinstance(found, Mapping):
        return []
    write: Write = lambda e: wording.score(e, 1)  # noqa: E731
    rows = []
    for label, own in (("all", found), *(found.get("per_class") or {}).items()):
        own = own if isinstance(own, Mapping) else {}
        n = wording.count(wording.cases(own.get("coverage")))
        cells = [cell(own.get("coverage"), wording.percent), cell(own.get("size"), write)]
        rows.append([wording.class_name(label), n, *cells])
    note = (
        f"Wanted: {wording.share(found.get('coverage_wanted'))} in every class. Coverage is an average over "
        "photographs, and holds if they are exchangeable with those of calibrate; where it is clearly lower here, "
        "these are not, and another clinic's may not be either."
    )
    columns = ["diagnosis", "n", "coverage", "mean size of the set"]
    return [Table("Sets of possible diagnoses, with 95 % intervals", columns, rows, note)]


def subgroups(metrics: Mapping[str, Any]) -> list[Any]:
    """Return scores for melanoma by sex, age, site and whatever else is known."""
    _, part = headline_part(metrics)
    rows = []
    for kind, levels in (part.get("subgroups") or {}).items():
        for level, found in (levels or {}).items():
            numbers = f"{wording.count(found.get('n'))} / {wording.count(found.get('n_positive'))}"
            area = "too few" if found.get("too_few") else cell(found.get("auc"), wording.score)
            cells = [cell(found.get(score), wording.percent) for score in ("sensitivity", "specificity", "coverage")]
            size = cell(found.get("set_size"), lambda e: wording.score(e, 1))
            rows.append([f"{str(kind).replace('_', ' ')}: {level}", numbers, area, *cells, size])
    if not rows:
        return _source_told(metrics)
    columns = [
        "subgroup",
        "n / melanomas",
        "melanoma AUC",
        "sensitivity",
        "specificity",
        "coverage of the set",
        "mean size",
    ]
    table = Table("Melanoma by subgroup, with 95 % intervals", columns, rows)
    return [
        *_gaps(part),
        *_source_told(metrics),
        *_within(part),
        *_benign(part),
        Details("Melanoma by subgroup", [table]),
    ]


def _within(part: Mapping[str, Any]) -> list[Any]:
    """Return the AUCs over pairs of one source."""
    found, lesions = part.get("within_source"), (part.get("per_lesion") or {}).get("within_source")
    if not isinstance(found, Mapping):
        return []

    def told(found: Mapping[str, Any]) -> str:
        return "; ".join(
            f"{name} {wording.score(one.get('auc'))} (n = {wording.count(wording.cases(one.get('auc')))})"
            if one.get("auc")
            else f"{name} cannot be measured, as no source has lesions of both kinds"
            for name, one in (
                (name, found.get(key) or {}) for key, name in (("melanoma", "melanoma"), ("malignant", "malignancy"))
            )
        )

    per_lesion = f". Per lesion: {told(lesions)}" if isinstance(lesions, Mapping) else ""
    return [Text(f"AUC over pairs of one source, which no mark of a source can raise: {told(found)}{per_lesion}.")]


def _benign(part: Mapping[str, Any]) -> list[Any]:
    """Return the specificity on benign lesions by what confirmed them."""
    found = part.get("benign")
    if not isinstance(found, Mapping) or not found:
        return []
    rows = [
        [str(kind), wording.count(one.get("n")), *[cell(one.get(s), wording.percent) for s in _PASSED]]
        for kind, one in found.items()
    ]
    note = (
        "At the deployed thresholds. Benign lesions that were excised looked suspicious to somebody, and are the hard "
        "ones; those that were followed up or agreed upon are the easy ones."
    )
    return [Table("Benign lesions, by what confirmed them, with 95 % intervals", [*_BENIGN], rows, note)]


def _gaps(part: Mapping[str, Any]) -> list[Any]:
    """Return the largest gap of each score between the subgroups of each kind."""
    rows = []
    for kind, scores in (part.get("gaps") or {}).items():
        for score, found in scores.items():
            if not isinstance(found, Mapping) or not wording.known(found):
                continue
            compared = f"{wording.count(found.get('groups'))} ({wording.count(found.get('n'))})"
            names = f"{found.get('higher')} above {found.get('lower')}"
            shown = [f"{gap.get('higher')} above {gap.get('lower')}" for gap in found.get("shown") or ()]
            says = "gap shown" if shown == [names] else f"gaps shown: {'; '.join(shown)}"
            rows.append(
                [
                    f"{str(kind).replace('_', ' ')}: {GAP_SCORES.get(score, score)}",
                    compared,
                    names if wording.value(found) > 0 else "none: all alike",
                    gap_words(found),
                    says if shown else "no gap shown",
                ]
            )
    if not rows:
        return []
    note = (
        "Each row: the largest difference between two groups of ten lesions or more of what the score counts, and an "
        "interval that allows for its being the largest of all pairs (Tukey's width, lesions resampled). Where it "
        f"holds 0 no gap is shown, which does not show that there is none. Of {wording.plural(len(rows), 'row')} one "
        "in twenty would show a gap by chance. Groups differ in their diagnoses, too, which alone can open a gap."
    )
    if "skin_tone" in (part.get("gaps") or {}):
        note += f" {_SKIN_TONE}"
    columns = ["score", "groups (n of the two)", "largest gap", "difference", "says"]
    return [Table("Gaps between subgroups, with 95 % intervals", columns, rows, note, words=True)]


def _source_told(metrics: Mapping[str, Any]) -> list[Any]:
    found = metrics.get("source_told")
    if not isinstance(found, Mapping) or not found.get("text"):
        return []
    text = f"{found['text']} (n = {wording.count(wording.cases(found.get('balanced_accuracy')))}, 95 % intervals.)"
    if not found.get("told"):
        return [Text(text)]
    end = "A network that can tell the source can learn it in place of the lesion: read the scores within each source."
    return [Text(f"{text} {end}")]


def baselines(metrics: Mapping[str, Any], stamp: str) -> list[Any]:
    """Return the baselines beside the model."""
    name, part = headline_part(metrics)
    found = metrics.get("baselines") or {}
    if not found or not part:
        return []
    groups = part.get("groups") or {}
    model = {"accuracy": part.get("accuracy"), "balanced_accuracy": part.get("balanced_accuracy")}
    model |= {f"{g}_auc": (groups.get(g) or {}).get("auc") for g in ("melanoma", "malignant")}
    scores = ("balanced_accuracy", "accuracy", "melanoma_auc", "malignant_auc")
    heads = {
        "balanced_accuracy": "lead in balanced accuracy",
        "melanoma_auc": "lead in melanoma AUC",
        "melanoma_auc_within": "lead within a source",
    }
    made = [v.get("difference") or {} for v in found.values() if isinstance(v, Mapping)]
    leads = [score for score in heads if score == "balanced_accuracy" or any(score in one for one in made)]
    entries = [("this model", model), *[(_BASELINES.get(k, k), v) for k, v in found.items() if isinstance(v, Mapping)]]
    rows = [
        [
            label,
            wording.count(wording.cases(v.get("balanced_accuracy"))),
            *[
                _unless_few(part, s, v.get(s), wording.percent if i < 2 else wording.score)
                for i, s in enumerate(scores)
            ],
            *[_unless_few(part, s, (v.get("difference") or {}).get(s), wording.score) for s in leads],
        ]
        for label, v in entries
    ]
    notes = " ".join(str(v["text"]) for v in found.values() if isinstance(v, Mapping) and v.get("text"))
    notes += (
        " Lead: this model's score minus the baseline's, on the same photographs, both drawn together; an interval "
        "that holds 0 shows no difference."
    )
    told = "Balanced accuracy of the model and of what it must beat, with 95 % intervals. " + "; ".join(
        f"{r[0]} {r[2]}, n = {r[1]}" for r in rows
    )
    figure = figures.intervals(
        [(label, v.get("balanced_accuracy")) for label, v in entries],
        title="Balanced accuracy",
        stamp=f"{name} · {stamp}",
    )
    columns = ["", "n", "balanced accuracy", "accuracy", "melanoma AUC", "malignant AUC", *[heads[s] for s in leads]]
    blocks: list[Any] = [
        Drawing(figure, told, told.split(". ")[0] + ".", True),
        Table("Baselines, with 95 % intervals", columns, rows, notes),
    ]
    shuffled = found.get("shuffled_labels")
    if isinstance(shuffled, Mapping) and shuffled.get("at_chance") is False:
        told = (
            "The network trained on shuffled labels is not at chance: something other than the lesions tells the class."
            if metrics.get("protocol") != "as-published"
            else "The network trained on shuffled labels is not at chance, which tells nothing of the lesions here: "
            "copies of one photograph stand on both sides, so that those whose shuffled label is the true one by luck "
            "are known by heart, and count as often as they were copied."
        )
        blocks.insert(0, Text(told, "warning"))
    return blocks


def _unless_few(part: Mapping[str, Any], score: str, estimate: Any, words: Callable[[Any], str]) -> str:
    """Return a cell; `too few to judge` for an area of melanomas or malignant lesions of which there are too few."""
    group = score.split("_")[0]
    few = group in (part.get("groups") or {}) and few_of(part, group)
    return "too few to judge" if few and wording.known(estimate) else cell(estimate, words)


def honesty(metrics: Mapping[str, Any]) -> list[Any]:
    """Return what else must be said: leaks, what was trained on, cross-fitting, refused files, notes."""
    _, part = headline_part(metrics)
    points: list[tuple[str, str]] = []
    trained = metrics.get("trained_on") or {}
    told_already = any("trained on" in str(note) for note in metrics.get("notes") or ())
    if trained.get("of") is not None and not told_already:
        images = wording.number(trained.get("images"))
        was, it_is = ("was", "it is") if images == 1 else ("were", "they are")
        told = f"{wording.count(images)} of {wording.plural(trained['of'], 'photograph')} {was} trained on"
        points.append(("warning", f"{told}; {it_is} left out of the headline.") if images > 0 else ("good", f"{told}."))
    leaks = metrics.get("leaks") or {}
    for key, n in leaks.items():
        what = str(key).removeprefix("share_")
        if what != key and what != "any" and wording.number(n) > 0:
            of = f" of {wording.count(leaks['test_photographs'])}" if "test_photographs" in leaks else ""
            share = "test photograph shares" if wording.number(n) == 1 and not of else "test photographs share"
            points.append(("warning", f"Leak: {wording.count(n)}{of} {share} a {what} with the other parts."))
    if metrics.get("optimistic"):
        points.append(
            ("warning", f"The protocol {metrics.get('protocol')} is optimistic: do not compare it with clean results.")
        )
    if metrics.get("cross_fitted"):
        points.append(("note", "The set is too small for four parts: tune and calibrate are one part, cross-fitted."))
    refused = part.get("refused") or {}
    if wording.number(refused.get("n")) > 0:
        kinds = ", ".join(f"{kind} {wording.count(n)}" for kind, n in (refused.get("kinds") or {}).items())
        points.append(
            ("note", f"{wording.plural(refused['n'], 'photograph')} of this part could not be scored: {kinds}.")
        )
    points += [("note", str(note)) for note in metrics.get("notes") or ()]
    return [Points(points)] if points else []


def sample_size(metrics: Mapping[str, Any]) -> list[Any]:
    """Return the sample size statements and the missing data of the judged part."""
    _, part = headline_part(metrics)
    blocks: list[Any] = []
    told = [
        ("note", str(v["text"]))
        for v in (part.get("sample_size") or {}).values()
        if isinstance(v, Mapping) and v.get("text")
    ]
    if told:
        blocks.append(Points(told))
    rows = [
        [str(column).replace("_", " "), wording.count(gap.get("missing")), wording.count(gap.get("of"))]
        for column, gap in (part.get("missing") or {}).items()
        if isinstance(gap, Mapping)
    ]
    if rows:
        blocks.append(Table("Missing data, judged photographs", ["column", "missing", "of"], rows))
    return blocks
