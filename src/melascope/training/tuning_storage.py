"""Where a tuning is kept: an Optuna study in SQLite or PostgreSQL, and a sampler that can be stopped and go on."""

from __future__ import annotations

import math
import sqlite3
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from melascope.errors import MissingExtraError, RunError

try:
    import optuna as optuna
    import sqlalchemy
except ImportError as missing:
    raise MissingExtraError("tune", "Tuning") from missing

from optuna.trial import FrozenTrial, TrialState

HEARTBEAT = 30
"""Seconds between two beats of a trial."""
GRACE = 4
"""After so many beats in silence a trial counts as stopped."""
RETRIES = 10
"""How often a trial that was stopped is tried again, and a worker that died is started again."""
HANDED_BACK = "handed_back"
"""How often a trial was handed back by its worker, which does not count against it."""
LOCK_SECONDS = 60
"""How long SQLite waits for another worker's write; Optuna's own default of 5 s fails under load."""

DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {
    "balanced_accuracy": "maximize",
    "melanoma_auc": "maximize",
    "log_loss": "minimize",
}
"""The scores that can be tuned for, and which way is better."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


def storage_url(given: str | None, folder: Path) -> str:
    """Return the storage's address for SQLAlchemy: SQLite in the folder, or PostgreSQL through pg8000.

    Raises:
        RunError: When it is neither SQLite nor PostgreSQL.
    """
    if given is None:
        return f"sqlite:///{folder.resolve() / 'study.db'}"
    try:
        url = sqlalchemy.make_url(given)
    except sqlalchemy.exc.ArgumentError:
        raise RunError(
            "--storage is no address of a database. Leave it out for SQLite, or give postgresql://USER@HOST/DATABASE."
        ) from None
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return f"sqlite:///{Path(url.database).resolve()}"
    if url.drivername in ("postgres", "postgresql", "postgresql+pg8000"):
        if not url.username or not url.database:
            missing = "user" if not url.username else "database"
            raise RunError(f"--storage {shown(given)} names no {missing}; give postgresql://USER@HOST/DATABASE.")
        return url.set(drivername="postgresql+pg8000").render_as_string(hide_password=False)
    raise RunError(
        f"--storage {shown(given)} is not possible: a tuning is kept in an SQLite file (sqlite:///FILE) or in "
        "PostgreSQL (postgresql://USER@HOST/DATABASE)."
    )


def shown(url: str) -> str:
    """Return a storage's address without its password."""
    return sqlalchemy.make_url(url).render_as_string(hide_password=True)


def reach(url: str) -> None:
    """Raise RunError when the storage cannot be reached."""
    engine = sqlalchemy.create_engine(url)
    try:
        engine.connect().close()
    except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise RunError(f"The storage {shown(url)} cannot be used: {_reason(error)}.") from None
    finally:
        engine.dispose()


def _file(url: str) -> sqlite3.Connection:
    """Open an SQLite file for many processes.

    With a write-ahead log nobody waits for readers, and a commit need not wait
    for the disk: a killed process loses nothing, a power failure at worst the
    last trials, whose folds still lie in their folders.
    """
    connection = sqlite3.connect(str(sqlalchemy.make_url(url).database), timeout=LOCK_SECONDS, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


@dataclass(frozen=True)
class Shared:
    """A study that several processes work on, and the storage that holds it."""

    study: optuna.Study
    storage: optuna.storages.RDBStorage

    def close(self) -> None:
        """Close the connections to the storage."""
        self.storage.remove_session()
        self.storage.engine.dispose()


def connect(url: str, name: str, score: str, seed: int, heartbeat: int = HEARTBEAT) -> Shared:
    """Open the study of a name, or begin it.

    Args:
        url: What `storage_url` returned.
        name: Of the study; two tunings in one database never meet.
        score: A key of `DIRECTIONS`.
        seed: Of what is drawn.
        heartbeat: Seconds between two beats of a trial.

    Raises:
        RunError: When the storage cannot be reached.
    """
    lite = url.startswith("sqlite")
    options: dict[str, Any] = {"creator": lambda: _file(url)} if lite else {"pool_pre_ping": True}
    for attempt in range(5):
        try:
            storage = quietly(
                optuna.storages.RDBStorage,
                url,
                engine_kwargs=options,
                heartbeat_interval=heartbeat,
                grace_period=GRACE * heartbeat,
                heartbeat_stale_trial_callback=again,
            )
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction=DIRECTIONS[score],
                load_if_exists=True,
                sampler=_Repeatable(seed),
                pruner=_BelowMedian(),
            )
            return Shared(study, storage)
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
            # Two workers that make the tables of an empty database at the same moment disturb each other once.
            if attempt == 4:
                raise RunError(f"The storage {shown(url)} cannot be used: {_reason(error)}.") from None
            time.sleep(0.2 * 2**attempt)
    raise AssertionError


class _BelowMedian(optuna.pruners.BasePruner):
    """Gives up a trial whose mean over the folds so far is worse than the median of the complete ones after as many.

    Folds are the steps, and all trials see the same ones. Optuna's own MedianPruner takes the best value that a trial
    ever reported: a lucky first fold would protect it.
    """

    def __init__(self, n_startup_trials: int = 5) -> None:
        self._fewest = n_startup_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        step = trial.last_step
        if step is None or len(complete) < self._fewest:
            return False
        now = trial.intermediate_values[step]
        others = np.array([t.intermediate_values[step] for t in complete if step in t.intermediate_values])
        median = np.nanmedian(others) if np.isfinite(others).any() else math.nan
        if math.isnan(now) or math.isnan(median):
            return math.isnan(now)
        maximised = study.direction == optuna.study.StudyDirection.MAXIMIZE
        return bool(now < median if maximised else now > median)


class _Repeatable(optuna.samplers.BaseSampler):
    """Optuna's TPE, seeded anew for each trial, so that a tuning that was stopped draws what it would have drawn.

    A generator that lived on from trial to trial would begin again with every
    process. The seed of a trial is its place among those that were not tried again.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tpe: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        original = trial.system_attrs.get("failed_trial", trial.number)
        place = sum(
            other.number < original and "failed_trial" not in other.system_attrs
            for other in study.get_trials(deepcopy=False)
        )
        seed = int(np.random.SeedSequence((self._seed, place)).generate_state(1)[0])
        self._tpe = optuna.samplers.TPESampler(seed=seed)
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._tpe.after_trial(study, trial, state, values)


def again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Let the values of a stopped trial wait to be tried again, without the name of the process that is gone."""
    trial.user_attrs = {}
    most = RETRIES + trial.system_attrs.get(HANDED_BACK, 0)
    quietly(optuna.storages.RetryHeartbeatStaleTrialCallback, max_retry=most)(study, trial)


def quietly(call: Any, *arguments: Any, **options: Any) -> Any:
    """Call what Optuna names experimental (the heartbeat), without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        return call(*arguments, **options)


def _reason(error: BaseException) -> str:
    """Return the innermost reason of a failure to reach a database, in one line without statements and passwords."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error)
    details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return str(details.get("M", text)).splitlines()[0].rstrip(".") if text else type(error).__name__
