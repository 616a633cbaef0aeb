"""Training a recipe on packed photographs: repeatable, resumable, watched.

Two trainings of one recipe, seed, data and thread count are equal bit by bit,
also when one of them was killed after any epoch and resumed. That holds
because nothing random outlives an epoch: the order of photographs, dropout
and augmentation are drawn from (seed, epoch), and all else (weights,
optimiser, averages, what the tune part said so far) is in the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from melascope.errors import RunError, WeightsError
from melascope.progress import Progress, silent
from melascope.training import backend
from melascope.training.fit_input import check, check_targets, check_tune

if TYPE_CHECKING:
    import pandas as pd

    from melascope.training.batches import TrainBatches
    from melascope.training.recipe import Recipe
    from melascope.training.warm_start import WarmStart

HISTORY = (
    "epoch", "seconds", "learning_rate",
    "loss", "accuracy", "balanced_accuracy", "melanoma_auc",
    "tune_loss", "tune_accuracy", "tune_balanced_accuracy", "tune_melanoma_auc",
)  # fmt: skip
"""Columns of `history.csv`. `loss` and `tune_loss` are the mean cross-entropy, without penalties and class weights."""


def fit(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    rows_train: NDArray[np.integer],
    rows_tune: NDArray[np.integer],
    classes: Sequence[str],
    out: str | os.PathLike[str],
    seed: int = 0,
    resume: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
    tensorboard: bool = False,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    warm: WarmStart | None = None,
    targets: NDArray[np.float32] | None = None,
) -> pd.DataFrame:
    """Train a recipe and write `weights.npz` and `history.csv` into a folder.

    Sets the global seeds of Python, numpy and the framework.

    Args:
        recipe: What to train, and how.
        images: `(n, h, w, 3)` uint8 at the recipe's size, such as a packed memory map.
        labels: `(n,)` indices into `classes`.
        rows_train: Rows that are fitted.
        rows_tune: Rows that choose the epoch, stop early and lower the rate; may
            be empty when the recipe keeps the last epoch (a plateau then never comes).
        classes: Codes of the diagnoses, `c` of them.
        out: The folder.
        seed: Of weights, order, dropout and augmentation.
        resume: Go on after the last finished epoch found in `out`; return at
            once when training was finished.
        progress: Told after each batch, over all epochs.
        threads: CPU threads of a step; see `backend.configure`.
        tensorboard: Also write TensorBoard events into `out/tensorboard`.
        on_epoch: Called with each epoch's row of the history.
        warm: Weights to begin with, as far as they fit.
        targets: `(n, c)` shares of classes that are taught in place of the labels, such as what other networks said of
            the photographs; labels still decide how often each is shown, and score.

    Returns:
        The history: one row per epoch with the columns of `HISTORY`.

    Raises:
        DataError: When the arrays do not fit the recipe or each other.
        RunError: When `out` holds another training, or cannot be written, or
            the loss stops being a number.
    """
    import pandas as pd

    check(recipe, images, labels, rows_train, rows_tune, classes)
    check_tune(recipe, np.asarray(labels)[rows_tune], classes)
    check_targets(targets, rows_train, (len(images), len(classes)))
    folder = Path(out)
    keras = backend.load(threads)
    backend.warn_of_precision(recipe.schedule.precision)
    from melascope.training import checkpoint, networks, schedule
    from melascope.training.callbacks import Epochs

    mark = fingerprint(
        recipe, images, labels, rows_train, rows_tune, classes, seed, warm.digest if warm else "", targets
    )
    saved = checkpoint.Checkpoints(folder / "checkpoints")
    found = _finished(folder, mark, resume)
    if found is not None:
        return found
    before = saved.latest() if resume else None
    if before is not None and before[1]["mark"] != mark:
        raise RunError(f"{folder} holds a training of another recipe, seed or data. Begin anew in another folder.")
    if before is None:
        if not resume and saved.latest() is not None:
            raise RunError(f"{folder} already holds a training. Resume it, or choose another folder.")
        saved.clear()

    if warm is None:
        networks.refuse_untaught(recipe)
    start = 0 if before is None else int(before[1]["epoch"])
    trained, served, batches = assemble(recipe, images, labels, rows_train, classes, seed, start, targets)
    watcher = Epochs(
        recipe, served, images, labels, rows_tune, classes, folder, saved, mark, seed,
        batches.steps, progress or silent, on_epoch,
    )  # fmt: skip
    if before is not None:
        watcher.restore(trained, *before)
    elif warm is not None:
        warm.into(served)
    callbacks = [watcher]
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False))
    for phase in schedule.phases(recipe):
        if watcher.stopped or phase.end <= start:
            continue
        if phase.first > start:
            start = phase.first
            batches = _begin(recipe, trained, images, labels, rows_train, classes, seed, start, targets)
        trained.fit(
            batches,
            steps_per_epoch=batches.steps,
            initial_epoch=start,
            epochs=phase.end,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
    watcher.finish(trained)
    return pd.DataFrame(watcher.history, columns=list(HISTORY))


def assemble(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    rows_train: NDArray[np.integer],
    classes: Sequence[str],
    seed: int = 0,
    start: int = 0,
    targets: NDArray[np.float32] | None = None,
) -> tuple[Any, Any, TrainBatches]:
    """Return (compiled model to train, model to serve, its endless batches from epoch `start` on).

    The parts of a training, for those who want a loop of their own; `fit`
    is what keeps records.
    """
    keras = backend.load()
    from melascope.training import networks

    keras.utils.set_random_seed(seed % 2**32)
    trained, served = networks.build_for_training(recipe, len(classes))
    return trained, served, _begin(recipe, trained, images, labels, rows_train, classes, seed, start, targets)


def _begin(
    recipe: Recipe,
    trained: Any,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    rows_train: NDArray[np.integer],
    classes: Sequence[str],
    seed: int,
    start: int,
    targets: NDArray[np.float32] | None,
) -> TrainBatches:
    """Compile a model for the phase in which an epoch lies, and return the batches from that epoch on."""
    from melascope.training import backbones, balancing, losses, schedule
    from melascope.training.batches import TrainBatches
    from melascope.training.metrics import Scores

    weights, settings = None, recipe.augmentation
    if recipe.balance.class_weights == "balanced":
        weights = balancing.class_weights(np.asarray(labels)[rows_train], len(classes), recipe.balance.sampling)
    batches = TrainBatches(
        images, labels, rows_train, recipe.data.batch_size, seed, start, recipe.balance.sampling, weights,
        settings.mixup, settings.cutmix, len(classes), targets,
    )  # fmt: skip
    phases = schedule.phases(recipe)
    phase = next((phase for phase in phases if start < phase.end), phases[-1])
    backbones.freeze(trained, recipe, phase.frozen)
    trained.compile(
        schedule.optimiser(recipe, batches.steps, phase),
        losses.loss(recipe, len(classes), targets is not None),
        metrics=[Scores(classes)],
    )
    trained.optimizer.build(trained.trainable_variables)
    return batches


def predict_logits(
    model: Any, images: NDArray[np.uint8], rows: NDArray[np.integer], batch_size: int = 64
) -> NDArray[np.float32]:
    """Return the logits `(len(rows), c)` float32 of a served network for some rows.

    Args:
        model: What `networks.build` or `logits_only` returned.
        images: `(n, h, w, 3)` uint8.
        rows: Rows of `images`.
        batch_size: Photographs in a step.
    """
    from melascope.training.batches import PlainBatches

    if isinstance(model.output, dict):
        model = logits_only(model)
    return np.asarray(model.predict(PlainBatches(images, rows, batch_size), verbose=0), dtype=np.float32)


def logits_only(model: Any) -> Any:
    """Return the part of a served network that gives logits; `predict_logits` then traces it only once."""
    keras = backend.load()
    inner = keras.Model(model.inputs, model.output["logits"])
    inner.compile()
    return inner


def fingerprint(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    rows_train: NDArray[np.integer],
    rows_tune: NDArray[np.integer],
    classes: Sequence[str],
    seed: int,
    warm: str = "",
    targets: NDArray[np.float32] | None = None,
) -> str:
    """Return a digest of all that decides a training; 64 photographs stand for all pixels."""
    digest = hashlib.sha256()
    told = recipe.model_dump(mode="json", exclude={"name", "description", "expected", "search"})
    for key, absent in (("views", 1), ("colour_constancy", False)):
        if told["network"][key] == absent:
            del told["network"][key]  # so that trainings from before there was such a key can go on
    if (file := recipe.network.weights_file) is not None:
        told["network"]["weights"] = _content(file)
    digest.update(json.dumps([told, list(classes), seed, images.shape], sort_keys=True).encode())
    digest.update(warm.encode())
    for part in (labels, rows_train, rows_tune):
        digest.update(np.ascontiguousarray(part, dtype=np.int64).tobytes())
    if targets is not None:
        digest.update(np.ascontiguousarray(targets, dtype=np.float32).tobytes())
    for row in np.linspace(0, len(images) - 1, min(64, len(images))).astype(int):
        digest.update(np.ascontiguousarray(images[row]).tobytes())
    return digest.hexdigest()


def _content(file: Path) -> str:
    """Return the sha256 of the file of `network.weights`: the same name may hold other weights another day."""
    try:
        with file.open("rb") as weights:
            return hashlib.file_digest(weights, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"network.weights: {file} cannot be read ({error.strerror}).") from None


def _finished(folder: Path, mark: str, resume: bool) -> pd.DataFrame | None:
    """Return the history of a training that was finished in this folder."""
    import pandas as pd

    record = folder / "fit.json"
    if not record.exists():
        return None
    if not resume:
        raise RunError(f"{folder} already holds a finished training. Choose another folder, or resume to use it.")
    try:
        same = json.loads(record.read_text(encoding="utf-8"))["mark"] == mark
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{record} is damaged. Begin anew in another folder.") from None
    if not same:
        raise RunError(f"{folder} holds a training of another recipe, seed or data. Begin anew in another folder.")
    return pd.read_csv(folder / "history.csv")
