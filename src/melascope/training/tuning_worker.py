"""One worker of a tuning: takes a trial, cross-validates its recipe, tells the score, takes the next.

`melascope tune` starts workers as processes of their own (`python -m
melascope.training.tuning_worker`, the job as one line of JSON on stdin) and
keeps their stdin open: when it closes, the command is gone, and the worker
hands its trial back and ends. A process ends after `TRIALS` trials, too, for
the framework never gives all memory back that a network took; the command
then starts the next.

What a trial has done lies in a folder named after its recipe, and
`cross_validate` goes on there after the last finished epoch; so a trial that
was stopped loses one epoch, and a recipe that is drawn again costs nothing.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import hashlib
import json
import math
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melascope import environment
from melascope.errors import DataError, MelascopeError, RecipeError, RunError, SpaceError, WeightsError
from melascope.progress import silent
from melascope.training.locks import alone
from melascope.training.tuning_data import Task, open_task, start
from melascope.training.tuning_storage import DIRECTIONS, HEARTBEAT, Shared, connect, optuna
from melascope.training.tuning_study import Census, Heart, claim, hand_back

TRIALS = 20
"""After so many trials a process makes room for a fresh one."""
MORE, DONE, FAULT, STOPPED = 10, 0, 2, 130
"""Exit codes: to be started again, nothing left, an error that ends the tuning, stopped."""
_PATIENCE = 15
"""Seconds that a stopped worker has for handing back its trial."""
_LEAVING = threading.Event()
_HOPELESS = 5
"""When so many trials ended and each of them failed, the fault is not theirs."""


@dataclass(frozen=True)
class Job:
    """What a worker is told.

    Attributes:
        folder: Of the tuning.
        url: Of the storage.
        trials: How many the study shall have.
        until: No trial is begun after this time (seconds since 1970), None for ever.
        timeout: The same in seconds from the first trial of a worker on, where `until` is not settled yet.
        threads: CPU threads of this worker.
        heartbeat: Seconds between two beats of a trial.
    """

    folder: str
    url: str
    trials: int
    until: float | None = None
    threads: int = 1
    heartbeat: int = HEARTBEAT
    timeout: float | None = None

    def dumps(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps(asdict(self))


def work(job: Job, most: int | None = None) -> bool:
    """Do trials until there are as many as wanted, or the time is over; return whether there may be more to do.

    Args:
        job: What to do.
        most: Return after so many trials.

    Raises:
        RunError, WeightsError, BundleError: When the storage, the photographs or the files of weights cannot be used,
            or every trial fails.
        OSError: When the disk or the way to the storage fails.
    """
    task = open_task(Path(job.folder))
    shared = connect(job.url, task.name, task.settings["score"], task.settings["seed"], job.heartbeat)
    with contextlib.closing(shared):
        return _until_done(job, task, shared, most)


def _until_done(job: Job, task: Task, shared: Shared, most: int | None) -> bool:
    done, until = 0, job.until
    while until is None or time.time() < until:
        if most is not None and done >= most:
            return True
        trial = claim(shared, job.trials, task.folder)
        if until is None and job.timeout is not None:
            until = time.time() + job.timeout
        if trial is None:
            if Census(shared.study).ended >= job.trials:
                return False
            time.sleep(min(1.0, job.heartbeat))  # others are at work; one of them may be killed
            continue
        _attempt(task, shared, trial, job.threads)
        done += 1
        _refuse_hopeless(shared)
    return False


def _attempt(task: Task, shared: Shared, trial: optuna.Trial, threads: int) -> None:
    began = time.monotonic()
    with Heart(shared, trial):
        try:
            value = _score(task, trial, threads)
        except optuna.TrialPruned:
            value = None
        except optuna.exceptions.UpdateFinishedTrialError:
            return  # given up for dead while it was busy, and tried again: what was done lies in its folder
        except (KeyboardInterrupt, optuna.exceptions.StorageInternalError):
            _hand_back(shared, trial)
            raise
        except Exception as error:
            elsewhere = _not_its_own(error, task)
            if elsewhere is not None:
                _hand_back(shared, trial)
                raise elsewhere from None
            trial.set_user_attr("error", f"{error}" if isinstance(error, MelascopeError) else _brief(error))
            _tell(shared, trial, state=optuna.trial.TrialState.FAIL)
            return
    trial.set_user_attr("seconds", round(time.monotonic() - began, 2))
    if value is not None and not math.isfinite(value):
        trial.set_user_attr("error", f"its {task.settings['score']} is no number: the network's outputs are none")
        _tell(shared, trial, state=optuna.trial.TrialState.FAIL)
    elif value is None:
        _tell(shared, trial, state=optuna.trial.TrialState.PRUNED)
    else:
        _tell(shared, trial, values=value)


def _hand_back(shared: Shared, trial: optuna.Trial) -> None:
    _LEAVING.set()
    with contextlib.suppress(optuna.exceptions.StorageInternalError):
        hand_back(shared, trial._trial_id)


def _not_its_own(error: Exception, task: Task) -> Exception | None:
    """Return what ends the tuning where a trial was stopped by data, disk or weights; None where its values are bad.

    Bad values give a recipe that cannot be (photographs too small for its backbone, folds without the score that it
    decides by), one that needs too much memory, or one whose loss stops being a number.
    """
    if not isinstance(error, MelascopeError):
        return error if isinstance(error, OSError) and error.errno != errno.ENOMEM else None
    if isinstance(error, DataError) or "stopped being a number" in str(error):
        return None
    if isinstance(error, RecipeError) and not isinstance(error, WeightsError):
        try:
            start(task.folder, task.settings, silent)  # refuses weights that are gone or others than at the beginning
        except (MelascopeError, OSError) as found:
            return found
        return None
    if isinstance(error, RunError) and str(task.folder / "trials") in str(error):
        return RunError(f"{error} Where files of a trial are damaged, delete its folder: it begins anew.")
    return error


def _tell(shared: Shared, trial: optuna.Trial, **told: Any) -> None:
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError, ValueError):
        shared.study.tell(trial, **told)


def _score(task: Task, trial: optuna.Trial, threads: int) -> float:
    """Return the mean score over the folds; the trial is pruned between them."""
    from melascope.datasets import pack
    from melascope.training.cross_validation import cross_validate

    s = task.settings
    recipe = task.space.recipe(task.space.suggest(trial))
    try:
        packed = pack(task.table, recipe.geometry, environment.cache_folder(), threads=threads)
    except DataError as error:
        if isinstance(error, SpaceError) and _base_fits(task, threads):
            raise
        raise RunError(str(error)) from None  # the disk of the cache, or the photographs: no other values would do
    folder = task.folder / "trials" / trial_name(task, recipe.dumps())
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[float]] = {name: [] for name in (*DIRECTIONS, "accuracy")}

    def told(row: dict[str, float]) -> None:
        for name, values in found.items():
            values.append(round(float(row[name]), 6))
        values = found[s["score"]]
        trial.set_user_attr("folds", found)
        trial.report(float(np.mean(values)), len(values))
        if len(values) < s["folds"] and trial.should_prune():
            raise optuna.TrialPruned

    # Two workers can draw the same recipe; the second finds what the first has done.
    with alone(folder / ".lock"):
        cross_validate(
            recipe, packed.images, task.labels, task.groups, task.classes, folds=s["folds"], seeds=(s["seed"],),
            out=folder, threads=threads, on_fold=told,
        )  # fmt: skip
    return float(np.mean(found[s["score"]]))


def _base_fits(task: Task, threads: int) -> bool:
    """Return whether the photographs can be packed as the recipe as it stood has them; then a trial's are too large."""
    from melascope.datasets import pack

    try:
        pack(task.table, task.space.base.geometry, environment.cache_folder(), threads=threads)
    except DataError:
        return False
    return True


