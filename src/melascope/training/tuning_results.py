"""What a tuning found: the best recipe, the table of trials, the report; and how much of it is luck."""

from __future__ import annotations

import json
import math
import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import environment, statistics
from melascope.counted import plural
from melascope.errors import RunError
from melascope.reports.tuning_report import TuningReport, tuning_report
from melascope.spreadsheet import quoted
from melascope.training.experiment import Reading
from melascope.training.run_folder import OWN_EPOCHS, write_text
from melascope.training.settings import of_epochs
from melascope.training.tuning_baselines import baselines
from melascope.training.tuning_data import Task
from melascope.training.tuning_sources import COLUMN, WithinSources
from melascope.training.tuning_storage import DIRECTIONS, Shared, optuna
from melascope.training.tuning_study import Census, state


@dataclass(frozen=True)
class Tuning:
    """A tuning's folder and what it found.

    Attributes:
        path: The folder, with `best.toml`, `trials.csv` and `report.html`.
        trials: A row per trial: `number`, `state`, the score, the values searched, scores by fold, seconds, `error`;
            `melanoma_auc_within_source` where sources are known.
        values: The best trial's values by key, such as `{"network.dropout": 0.3}`.
        score: Name of the score.
        value: The best trial's mean over the folds.
        counts: How many trials are `complete`, `pruned`, `failed`, `running`, `waiting`, `stopped`.
        wanted: How many trials were asked for.
        gain: By how much the best beats the recipe as it stood, paired by fold, or None.
        warnings: Sentences about the data.
        command: What judges the best recipe on Test.
        unreadable: How many photographs could not be read.
        already: How many trials had ended before the command.
        within_source: What the best trial's melanoma AUC is within a source, in a sentence; nothing where it is not
            what was tuned for, or fewer than two sources are known.
    """

    path: Path
    trials: pd.DataFrame
    values: Mapping[str, Any]
    score: str
    value: float
    counts: Mapping[str, int]
    wanted: int
    gain: statistics.Estimate | None
    warnings: tuple[str, ...]
    command: str
    unreadable: int = 0
    already: int = 0
    within_source: tuple[str, ...] = ()

    @property
    def best(self) -> Path:
        """The best recipe, for `melascope run --recipe`."""
        return self.path / "best.toml"

    @property
    def report(self) -> Path:
        """The page to read."""
        return self.path / "report.html"

    def summary(self) -> str:
        """Return the few lines that a person wants to read first."""
        told = ", ".join(f"{key} = {_short(value)}" for key, value in self.values.items())
        lines = []
        if self.already >= self.wanted:
            there = plural(self.already, "trial is", "trials are")
            lines.append(f"{there} there already, and nothing was trained. Ask for more with --trials.")
        lines += [
            f"Best {self.score.replace('_', ' ')}: {self.value:.3f} ({told})",
            *self.within_source,
            optimism(self.score, self.value, self.counts),
        ]
        if self.gain is not None:
            lines.append(gain_sentence(self.gain))
        lines += [f"Recipe: {self.best}", f"Report: {self.report}", f"Judge it on Test: {self.command}"]
        return "\n".join(lines)


def optimism(score: str, value: float, counts: Mapping[str, int]) -> str:
    """Return in words why the winner's score is too good."""
    tried = counts["complete"] + counts["pruned"] + counts["failed"]
    lowest = "lowest" if DIRECTIONS[score] == "minimize" else "highest"
    return (
        f"{plural(tried, 'trial was', 'trials were')} tried, and this one was chosen for having the {lowest} score: "
        f"its cross-validated {score.replace('_', ' ')} of {value:.3f} is therefore optimistic. "
        "Only Test, which stayed closed, tells what the recipe is worth."
    )


def gain_sentence(gain: statistics.Estimate) -> str:
    """Return in words what was gained over the recipe as it stood."""
    if math.isnan(gain.low):
        return f"Against the recipe as it stood: {gain.value:+.3f} in every fold, so that no interval can be given."
    told = (
        f"{gain.value:+.3f} (95 % interval {gain.low:+.3f} to {gain.high:+.3f}, paired by fold, as if this trial had "
        "been named beforehand)"
    )
    clear = gain.low > 0 or gain.high < 0
    verdict = (
        "optimistic, as the winner was chosen: the best of many equal trials often looks as much better"
        if clear
        else "the interval contains zero: no difference shown"
    )
    return f"Against the recipe as it stood: {told}; {verdict}."


