"""Repeated grouped cross-validation of a recipe, resumable after any epoch of any fold."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from melascope import diagnosis, statistics
from melascope.counted import plural
from melascope.errors import DataError, RunError
from melascope.progress import Progress, silent
from melascope.training.fit_input import check_tune

if TYPE_CHECKING:
    import pandas as pd

    from melascope.training.recipe import Recipe

Score = Callable[[NDArray[np.float64], NDArray[np.int64]], float]

_SHOWN = 10
"""More folds than these are not proposed: each is a training."""


@dataclass(frozen=True)
class CrossValidation:
    """What a repeated cross-validation gave.

    Attributes:
        probabilities: `(repeats, n, c)` out-of-fold: each photograph is
            scored by the network that saw nothing of its group.
        folds: `(repeats, n)`: the fold in which each photograph was scored.
        scores: One row per repeat and fold: `seed, fold, n, accuracy,
            balanced_accuracy, melanoma_auc, log_loss`, on the fold's photographs.
    """

    probabilities: NDArray[np.float64]
    folds: NDArray[np.int64]
    scores: pd.DataFrame

    def by_fold(self, score: str) -> NDArray[np.float64]:
        """Return a score as `(repeats, folds)`, such as `statistics.repeated_cv_difference` takes."""
        values = self.scores[score].to_numpy(dtype=float)
        return values.reshape(len(self.folds), -1)


def cross_validate(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    groups: Sequence[str] | NDArray[np.generic],
    classes: Sequence[str],
    folds: int = 5,
    seeds: Sequence[int] = (0,),
    out: str | os.PathLike[str] = "cross-validation",
    progress: Progress | None = None,
    threads: int | None = None,
    on_fold: Callable[[dict[str, float]], None] | None = None,
    assigned: NDArray[np.integer] | None = None,
) -> CrossValidation:
    """Train a recipe once for each fold of each repeat, and score what was left out.

    Folds depend on labels, groups and the seed only, so two recipes with the
    same seeds are scored on the same folds and can be compared in pairs. A
    recipe that decides by its tune part gets the next fold for it; any other
    trains on all folds but one.

    Args:
        recipe: What to train.
        images: `(n, h, w, 3)` uint8 at the recipe's size.
        labels: `(n,)` indices into `classes`.
        groups: `(n,)` names of the groups (lesions, patients) that stay whole.
        classes: Codes of the diagnoses, `c` of them.
        folds: How many.
        seeds: One repeat each: of its folds and of its trainings.
        out: A folder for what is done so far; the same call goes on there.
        progress: Told after each batch, over all folds.
        threads: CPU threads of a step; see `backend.configure`.
        on_fold: Called with each fold's row of the scores.
        assigned: `(repeats, n)`, the folds from 0 on, where they are not to be drawn.

    Returns:
        Probabilities, folds and scores.

    Raises:
        DataError: When the groups are too few for the folds, a seed is repeated, or anything `fit` refuses.
        RunError: When `out` holds the folds of another recipe or other data.
    """
    import pandas as pd

    tell = progress or silent
    truth: NDArray[np.int64] = np.asarray(labels, dtype=np.int64)
    if len(set(seeds)) != len(seeds) or not seeds:
        raise DataError(f"Cross-validation needs distinct seeds, one per repeat; these are {list(seeds)}.")
    if len(groups) != len(labels):
        raise DataError(f"There are {len(labels)} labels but {len(groups)} groups.")
    refuse_folds([recipe], truth, groups, classes, folds, seeds, assigned)
    probabilities = np.full((len(seeds), len(labels), len(classes)), np.nan)
    if assigned is None:
        assigned = np.stack([draw_folds(truth, groups, classes, folds, seed) for seed in seeds])
    rows: list[dict[str, float]] = []
    count = len(seeds) * folds
    for repeat, seed in enumerate(seeds):
        for fold in range(folds):
            place = repeat * folds + fold

            def told(stage: str, done: int, total: int, place: int = place) -> None:
                tell(f"fold {place + 1} of {count}", place * total + done, count * total)

            left_out = np.flatnonzero(assigned[repeat] == fold)
            train, tune = training_rows(recipe, assigned[repeat], fold)
            folder = Path(out) / f"seed-{seed}" / f"fold-{fold}"
            logits = one_training(recipe, images, truth, train, tune, left_out, classes, folder, seed, told, threads)
            p = statistics.softmax(logits)
            probabilities[repeat, left_out] = p
            rows.append({"seed": seed, "fold": fold, "n": len(left_out), **scores_of(p, truth[left_out], classes)})
            if on_fold is not None:
                on_fold(rows[-1])
    return CrossValidation(probabilities, np.asarray(assigned, dtype=np.int64), pd.DataFrame(rows))


def refuse_folds(
    chosen: Sequence[Recipe],
    labels: NDArray[np.int64],
    groups: Sequence[str] | NDArray[np.generic],
    classes: Sequence[str],
    folds: int,
    seeds: Sequence[int],
    given: NDArray[np.integer] | None = None,
    unit: str = "groups",
) -> None:
    """Refuse folds of which some training or some score cannot be, before the first training.

    Args:
        chosen: The recipes.
        labels: `(n,)` indices into `classes`.
        groups: `(n,)` names of what stays whole.
        classes: Codes of the diagnoses.
        folds: How many.
        seeds: One for each repeat.
        given: `(repeats, n)`, where the folds are not drawn.
        unit: What a group is called.

    Raises:
        DataError: With what there is of each diagnosis, and a number of folds that would do.
    """
    count = len({str(group) for group in groups})

    def wrong(k: int) -> str | None:
        if given is None and not 2 <= k <= count:
            return f"there are fewer {unit} than folds" if k > count else "it takes two at least"
        drawn = [draw_folds(labels, groups, classes, k, seed) for seed in seeds] if given is None else given
        found = (_impossible(one, at_seed, labels, classes, k) for at_seed in drawn for one in chosen)
        return next((why for why in found if why), None)

    why = wrong(folds)
    if why is None:
        return
    names = np.array([str(group) for group in groups])
    each = [(code, len(set(names[labels == place]))) for place, code in enumerate(classes)]
    held = f"{count:,} {unit} ({', '.join(f'{n:,} of {diagnosis.name(code)}' for code, n in each if n)})"
    if given is not None:
        raise DataError(f"The fixed folds cannot be used with {held}: {why}.")
    others = (*range(min(folds - 1, _SHOWN), 1, -1), *range(folds + 1, min(count, _SHOWN) + 1))
    better = next((k for k in others if wrong(k) is None), None)
    mend = f"--folds {better} would do" if better else "no number of folds would do; add photographs, or raise --limit"
    raise DataError(f"{held} are too few for {plural(folds, 'fold')}: {why}; {mend}.")


def _impossible(
    recipe: Recipe, assigned: NDArray[np.integer], labels: NDArray[np.int64], classes: Sequence[str], folds: int
) -> str | None:
    """Return why a recipe cannot be trained or scored on some fold; None where it can on all."""
    for fold in range(folds):
        if not (assigned == fold).any():
            return f"fold {fold + 1} would be empty"
        train, tune = training_rows(recipe, assigned, fold)
        if len(np.unique(labels[train])) < 2:
            return f"apart from fold {fold + 1}, fewer than two diagnoses are left to train on"
        try:
            check_tune(recipe, labels[tune], classes)
            if recipe.schedule.kind == "plateau" and not len(tune):
                raise DataError("A plateau is never seen without photographs to see it on.")
        except DataError:
            by = f'for the recipe "{recipe.name}" to decide by {recipe.schedule.monitor} on'
            return (
                f"fold {(fold + 1) % folds + 1} is too small {by}" if folds > 2 else f"of two folds none is left {by}"
            )
    return None


def draw_folds(
    labels: NDArray[np.int64], groups: Sequence[str] | NDArray[np.generic], classes: Sequence[str], k: int, seed: int
) -> NDArray[np.int64]:
    """Return the fold of each photograph, 0 to k - 1: whole groups, stratified; another seed, other folds."""
    import pandas as pd

    from melascope.datasets.split import folds

    names = [str(group) for group in groups]
    table = pd.DataFrame(
        {"diagnosis": np.asarray(classes)[labels], "group": names, "path": [str(i) for i in range(len(names))]}
    )
    return folds(table, k, seed).to_numpy(dtype=np.int64)


def training_rows(
    recipe: Recipe, assigned: NDArray[np.integer], fold: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows to train on and those that the recipe decides by, where it does: the next fold, of three or more.

    Args:
        recipe: What is trained.
        assigned: `(n,)`, the fold of each photograph.
        fold: The one that is left out.
    """
    schedule, folds = recipe.schedule, int(assigned.max()) + 1
    decides = schedule.keep == "best" or schedule.early_stopping_patience or schedule.kind == "plateau"
    held = assigned == fold
    tuned = (assigned == (fold + 1) % folds) & ~held if decides and folds > 2 else np.zeros_like(held)
    return np.flatnonzero(~held & ~tuned), np.flatnonzero(tuned)