def trial_name(task: Task, recipe: str) -> str:
    """Return the name of a trial's folder."""
    return hashlib.sha256(f"{task.mark}{recipe}".encode()).hexdigest()[:16]


def _refuse_hopeless(shared: Shared) -> None:
    census = Census(shared.study)
    if census.failed >= _HOPELESS and not census.complete and not census.pruned:
        told = (str(trial.user_attrs["error"]) for trial in reversed(census.trials) if "error" in trial.user_attrs)
        last = next(told, "its worker was killed each time. Out of memory? Take smaller networks")
        raise RunError(f"The first {census.failed} trials failed, each of them; the last: {last}")


def _brief(error: Exception) -> str:
    """Return an error of the framework in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def main() -> int:
    """Read the job from stdin and do it."""
    job = Job(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    try:
        return MORE if work(job, TRIALS) else DONE
    except KeyboardInterrupt:
        _LEAVING.set()
        return STOPPED
    except MelascopeError as error:
        sys.stderr.write(f"{error}\n")  # this worker's log, where the command finds it
        return FAULT
    except OSError as error:
        if isinstance(error, ConnectionError | TimeoutError):
            raise  # of the storage; the next worker connects anew
        what = f"{error.filename} cannot be used" if error.filename else "A file cannot be used"
        sys.stderr.write(f"{what} ({error.strerror or error}); make room or give access, and repeat the command.\n")
        return FAULT


def _end_with_the_command() -> None:
    while sys.stdin.readline():
        pass
    end = time.monotonic() + _PATIENCE
    # Again and again: an interrupt that falls into a destructor is swallowed by Python.
    while time.monotonic() < end and not _LEAVING.wait(1):
        _thread.interrupt_main()
    if _LEAVING.is_set():
        time.sleep(_PATIENCE)
    os._exit(STOPPED)  # the main thread sits in native code; the trial is found dead and tried again


if __name__ == "__main__":
    sys.exit(main())
