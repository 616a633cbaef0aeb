"""A trial that ended, in the words that a person reads while the tuning goes on."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import FrozenTrial

from melascope.training.tuning_storage import DIRECTIONS
from melascope.training.tuning_study import Census, state


@dataclass(frozen=True)
class Ended:
    """A trial that ended, and the best of those that are complete by now.

    Attributes:
        number: Of the trial.
        state: `complete`, `pruned`, `failed` or `stopped`.
        score: Name of the score.
        value: The mean over its folds, of those that were done; None where none was.
        folds_done: How many were.
        folds: Of how many.
        best: The best complete trial's value, None where there is none yet.
        best_number: Its number.
        error: Why it failed.
    """

    number: int
    state: str
    score: str
    value: float | None
    folds_done: int
    folds: int
    best: float | None
    best_number: int | None
    error: str | None = None

    def words(self) -> str:
        """Return it in a line."""
        score = self.score.replace("_", " ").replace("auc", "AUC")
        value = "" if self.value is None else f"{score} {self.value:.3f}"
        best = "" if self.best is None else f"; best so far {self.best:.3f} (trial {self.best_number})"
        if self.state == "complete":
            best = ", the best so far" if self.number == self.best_number else best
            return f"trial {self.number}: {value}{best}"
        if self.state == "pruned":
            return f"trial {self.number}: pruned after {self.folds_done} of {self.folds} folds, {value}{best}"
        if self.state == "failed":
            return f"trial {self.number}: failed{': ' + self.error if self.error else ''}"
        return f"trial {self.number}: stopped before its end; its values are tried again"


def ended(trial: FrozenTrial, census: Census, score: str, folds: int) -> Ended:
    """Return what is told of a trial.

    Args:
        trial: One that is finished.
        census: All trials, by now.
        score: A key of `DIRECTIONS`.
        folds: Of the cross-validation.
    """
    complete = [other for other in census.trials if state(other) == "complete" and other.value is not None]
    sign = -1 if DIRECTIONS[score] == "minimize" else 1
    best = max(complete, key=lambda other: sign * float(other.value or 0.0), default=None)
    done = trial.intermediate_values
    value = trial.value if trial.value is not None else done[max(done)] if done else None
    return Ended(
        trial.number, state(trial), score, value, len(done), folds, None if best is None else best.value,
        None if best is None else best.number, trial.user_attrs.get("error"),
    )  # fmt: skip
