"""What happens between epochs: judging, checkpoints, the history, early stopping."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from melascope.errors import RunError
from melascope.progress import Progress
from melascope.training import checkpoint
from melascope.training.augmentation import reseed
from melascope.training.fit import HISTORY, logits_only, predict_logits
from melascope.training.metrics import scores
from melascope.training.networks import load_weights, save_weights, weights
from melascope.training.run_folder import write_text
from melascope.training.schedule import Watch, current_rate, phases

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps a training's record, so that it can be resumed after any epoch.

    The order at the end of an epoch matters: best weights first, then the
    checkpoint, then `history.csv`. A kill in between leaves at worst best
    weights of an epoch that will be trained again to the same result.
    """

    def __init__(
        self,
        recipe: Recipe,
        served: Any,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer],
        rows_tune: NDArray[np.integer],
        classes: Sequence[str],
        folder: Path,
        saved: checkpoint.Checkpoints,
        mark: str,
        seed: int,
        steps: int,
        progress: Progress,
        on_epoch: Callable[[dict[str, float]], None] | None,
    ) -> None:
        super().__init__()
        self.recipe, self.served, self.images = recipe, served, images
        self._judged = logits_only(served)
        self.rows_tune, self.tune_labels = np.asarray(rows_tune), np.asarray(labels)[rows_tune]
        self.classes, self.folder, self.saved, self.mark = classes, folder, saved, mark
        self.seed, self.steps, self.progress, self.told = seed, steps, progress, on_epoch
        self.history: list[dict[str, float]] = []
        self.watch = Watch()
        self.stopped = False
        self._epoch = 0
        self._raw: list[tuple[Any, NDArray[Any]]] = []
        self._begun = self._rate = 0.0

    @property
    def best_path(self) -> Path:
        """Where the best weights so far are."""
        return self.saved.folder / "best.npz"

    def restore(self, model: Any, arrays: dict[str, NDArray[Any]], state: dict[str, Any]) -> None:
        """Bring back the state at the end of a checkpoint's epoch; a phase that begins keeps its new optimiser."""
        begins = any(int(state["epoch"]) == phase.first for phase in phases(self.recipe))
        for name, variable in (weights(model) if begins else _variables(model)).items():
            variable.assign(arrays[name])
        self.history = [
            {key: math.nan if value is None else value for key, value in row.items()} for row in state["history"]
        ]
        self.watch = Watch(**state["watch"])
        self.stopped = bool(state["stopped"])
        self._write_history()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._begun = time.perf_counter()
        self._rate = _mean_rate(self.model, self.steps)
        reseed(self.model, self.seed, epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.progress("train", self._epoch * self.steps + batch + 1, self.recipe.schedule.epochs * self.steps)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        done = epoch + 1
        rate = current_rate(self.model)
        logs = logs if logs is not None else {}
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"The loss stopped being a number in epoch {done}. Lower optimiser.learning_rate, "
                "or set optimiser.clip_norm = 1.0; the epoch before can be resumed."
            )
        row: dict[str, float] = {"epoch": done, "learning_rate": self._rate, "loss": logs["cross_entropy"]}
        row |= {name: logs[name] for name in ("accuracy", "balanced_accuracy", "melanoma_auc")}
        raw = self._average()
        row |= self._tune()
        logs.update({name: value for name, value in row.items() if name.startswith("tune_")})
        value = row[self.recipe.schedule.monitor]
        if self.watch.seen(done, value, self.recipe.schedule.monitor) and self.recipe.schedule.keep == "best":
            save_weights(self.served, self.best_path)
        self._raw = raw
        self._unaverage()
        if self.watch.lowers_rate(self.recipe.schedule):
            self.model.optimizer.learning_rate = rate * self.recipe.schedule.plateau_factor
        if any(done == phase.end and phase.frozen for phase in phases(self.recipe)):
            self.watch.stalled = self.watch.stalled_rate = 0  # a frozen backbone that got no further can still learn
        self.stopped = self.watch.stops(self.recipe.schedule) and not self._frozen(done)
        row["seconds"] = round(time.perf_counter() - self._begun, 3)
        # Eight digits, so that a history read back from CSV equals the one in memory.
        self.history.append({name: float(f"{row[name]:.8g}") for name in HISTORY} | {"epoch": done})
        self.saved.save(
            done, {name: _array(variable) for name, variable in _variables(self.model).items()}, self._state(done)
        )
        self._write_history()
        if self.stopped:
            self.model.stop_training = True
        if self.told is not None:
            self.told(dict(self.history[-1]))

    def on_train_end(self, logs: Any = None) -> None:
        self._unaverage()  # Keras ends a fit with the averages in place; a next phase goes on as a resumed one does

    def _unaverage(self) -> None:
        for variable, array in self._raw:
            variable.assign(array)

    def finish(self, model: Any) -> None:
        """Write the weights to keep, then say that training is finished, then drop the checkpoints."""
        if self.recipe.schedule.keep == "best" and self.best_path.exists():
            load_weights(self.served, self.best_path)
            kept = self.watch.best_epoch
        else:
            model.optimizer.finalize_variable_values(model.trainable_variables)
            kept = int(self.history[-1]["epoch"])
        save_weights(self.served, self.folder / "weights.npz")
        record = {"mark": self.mark, "kept_epoch": kept, "epochs": len(self.history), "stopped_early": self.stopped}
        self._write("fit.json", json.dumps(record, indent=1))
        self.saved.clear()

    def _frozen(self, done: int) -> bool:
        return any(done < phase.end and phase.frozen for phase in phases(self.recipe)[:-1])

    def _write(self, name: str, text: str) -> None:
        try:
            write_text(self.folder / name, text)
        except OSError as error:
            raise RunError(f"{self.folder}: {name} could not be written ({error.strerror or error}).") from None

    def _average(self) -> list[tuple[Any, NDArray[Any]]]:
        """Put the averaged weights in place, and return the raw ones."""
        if not self.recipe.optimiser.ema:
            return []
        raw = [(variable, _array(variable)) for variable in self.model.trainable_variables]
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        return raw

    def _tune(self) -> dict[str, float]:
        if len(self.rows_tune) == 0:
            return {name: math.nan for name in HISTORY if name.startswith("tune_")}
        logits = predict_logits(self._judged, self.images, self.rows_tune)
        found = scores(self.tune_labels, logits, self.classes)
        found["loss"] = found.pop("cross_entropy")
        return {f"tune_{name}": value for name, value in found.items()}

    def _state(self, epoch: int) -> dict[str, Any]:
        rows = [{key: None if math.isnan(value) else value for key, value in row.items()} for row in self.history]
        return {
            "epoch": epoch,
            "mark": self.mark,
            "history": rows,
            "watch": self.watch.to_json(),
            "stopped": self.stopped,
        }

    def _write_history(self) -> None:
        lines = [",".join(HISTORY)]
        lines += [
            ",".join(f"{row[name]:.8g}" if not math.isnan(row[name]) else "" for name in HISTORY)
            for row in self.history
        ]
        self._write("history.csv", "\n".join(lines) + "\n")


def _mean_rate(model: Any, steps: int) -> float:
    """Return the mean learning rate of the coming epoch's steps; at the end of a cosine the rate itself is zero."""
    rate = model.optimizer._learning_rate
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return current_rate(model)
    first = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    rates = keras.ops.convert_to_numpy(rate(np.arange(first, first + steps)))
    return float(np.mean(rates))


def _variables(model: Any) -> dict[str, Any]:
    """Name every variable that outlives an epoch: weights by lasting names, the optimiser's by place."""
    named = weights(model)
    named |= {f"optimiser/{place:04d}": variable for place, variable in enumerate(model.optimizer.variables)}
    return named


def _array(variable: Any) -> NDArray[Any]:
    array: NDArray[Any] = np.array(keras.ops.convert_to_numpy(variable))
    return array