def one_training(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    train: NDArray[np.integer],
    tune: NDArray[np.integer],
    test: NDArray[np.integer],
    classes: Sequence[str],
    folder: Path,
    seed: int,
    progress: Progress = silent,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return the logits `(len(test), c)` of a recipe trained on some rows, from the folder's file or by training.

    Raises:
        RunError: When the folder holds a training of another recipe, or of other data.
    """
    from melascope.training import backend, checkpoint, networks
    from melascope.training.fit import fingerprint, fit, predict_logits

    mark = fingerprint(recipe, images, labels, train, tune, classes, seed)
    done = folder / "logits.npz"
    if done.exists():
        found = checkpoint.read(done)
        if found["mark"].tobytes().decode() != mark:
            raise RunError(f"{folder} holds a fold of another recipe or other data. Choose another folder with out.")
        logits: NDArray[np.float32] = found["logits"]
        return logits
    # Each training traces a graph of its own: the framework takes many of them for a mistake, and says so.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    fit(recipe, images, labels, train, tune, classes, folder, seed, resume=True, progress=progress, threads=threads)
    backend.load(threads)
    network = networks.build(recipe, len(classes))
    networks.load_weights(network, folder / "weights.npz")
    logits = predict_logits(network, images, test)
    checkpoint.write(done, {"logits": logits, "mark": np.frombuffer(mark.encode(), dtype=np.uint8)})
    (folder / "weights.npz").unlink()
    del network
    # Keras models sit in reference cycles; fifteen of them would stay until Python happens to look.
    gc.collect()
    return logits


def scores_of(p: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str]) -> Mapping[str, float]:
    """Return accuracy, balanced accuracy, melanoma AUC and log loss of probabilities `(n, c)`; NaN where undefined."""
    predicted = p.argmax(axis=1)
    melanoma = np.isin(np.asarray(classes)[labels], list(diagnosis.GROUPS["melanoma"]))
    mixed = bool(melanoma.any() and not melanoma.all())
    return {
        "accuracy": float(statistics.accuracy(labels, predicted)),
        "balanced_accuracy": float(statistics.balanced_accuracy(labels, predicted)),
        "melanoma_auc": float(statistics.auc(diagnosis.group_risk(p, classes, "melanoma"), melanoma))
        if mixed
        else float("nan"),
        "log_loss": float(statistics.log_loss(p, labels)),
    }