def write(task: Task, shared: Shared, wanted: int) -> Tuning:
    """Write `best.toml`, `trials.csv` and `report.html` into the folder, each whole or not at all.

    Raises:
        RunError: When no trial is complete.
    """
    census = Census(shared.study)
    score = task.settings["score"]
    within = WithinSources(task)
    frame = _frame(task, census, within)
    write_text(task.folder / "trials.csv", _csv(frame))
    done = frame[frame["state"] == "complete"]
    if frame.empty:
        raise RunError(
            "No trial was finished in time, nor begun; repeat the command to go on, with a longer --timeout."
        )
    if done.empty:
        errors = frame["error"].dropna()
        told = f" The last one failed: {errors.iloc[-1]}" if len(errors) else ""
        raise RunError(
            f"None of {plural(len(frame), 'trial')} is complete yet; repeat the command to go on, with more "
            f"--trials or a longer --timeout.{told}"
        )
    place = done[score].idxmin() if DIRECTIONS[score] == "minimize" else done[score].idxmax()
    best = census.trials[int(frame.loc[place, "number"])]
    values = task.space.values(best.params)
    counts = {name: getattr(census, name) for name in ("complete", "pruned", "failed", "running", "waiting", "stopped")}
    value = float(frame.loc[place, score])
    gain = _gain(task, census, best)
    pooled = within.known and score == "melanoma_auc"
    beside = (within.sentence(float(frame.loc[place, COLUMN])),) if pooled else ()
    found = Tuning(
        task.folder,
        frame,
        values,
        score,
        value,
        counts,
        wanted,
        gain,
        (*_epochs(task), *task.facts["warnings"]),
        _command(task),
        int(task.facts.get("unreadable", 0)),
        within_source=beside,
    )
    write_text(found.best, _best(task, found, best.params))
    write_text(found.report, tuning_report(_inputs(task, found, shared, _beside(task, census, best))))
    return found


def _frame(task: Task, census: Census, within: WithinSources) -> pd.DataFrame:
    score, rows = task.settings["score"], []
    for trial in census.trials:
        folds = trial.user_attrs.get("folds", {})
        values = task.space.values(trial.params)
        row: dict[str, Any] = {"number": trial.number, "state": state(trial)}
        last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else math.nan
        row[score] = trial.value if trial.value is not None else last
        row["folds_done"] = len(trial.intermediate_values)
        row |= {dimension.key: _cell(values.get(dimension.key)) for dimension in task.space.dimensions}
        for name, found in folds.items():
            row |= {f"{name}_fold_{i}": value for i, value in enumerate(found, start=1)}
        if within.known:
            row[COLUMN] = within.of(trial.params) if folds else math.nan
        row["seconds"] = trial.user_attrs.get("seconds", math.nan)
        row["tried_again_as"] = next(
            (o.number for o in census.trials if (o.system_attrs.get("retry_history") or [None])[-1] == trial.number),
            None,
        )
        row["error"] = trial.user_attrs.get("error")
        rows.append(row)
    if not rows:
        keys = [dimension.key for dimension in task.space.dimensions]
        told = ["number", "state", score, "folds_done", *keys, "seconds", "tried_again_as", "error"]
        return pd.DataFrame(columns=told)
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys(key for row in rows for key in row)))
    return frame.astype({"tried_again_as": "Int64"})


def _csv(frame: pd.DataFrame) -> str:
    safe = frame.map(lambda value: quoted(value) if isinstance(value, str) else value)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(_cell(value))


def _gain(task: Task, census: Census, best: Any) -> statistics.Estimate | None:
    """Return the paired difference to the recipe as it stood, where that was tried and is not the best itself."""
    before = _as_it_stood(task, census)
    if before is None or best.params == before.params:
        return None
    score = task.settings["score"]
    sign = -1 if DIRECTIONS[score] == "minimize" else 1
    difference = np.subtract(best.user_attrs["folds"][score], before.user_attrs["folds"][score])
    most = np.inf if score == "log_loss" else 1.0
    return statistics.repeated_cv_difference(sign * difference, lowest=-most, highest=most)


