"""Why ours differs from what was published: in words, with the numbers of the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.reproduction_rows import COMPARED, OVERFIT, ROWS, Row, Training, key

Results = Mapping[str, Any]
_LAST = 10
_LEARNT = 1.5
"""A balanced accuracy below so many times that of a guess says that hardly anything is learnt."""

UNPAIRED = (
    "The very same photographs judge both, but what each network said of them was not kept with every seed: so the "
    "difference is unpaired, and its interval wider than need be."
)


def explanation(row: Row, results: Results) -> str:
    """Return why ours differs in a row, as far as the record shows it; empty where nothing explains it."""
    reason = _REASONS.get(row.name)
    return reason(row, results) if reason is not None and results.get(row.ours.name) else ""


def _swings(row: Row, results: Results) -> str:
    """Tell of an accuracy that swings as widely as ours differs; else when ours first has the published one."""
    every = _column(results, row.ours, "tune_accuracy")
    end = row.epoch or row.ours.epochs
    found = {seed: each[end - _LAST : end] for seed, each in every.items()}
    if row.published is None:
        return ""
    if any(min(each) <= row.published <= max(each) for each in found.values()):
        return (
            f"In the last ten epochs the accuracy swings {_each(found, lambda each: _between(min(each), max(each)))}, "
            f"so that the last of them is no more certain than that; {row.published:.3f} lies in between."
        )
    first = {
        seed: 1 + next((at for at, v in enumerate(each) if v >= row.published), -1) for seed, each in every.items()
    }
    late = {seed: epoch for seed, epoch in first.items() if epoch > end}
    if not (row.log and late and len(late) == len(every)):
        return ""
    beside = {seed: " then ".join(_number(value) for value in each[end - 2 : end + 1]) for seed, each in every.items()}
    return (
        f"Ours learns a little later: it first has {row.published:.3f} after epoch {_each(late, str)}. One epoch is not"
        f" like the next: after epochs {end - 1}, {end} and {end + 1} ours has {_each(beside, str)}; the project's own "
        f"accuracies of its last four epochs are {row.log}."
    )


def in_pairs(row: Row, other: Row, results: Results) -> bool:
    """Return whether two rows are compared in pairs with every seed that both have."""
    both = results.get(row.ours.name, {}).keys() & results.get(other.ours.name, {}).keys()
    pairs = results.get(COMPARED, {}).get(key(row.name, other.name))
    return pairs is not None and both <= set(pairs["seeds"])


def collapsed(row: Row, results: Results) -> list[str]:
    """Return the seeds with which a training says one or two diagnoses of every photograph."""
    if _REASONS.get(row.name) is not _collapsed or not results.get(row.ours.name):
        return []
    judged = _last(results, row.ours, "tune_balanced_accuracy")
    chance = {seed: 1 / len(one["classes"]) for seed, one in results[row.ours.name].items()}
    return [seed for seed, value in judged.items() if value < _LEARNT * chance[seed]]


def _collapsed(row: Row, results: Results) -> str:
    """Tell of seeds whose network hardly learns; else how the accuracy swings."""
    fallen = collapsed(row, results)
    if not fallen:
        return _swings(row, results)
    judged = _last(results, row.ours, "tune_balanced_accuracy")
    guess = 1 / len(results[row.ours.name][fallen[0]]["classes"])
    best = {seed: max(each) for seed, each in _column(results, row.ours, "accuracy").items() if seed in fallen}
    last = {seed: judged[seed] for seed in fallen}
    words = (
        f"The network hardly learns: its accuracy in training is never above {_each(best, _number)}, and its balanced "
        f"accuracy in validation {_each(last, _number)} at the end, where a guess has {guess:.3f}: it says "
        "the commonest diagnoses of every photograph. That happens to five convolutions without normalisation at "
        "Adam's usual rate, which is the project's; it sets no seed of the weights."
    )
    others = {seed: judged[seed] for seed in judged if seed not in fallen}
    if not others:
        return f"{words} Other seeds are missing."
    return f"{words} With other seeds it learns: balanced accuracy {_each(others, _number)}."


def _falls_in_training(row: Row, results: Results) -> str:
    before = _last(results, _row(row.below).ours, "accuracy")
    after = _last(results, row.ours, "accuracy")
    both = {seed: (before[seed], after[seed]) for seed in before if seed in after}
    if not both or any(one <= other for one, other in both.values()):
        return ""
    words = (
        f"The accuracy in training falls, as said, {_each(both, lambda pair: _between(*pair))}, since photographs are "
        "changed each time; that in validation is not shown to fall."
    )
    return words if in_pairs(row, _row(row.below), results) else f"{words} {UNPAIRED}"


def _nothing_to_mend(row: Row, results: Results) -> str:
    """Tell of a plain network that does not overfit, so that what is said to help could only make it learn faster."""
    plain = _row(row.above)
    trained, judged = _last(results, plain.ours, "accuracy"), _last(results, plain.ours, "tune_accuracy")
    if not trained or any(trained[seed] - judged[seed] > OVERFIT for seed in trained):
        return ""
    apart = {seed: (trained[seed], judged[seed]) for seed in trained}
    before, after = (_column(results, training, "accuracy") for training in (plain.ours, row.ours))
    early, late = (
        {seed: (_mean(each[ten]), _mean(before[seed][ten])) for seed, each in after.items() if seed in before}
        for ten in (slice(_LAST), slice(-_LAST, None))
    )
    faster = early and all(one > other for one, other in early.values())
    return (
        "By what measure they are positive is not told. Without the two the network does not overfit in so many "
        f"epochs: in training and in validation it has {_each(apart, _both)}, so that augmentation has nothing to mend."
        + (
            f" With them it does learn faster: in training it has, with and without, {_each(early, _both)} on average "
            f"over the first ten epochs, {_each(late, _both)} over the last ten."
            if faster
            else ""
        )
        + ("" if in_pairs(row, plain, results) else f" {UNPAIRED}")
    )


def _seen_in_clean(row: Row, results: Results) -> str:
    raised = all(
        after[seed] > before[seed]
        for column in ("accuracy", "tune_accuracy")
        for before, after in [(_last(results, _row(row.above).ours, column), _last(results, row.ours, column))]
        for seed in before
        if seed in after
    )
    trained = _last(results, row.clean, "accuracy")
    judged = _last(results, row.clean, "tune_accuracy")
    if not trained or any(trained[seed] - judged[seed] <= OVERFIT for seed in trained):
        return ""
    told = [result["told"] for _, result in sorted(results[row.ours.name].items())]
    share = sum(one["photograph_in_train"] / one["validation"] for one in told) / len(told)
    apart = {seed: (trained[seed], judged[seed]) for seed in trained}
    return (
        f"{'Both accuracies rise, as said. It' if raised else 'It'} overfits, too, but that cannot be seen here: "
        f"{100 * share:.0f} % of the photographs that judge are trained on as well, so that what is learnt by heart is "
        f"right there. Under `clean` the same recipe has, in training and in validation, "
        f"{_each(apart, _both)}."
    )


_REASONS: Mapping[str, Callable[[Row, Results], str]] = {
    "pattanaikay-plain": _collapsed,
    "pattanaikay-augmented": _collapsed,
    "pattanaikay-rebalanced": _collapsed,
    "saktisaurav-rebalanced-30": _swings,
    "saktisaurav-rebalanced-36": _swings,
    "batchnorm-augmented": _nothing_to_mend,
    "case-study-augmented": _falls_in_training,
    "case-study-rebalanced": _seen_in_clean,
}


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


def _column(results: Results, training: Training, name: str) -> dict[str, list[float]]:
    """Return a column of the history by seed."""
    return {seed: one["history"][name] for seed, one in sorted(results.get(training.name, {}).items())}


def _last(results: Results, training: Training, name: str) -> dict[str, float]:
    return {seed: each[-1] for seed, each in _column(results, training, name).items()}


def _each(found: Mapping[str, Any], said: Callable[[Any], str]) -> str:
    """Return what is said of each seed, such as `0.522 (seed 0), 0.531 (seed 1)`."""
    return ", ".join(f"{said(value)} (seed {seed})" for seed, value in found.items())


def _number(value: float) -> str:
    return f"{value:.3f}"


def _both(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.3f} and {pair[1]:.3f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _between(one: float, other: float) -> str:
    return f"from {one:.3f} to {other:.3f}"
