"""The report of a tuning: what was best, how the score came about, what mattered, every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from melascope.reports import wording
from melascope.reports.data_report import FOOTER
from melascope.reports.figures.tuning import tuning_history, tuning_importance, tuning_slices
from melascope.reports.page import Code, Details, Drawing, Facts, Measure, Measures, Page, Section, Table, Text

_FEW_TRIALS = 30
_MOST_ROWS = 200
_WITHIN = "melanoma_auc_within_source"


@dataclass(frozen=True)
class TuningReport:
    """What the page needs.

    Attributes:
        trials: A row per trial: `number`, `state`, the score, the values searched, `folds_done`, `seconds`, `error`;
            `melanoma_auc_within_source` where sources are known.
        score: Name of the score's column.
        lower_is_better: Which way is better.
        best: Number of the best trial.
        searched: Key to range or choices in words.
        by_factors: Keys searched on a logarithmic scale.
        unchanged: The values of the recipe as it stood, or None where they lie outside the space.
        values: The best trial's values by key.
        beside: The best trial, the recipe as it stood and the baselines: names and scores (estimates), None where too
            few lesions stand behind them.
        importance: Share of each key, empty where it cannot be told.
        sentences: About optimism and gain.
        counts: Trials by state.
        wanted: How many trials were asked for.
        folds: Of the cross-validation.
        facts: About the data: `photographs`, `groups`, `test_left_out`, `calibrate_left_out`, `audited`,
            `optimistic`, `sources` (how many are known), `warnings`.
        protocol: Of the data.
        recipe: The best recipe as TOML.
        command: What judges it on Test.
        machine: `environment.describe()`.
        title: Of the page: which recipe, on which data.
    """

    trials: pd.DataFrame
    score: str
    lower_is_better: bool
    best: int
    searched: Mapping[str, str]
    by_factors: Sequence[str]
    unchanged: Mapping[str, Any] | None
    values: Mapping[str, Any]
    beside: Sequence[tuple[str, wording.Estimate | None]]
    importance: Mapping[str, float]
    sentences: Sequence[str]
    counts: Mapping[str, int]
    wanted: int
    folds: int
    facts: Mapping[str, Any]
    protocol: str
    recipe: str
    command: str
    machine: Mapping[str, Any]
    title: str = "Tuning"


def tuning_report(inputs: TuningReport) -> str:
    """Return a tuning as one self-contained HTML page."""
    facts = inputs.facts
    stamp = wording.stamp(facts["audited"], inputs.protocol, facts.get("optimistic"))
    stamps = [("good", "audited data") if facts["audited"] else ("warning", "unaudited data")]
    stamps += [
        ("note", f"protocol: {inputs.protocol}"),
        ("warning", "optimistic: the best of many"),
        ("good", "Test closed"),
    ]
    tried = inputs.counts["complete"] + inputs.counts["pruned"] + inputs.counts["failed"]
    photographs = wording.plural(facts["photographs"], "photograph")
    return Page(
        title=inputs.title,
        subtitle=f"{wording.plural(tried, 'trial')}, each cross-validated on {photographs} of the parts train and tune",
        stamps=stamps,
        sections=[
            Section("best", "The best recipe", _best(inputs)),
            Section("history", "How the score came about", _history(inputs, stamp)),
            Section("importance", "What mattered", _importance(inputs, stamp)),
            Section("trials", "All trials", _trials(inputs)),
            Section("data", "Data and machine", _data(inputs)),
        ],
        footer=FOOTER,
    ).render()


def _best(inputs: TuningReport) -> list[Any]:
    row = inputs.trials[inputs.trials["number"] == inputs.best].iloc[0]
    value = float(row[inputs.score])
    name = _named(inputs.score)
    folds = [row.get(f"{inputs.score}_fold_{i}") for i in range(1, inputs.folds + 1)]
    told = f"Mean over {wording.plural(inputs.folds, 'fold')}: {', '.join(f'{wording.number(f):.3f}' for f in folds)}."
    told += " Too few lesions stand behind it to judge." if any(one is None for _, one in inputs.beside) else ""
    unchanged = inputs.unchanged
    rows = [
        [key, _cell(inputs.values.get(key)), "–" if unchanged is None else _cell(unchanged.get(key)), words]
        for key, words in inputs.searched.items()
    ]
    return [
        *(Text(sentence, "warning" if place == 0 else "note") for place, sentence in enumerate(inputs.sentences)),
        Measures([Measure(f"{name}, cross-validated", f"{value:.3f}", told)]),
        _beside(inputs),
        Table("The values", ["value", "best", "as it stood", "searched"], rows, words=True),
        Code(inputs.command, "Judge it on Test, once"),
        Details("The recipe, best.toml", [Code(inputs.recipe)]),
    ]


def _beside(inputs: TuningReport) -> Table:
    rows = [
        [name, "too few to judge" if one is None else wording.score(one, 3), str(inputs.folds)]
        for name, one in inputs.beside
    ]
    note = (
        "Means over the same folds with 95 % intervals (corrected resampled t), each as if it had been named "
        "beforehand; the best trial was not, and its interval does not know that. Baselines need no network: a trial "
        "that is no better than these has learnt nothing that needs one. The network on shuffled labels, which must be "
        "at chance, is judged by the run."
    )
    return Table("Beside what needs no network", ["what", _named(inputs.score), "trainings"], rows, note)


def _history(inputs: TuningReport, stamp: str) -> list[Any]:
    figure = tuning_history(
        inputs.trials, inputs.score, lower_is_better=inputs.lower_is_better, best=inputs.best, stamp=stamp
    )
    told = f"Score of each trial in order, the best being trial {inputs.best}."
    caption = (
        f"{told} A pruned trial was given up after some of its {wording.plural(inputs.folds, 'fold')}, "
        "because its mean so far was worse than the median of the complete trials after as many folds."
    )
    return [Text(_counted(inputs)), Drawing(figure, told, caption, True)]


def _counted(inputs: TuningReport) -> str:
    c = inputs.counts
    words = [f"{c['complete']} complete", f"{c['pruned']} pruned", f"{c['failed']} failed"]
    open_trials = c["running"] + c["waiting"]
    text = f"Of {wording.plural(inputs.wanted, 'trial')} wanted: {wording.listed(words)}."
    if c["stopped"]:
        were = (
            "One was stopped before its end and"
            if c["stopped"] == 1
            else f"{c['stopped']} were stopped before their end and each"
        )
        text += f" {were} tried again, from its last finished epoch."
    if open_trials:
        text += f" {wording.plural(open_trials, 'trial is', 'trials are')} not finished: repeat the command to go on."
    return text


def _importance(inputs: TuningReport, stamp: str) -> list[Any]:
    n = inputs.counts["complete"]
    blocks: list[Any] = []
    if n < _FEW_TRIALS:
        blocks.append(
            Text(f"This rests on {wording.plural(n, 'complete trial')}: too few to rely on the order.", "note")
        )
    told = "; ".join(f"{key} {value:.2f}" for key, value in inputs.importance.items()) or "not told"
    caption = "Share of each value in the differences between trials (PED-ANOVA)."
    figure = tuning_importance(inputs.importance, n=n, stamp=stamp)
    ranked = sorted(inputs.searched, key=lambda key: -inputs.importance.get(key, 0.0))
    slices = tuning_slices(
        inputs.trials, inputs.score, ranked, by_factors=inputs.by_factors,
        lower_is_better=inputs.lower_is_better, best=inputs.best, stamp=stamp,
    )  # fmt: skip
    seen = "Score of the complete trials against each value; the diamond is the best."
    return [*blocks, Drawing(figure, f"{caption} {told}", caption, True), Drawing(slices, seen, seen, True)]


def _trials(inputs: TuningReport) -> list[Any]:
    keys = list(inputs.searched)
    ordered = inputs.trials.sort_values(
        ["state", inputs.score], ascending=[True, inputs.lower_is_better], kind="stable", na_position="last"
    )
    # Never an AUC over sources without that within a source beside it.
    within = [_WITHIN] if inputs.score == "melanoma_auc" and _WITHIN in inputs.trials else []
    titles = ["within a source" for _ in within]
    columns = ["trial", "state", _named(inputs.score), *titles, "folds", *keys, "seconds", "remark"]
    rows = [
        [
            str(row["number"]), str(row["state"]), *(_cell(row[key]) for key in (inputs.score, *within)),
            str(row["folds_done"]), *(_cell(row[key]) for key in keys), _cell(row["seconds"]), _remark(row),
        ]
        for row in ordered.head(_MOST_ROWS).to_dict("records")
    ]  # fmt: skip
    left = len(ordered) - len(rows)
    note = f"{wording.plural(left, 'more trial')} in trials.csv." if left > 0 else "Also in trials.csv, with each fold."
    return [Table("Trials, the best first", columns, rows, note)]


def _remark(row: Mapping[Any, Any]) -> str:
    if isinstance(row.get("error"), str):
        return str(row["error"])
    again = wording.number(row.get("tried_again_as")) if row.get("tried_again_as") is not pd.NA else float("nan")
    return "" if again != again else f"again: trial {int(again)}"


def _data(inputs: TuningReport) -> list[Any]:
    facts, machine = inputs.facts, inputs.machine
    return [
        *(Text(str(sentence), "note") for sentence in facts.get("warnings", ())),
        Facts(
            [
                ("Photographs", wording.count(facts["photographs"])),
                ("Groups, never torn between folds", wording.count(facts["groups"])),
                *([("Sources known", wording.count(facts["sources"]))] if "sources" in facts else []),
                ("Left out as Test", wording.count(facts["test_left_out"])),
                ("Left out for calibration", wording.count(facts["calibrate_left_out"])),
                ("Processor", str(machine.get("processor", ""))),
                ("Cores", str(machine.get("cores", ""))),
                ("Optuna", str(machine.get("optuna", ""))),
            ]
        ),
    ]


def _named(score: str) -> str:
    return score.replace("_", " ").capitalize().replace("auc", "AUC")


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(_cell, value)) if isinstance(value, list | tuple) else str(value)