def _as_it_stood(task: Task, census: Census) -> Any:
    """Return the trial of the recipe as it stood; None where its values lie outside the space or it is not complete."""
    unchanged = task.space.start()
    found = (t for t in census.trials if state(t) == "complete" and t.params == unchanged)
    return None if unchanged is None else next(found, None)


def _beside(task: Task, census: Census, best: Any) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Return the best trial, the recipe as it stood and the baselines, each with its score; None: too few to judge."""
    score = task.settings["score"]
    trials = {"the best trial": best, "the recipe as it stood": _as_it_stood(task, census)}
    found: list[tuple[str, Mapping[str, Any] | None]] = []
    for name, trial in trials.items():
        if trial is not None:
            folds = np.asarray(trial.user_attrs["folds"][score], dtype=float)
            top = math.inf if score == "log_loss" else 1.0
            found.append((name, statistics.repeated_cv_difference(folds, lowest=0.0, highest=top).to_json()))
    found += [(f"baseline: {name}", one["scores"][score]) for name, one in baselines(task).items()]
    few = score in task.facts.get("too_few", ())
    return [(name, None if few else one) for name, one in found]


def _command(task: Task) -> str:
    s = task.settings
    reading = Reading(
        s["data"], s["protocol"], s["images"], s["authority"], s["spellings"], s["limit"], s["seed"], s["audit"],
        s["parts"], s["unaudited"],
    )  # fmt: skip
    # The seed draws the parts: with another one, photographs that chose the recipe would stand in Test.
    words = ["melascope", "run", *reading.words(), "--seed", str(s["seed"])]
    return shlex.join([*words, "--recipe", str(task.folder / "best.toml"), "--out", "RUN"])


def _epochs(task: Task) -> list[str]:
    return of_epochs(task.settings.get(OWN_EPOCHS), task.space.base)


def _best(task: Task, found: Tuning, params: Mapping[str, Any]) -> str:
    base = task.space.base
    recipe = task.space.recipe(params).replace(
        name=f"{base.name}-tuned", description=f"{base.name}, tuned. {optimism(found.score, found.value, found.counts)}"
    )
    head = [
        f"Found by melascope tune on {time.strftime('%Y-%m-%d')}: {found.score} {found.value:.4f}, the mean over "
        f"{task.settings['folds']} folds of {plural(task.facts['photographs'], 'photograph')}.",
        *found.within_source,
        optimism(found.score, found.value, found.counts),
        *_epochs(task),
        f"Judge it:  {found.command}",
    ]
    return "".join(f"# {line}\n" for line in head) + "\n" + recipe.dumps()


def _inputs(
    task: Task, found: Tuning, shared: Shared, beside: Sequence[tuple[str, Mapping[str, Any] | None]]
) -> TuningReport:
    dimensions = task.space.dimensions
    return TuningReport(
        title=f"Tuning of {task.space.base.name} on {Path(task.settings['data']).name}",
        trials=found.trials,
        score=found.score,
        lower_is_better=DIRECTIONS[found.score] == "minimize",
        best=int(found.trials.loc[_row(found), "number"]),
        searched={dimension.key: dimension.told() for dimension in dimensions},
        by_factors=tuple(dimension.key for dimension in dimensions if dimension.log),
        unchanged=None if (start := task.space.start()) is None else task.space.values(start),
        values=found.values,
        beside=beside,
        importance=_importance(shared),
        sentences=(
            optimism(found.score, found.value, found.counts),
            *found.within_source,
            *([gain_sentence(found.gain)] if found.gain is not None else []),
            *_epochs(task),
        ),
        counts=found.counts,
        wanted=found.wanted,
        folds=task.settings["folds"],
        facts=task.facts,
        protocol=task.facts.get("protocol", task.settings["protocol"]),
        recipe=found.best.read_text(encoding="utf-8"),
        command=found.command,
        machine={**environment.describe(), "optuna": optuna.__version__},
    )


def _row(found: Tuning) -> Any:
    done = found.trials[found.trials["state"] == "complete"][found.score]
    return done.idxmin() if DIRECTIONS[found.score] == "minimize" else done.idxmax()


def _importance(shared: Shared) -> dict[str, float]:
    """Return the share of each value in the differences between trials (PED-ANOVA), empty where it cannot be told."""
    trials: Sequence[Any] = shared.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len({trial.value for trial in trials}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(shared.study)
        except (ValueError, RuntimeError):
            return {}
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}
