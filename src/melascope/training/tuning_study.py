"""The trials of a tuning: who works on which, which were stopped and are tried again, how many are left.

A trial belongs to a process of a machine, which beats its heart into the
storage. When that process is gone, the trial is marked as stopped and its
values wait to be tried again: at once where the process was of this machine
and can be seen to be dead, else when its heart was silent for `GRACE` beats.

Optuna draws and counts without locks on SQLite, so two workers could take one
waiting trial, or one trial too many; `claim` therefore lets one worker of a
folder at a time choose what it does next.
"""

from __future__ import annotations

import contextlib
import datetime
import platform
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import FrozenTrial, Trial, TrialState

from melascope.training.locks import alone
from melascope.training.tuning_storage import (
    GRACE,
    HANDED_BACK,
    HEARTBEAT,
    LOCK_SECONDS,
    RETRIES,
    Shared,
    again,
    optuna,
    quietly,
)


class Heart:
    """Beats for a trial while it is worked on; a storage that is away for a moment is no reason to stop."""

    def __init__(self, shared: Shared, trial: Trial) -> None:
        self._storage, self._id = shared.storage, trial._trial_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=LOCK_SECONDS)

    def _beat(self) -> None:
        while not self._stop.wait(self._storage.get_heartbeat_interval()):
            with contextlib.suppress(optuna.exceptions.StorageInternalError):
                self._storage.record_heartbeat(self._id)
        self._storage.remove_session()


def claim(shared: Shared, trials: int, folder: Path) -> Trial | None:
    """Return the next trial for this process, or None where as many as wanted are done or under way.

    Args:
        shared: The study.
        trials: How many there shall be.
        folder: Of the tuning; its workers on this machine choose one after the other.
    """
    with alone(folder / ".claim.lock"):
        bury(shared)
        if Census(shared.study).taken >= trials:
            return None
        trial: Trial = quietly(shared.study.ask)
        # The beat before the name: a trial with a name is then never without a heart to listen to.
        shared.storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr("worker", _myself())
        return trial


def bury(shared: Shared) -> None:
    """Mark trials whose process is gone as stopped, and have their values tried again."""
    quietly(optuna.storages.fail_stale_trials, shared.study)
    patience = datetime.timedelta(seconds=GRACE * (shared.storage.get_heartbeat_interval() or HEARTBEAT))
    for trial in shared.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get("worker")
        began = trial.datetime_start or datetime.datetime.min
        nameless = worker is None and datetime.datetime.now() - began > patience
        if nameless or (worker is not None and _dead(worker)):
            retry(shared, trial._trial_id)


def hand_back(shared: Shared, trial_id: int) -> None:
    """Let the values of a trial wait for the next worker, as often as need be: nothing speaks against them."""
    times = shared.storage.get_trial(trial_id).system_attrs.get(HANDED_BACK, 0)
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
        shared.storage.set_trial_system_attr(trial_id, HANDED_BACK, times + 1)
    retry(shared, trial_id)


def retry(shared: Shared, trial_id: int) -> None:
    """Mark a trial as stopped and let its values wait for the next worker."""
    try:
        stopped = shared.storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except optuna.exceptions.UpdateFinishedTrialError:
        return
    if stopped:
        again(shared.study, shared.storage.get_trial(trial_id))


class Census:
    """How the trials of a study stand.

    Attributes:
        complete: Scored on all folds.
        pruned: Given up after some folds.
        failed: Could not be trained; their error is recorded.
        running: Under way.
        waiting: To be tried, or tried again.
        stopped: Of which the process went away; each is tried again.
        trials: All of them, by number.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.trials: Sequence[FrozenTrial] = study.get_trials(deepcopy=False)
        names = [state(trial) for trial in self.trials]
        self.complete, self.pruned, self.failed, self.running, self.waiting, self.stopped = (
            names.count(name) for name in ("complete", "pruned", "failed", "running", "waiting", "stopped")
        )

    @property
    def ended(self) -> int:
        """Trials that are done, with or without success."""
        return self.complete + self.pruned + self.failed

    @property
    def taken(self) -> int:
        """Trials that are done or under way."""
        return self.ended + self.running


def state(trial: FrozenTrial) -> str:
    """Return how a trial stands: a name among the attributes of `Census`."""
    if trial.state == TrialState.FAIL:
        deaths = len(trial.system_attrs.get("retry_history", ())) - trial.system_attrs.get(HANDED_BACK, 0)
        return "failed" if "error" in trial.user_attrs or deaths >= RETRIES else "stopped"
    return {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }[trial.state]


def _myself() -> dict[str, Any]:
    process = psutil.Process()
    return {"machine": _machine(), "pid": process.pid, "since": process.create_time()}


def _machine() -> str:
    """Return what two processes have in common that can see each other: the host, and in a container its pids."""
    with contextlib.suppress(OSError):
        return f"{platform.node()}/{Path('/proc/self/ns/pid').stat().st_ino}"
    return platform.node()


def _dead(worker: Mapping[str, Any]) -> bool:
    """Whether a process of this machine is gone; one of another machine is only known by its heart."""
    if worker.get("machine") != _machine():
        return False
    try:
        process = psutil.Process(int(worker["pid"]))
        return bool(process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - worker["since"]) > 1)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
