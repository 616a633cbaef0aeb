"""Tuning: the values of a recipe that a search space leaves open, by Optuna, on several workers, unattended.

A trial is scored by grouped cross-validation on the parts train and tune. The same
call goes on where it was stopped, at any moment and in any way; made twice at
the same time, both share the trials.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from melascope import environment
from melascope.datasets import fixed
from melascope.datasets.fixed import FIXED
from melascope.errors import RecipeError, RunError
from melascope.progress import Progress, silent
from melascope.training import networks, search_section, tuning_data
from melascope.training.cross_validation import refuse_folds
from melascope.training.locks import alone
from melascope.training.run_folder import OWN_EPOCHS, AsFound
from melascope.training.settings import shortened
from melascope.training.tuning_ended import Ended, ended
from melascope.training.tuning_results import Tuning, write
from melascope.training.tuning_storage import DIRECTIONS, HEARTBEAT, RETRIES, Shared, connect, reach, shown, storage_url
from melascope.training.tuning_study import Census
from melascope.training.tuning_worker import DONE, FAULT, MORE, Job

PathLike = str | os.PathLike[str]

_POLL = 0.5
_STOP_SECONDS = 25


def tune(
    data: PathLike,
    out: PathLike,
    recipe: PathLike,
    trials: int = 50,
    workers: int = 1,
    folds: int = 3,
    score: str = "balanced_accuracy",
    storage: str | None = None,
    timeout: float | None = None,
    protocol: str = "clean",
    images: PathLike | None = None,
    authority: Sequence[PathLike] = (),
    spellings: Mapping[str, str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    audit: PathLike | None = None,
    parts: PathLike | None = None,
    unaudited: bool = False,
    heartbeat: int = HEARTBEAT,
    epochs: int | None = None,
    progress: Progress = silent,
    on_trial: Callable[[Ended], None] | None = None,
) -> Tuning:
    """Search the best values for a recipe, and write `best.toml`, `trials.csv` and `report.html`.

    With one worker, equal arguments draw equal values, also when the search
    was stopped in between.

    Args:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table.
        out: The folder of the tuning; a tuning that is there goes on.
        recipe: A recipe with a section `[search]`.
        trials: How many the tuning shall have in all.
        workers: Processes that work on trials side by side; threads are shared out among them.
        folds: Of the cross-validation.
        score: `balanced_accuracy`, `melanoma_auc` or `log_loss`, averaged over the folds.
        storage: Of the study: None for SQLite in the folder, or `postgresql://USER@HOST/DATABASE`.
        timeout: Seconds after which no further trial is begun, counted from the first.
        protocol: `clean` or `as-filed`.
        images: Where the photographs are that a CSV names.
        authority: CSVs with official labels, lesion and patient ids.
        spellings: What unknown labels mean, label to code.
        limit: Use only so many photographs.
        seed: Of the split, the folds, the trainings and what is drawn.
        audit: A folder in which `melascope data audit` has proved these very data.
        parts: A fold file that names the part of each photograph.
        unaudited: Use what the audit refuses.
        heartbeat: Seconds between two signs of life of a trial.
        epochs: Instead of the recipe's.
        progress: Called with the stage and how far it is.
        on_trial: Called with each trial that ends meanwhile, those of other commands too.

    Raises:
        DataError, RecipeError, RunError: Each with one sentence.
    """
    folder, found = Path(out), AsFound(out)
    url = storage_url(storage, folder)
    settings = _settings(
        data, recipe, folds, score, storage, protocol, images, authority, spellings, limit, seed, audit, parts,
        unaudited, epochs,
    )  # fmt: skip
    if folder.is_file():
        raise RunError(f"{folder} is a file; --out needs a folder.")
    tuning_data.refuse_foreign(folder)
    if not url.startswith("sqlite"):
        reach(url)  # a database that is away is told before the photographs are read
    with found.if_refused():
        folder.mkdir(parents=True, exist_ok=True)
        task, shared = _begun(folder, settings, url, heartbeat, progress)
    threads = max(1, environment.threads() // workers)
    job = Job(str(folder.resolve()), url, trials, None, threads, heartbeat, timeout)
    with contextlib.closing(shared):
        already = Census(shared.study).ended
        if already < trials:
            _Workers(job, workers, shared, task.settings, progress, on_trial).run()
        # Fewer may be asked for than there are: none of them is taken away.
        return replace(write(task, shared, max(trials, already)), already=already)


def _begun(
    folder: Path, settings: Mapping[str, Any], url: str, heartbeat: int, progress: Progress
) -> tuple[tuning_data.Task, Shared]:
    """Read the photographs and open the study, unless that is done; one command of several at a time."""
    with alone(folder / ".start.lock"):
        task = tuning_data.start(folder, settings, progress)
        folds, seed = settings["folds"], settings["seed"]
        refuse_folds(search_section.beginnings(task.space), task.labels, task.groups, task.classes, folds, [seed])
        shared = connect(url, task.name, settings["score"], seed, heartbeat)
        unchanged = task.space.start()
        if unchanged is not None and not shared.study.get_trials(deepcopy=False):
            shared.study.enqueue_trial(unchanged)  # the recipe as it stands is tried first
    return task, shared


def _settings(
    data: PathLike,
    recipe: PathLike,
    folds: int,
    score: str,
    storage: str | None,
    protocol: str,
    images: PathLike | None,
    authority: Sequence[PathLike],
    spellings: Mapping[str, str] | None,
    limit: int | None,
    seed: int,
    audit: PathLike | None,
    parts: PathLike | None,
    unaudited: bool,
    epochs: int | None,
) -> dict[str, Any]:
    """Return what decides a tuning, JSON-ready; the recipe and its space are checked before any work."""
    if score not in DIRECTIONS:
        raise RunError(f'There is no score "{score}" to tune for; there are: {", ".join(DIRECTIONS)}.')
    if folds < 2:
        raise RunError(f"{folds} folds are not possible; cross-validation needs 2 or more.")
    space = search_section.load(recipe)
    if len(space.dimensions) == 0:
        raise RecipeError(f"{recipe}: [search] is empty.")
    base = space.base
    if epochs is not None:
        if any(dimension.key == "schedule.epochs" for dimension in space.dimensions):
            raise RecipeError(
                f"{recipe}: [search] has schedule.epochs, which --epochs would fix; leave one of them out."
            )
        base = shortened(base, epochs)
        search_section.parse(space.spec, base, str(recipe))  # its corners, with these epochs
    for one in search_section.beginnings(replace(space, base=base)):
        networks.refuse_untaught(one)
    if parts is not None:
        fixed(parts)
    settings = {
        "data": str(Path(data).resolve()),
        "images": _absolute(images),
        "authority": [str(Path(path).resolve()) for path in authority],
        "spellings": dict(spellings or {}),
        "protocol": protocol,
        "recipe": base.replace().dumps(),
        "search": dict(space.spec),
        "folds": folds,
        "score": score,
        "storage": None if storage is None else shown(storage),
        "limit": limit,
        "seed": seed,
        "audit": _absolute(audit),
        "parts": None if parts is None else str(parts) if str(parts) in FIXED else _absolute(parts),
        "unaudited": unaudited,
    }
    # Left out where it is not asked for, so that a tuning begun by an earlier version can be gone on with.
    return settings if base is space.base else {**settings, OWN_EPOCHS: space.base.schedule.epochs}


def _absolute(path: PathLike | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


class _Workers:
    """The worker processes of one command: started, started again when they die, ended with it."""

    def __init__(
        self,
        job: Job,
        count: int,
        shared: Shared,
        settings: Mapping[str, Any],
        progress: Progress,
        on_trial: Callable[[Ended], None] | None,
    ) -> None:
        self.job, self.shared, self.progress, self.on_trial = job, shared, progress, on_trial
        self.folds, self.score = int(settings["folds"]), str(settings["score"])
        self._told = {trial.number for trial in Census(shared.study).trials if trial.state.is_finished()}
        self.slots: list[subprocess.Popen[str] | None] = [None] * count
        self.over = [False] * count
        self.deaths = 0  # since a trial ended
        self._ended = 0
        self.logs = Path(job.folder) / "logs"
        self._before: int | None = None

    def run(self) -> None:
        """Keep the workers busy until nothing is left to do.

        Raises:
            RunError: When a worker says that the tuning cannot go on, or workers die again and again.
        """
        self.logs.mkdir(exist_ok=True)
        for log in self.logs.glob("worker-*-*.log"):
            if not psutil.pid_exists(int(log.name.split("-")[1])):
                log.unlink(missing_ok=True)  # of a command that was killed
        try:
            while not all(self.over):
                for slot in range(len(self.slots)):
                    if not self.over[slot]:
                        self._look_after(slot)
                self._tell()
                time.sleep(_POLL)
        finally:
            self._end()
        self._tell()

    def _look_after(self, slot: int) -> None:
        process = self.slots[slot]
        code = MORE if process is None else process.poll()
        if code is None:
            return
        if code == DONE:
            self._log(slot).unlink(missing_ok=True)
            self.over[slot] = True
            self._close(slot)
            return
        if code == FAULT:
            raise RunError(self._last_words(slot))
        if code != MORE:
            self.deaths += 1
            # As many may die of one trial each; the next that claims it gives it up, and all go on.
            if self.deaths > (RETRIES + 1) * len(self.slots):
                raise RunError(
                    f"Workers died {self.deaths} times and ended no trial; the last with exit code {code} (see "
                    f"{self._log(slot)}). "
                    "Out of memory? Take fewer --workers or smaller networks, and repeat the command to go on."
                )
        self._close(slot)
        self.slots[slot] = self._start(slot)

    def _start(self, slot: int) -> subprocess.Popen[str]:
        with self._log(slot).open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "melascope.training.tuning_worker"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, text=True,
                start_new_session=True,  # ctrl-C reaches this process only, which then tells its workers
            )  # fmt: skip
        assert process.stdin is not None
        # On stdin, not among the arguments, which every user of the machine can read: there may be a password.
        process.stdin.write(self.job.dumps() + "\n")
        process.stdin.flush()
        return process

    def _end(self) -> None:
        """Close the workers' stdin, upon which they hand back their trials; kill those that do not listen."""
        for slot in range(len(self.slots)):
            self._close(slot)
        end = time.monotonic() + _STOP_SECONDS
        for process in self.slots:
            if process is None:
                continue
            try:
                process.wait(timeout=max(0.1, end - time.monotonic()))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()
        with contextlib.suppress(OSError):
            self.logs.rmdir()  # stays where a log stayed

    def _close(self, slot: int) -> None:
        process = self.slots[slot]
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def _log(self, slot: int) -> Path:
        return self.logs / f"worker-{os.getpid()}-{slot}.log"

    def _last_words(self, slot: int) -> str:
        lines = self._log(slot).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"A worker ended without a word; see {self._log(slot)}."

    def _tell(self) -> None:
        census = Census(self.shared.study)
        if census.ended != self._ended:
            self._ended, self.deaths = census.ended, 0
        whole, done = self.job.trials * self.folds, census.ended * self.folds
        done += sum(len(t.intermediate_values) for t in census.trials if t.state.name == "RUNNING")
        self._settle(census)
        if self._before is None:
            self._before = min(done, whole)  # time left is reckoned from what is done here and now
        for trial in census.trials:
            if self.on_trial is not None and trial.state.is_finished() and trial.number not in self._told:
                self._told.add(trial.number)
                self.on_trial(ended(trial, census, self.score, self.folds))
        self.progress("tuning (folds)", min(done, whole) - self._before, whole - self._before)

    def _settle(self, census: Census) -> None:
        """Tell workers that start later when the time is over, as soon as one of ours has begun a trial."""
        if self.job.timeout is None or self.job.until is not None:
            return
        ours = {process.pid for process in self.slots if process is not None}
        if any(trial.user_attrs.get("worker", {}).get("pid") in ours for trial in census.trials):
            self.job = replace(self.job, until=time.time() + self.job.timeout)
