"""Logging a run to MLflow, for those who keep their experiments there; a null object for everybody else.

A training never waits long for a tracker and never fails by one: what cannot
be sent is kept and tried again a minute later, and at the end. Nothing is sent
anywhere but to the URI; MLflow's own telemetry is switched off. Only numbers,
settings and the files that are named go out, never a photograph.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from melascope.errors import MelascopeError, MelascopeWarning
from melascope.training.run_folder import write_text
from melascope.training.tracking_scores import judged
from melascope.training.tracking_uri import artifacts, check, look, place, reason

# MLflow's limits: characters of a key and of a parameter's value, and what one request may hold.
_KEY, _VALUE, _PARAMS, _METRICS = 250, 6000, 100, 1000
_ANSWER_SECONDS = 20.0
_PAUSE_SECONDS = 60.0
# Every row of a history has it, so a server that knows it for an epoch knows that epoch.
_EACH_EPOCH = "loss"


class Tracker:
    """Takes what a run has to tell, and does nothing with it: the tracker of a run without `--mlflow`.

    Attributes:
        trouble: A sentence about what could not be logged, or None.
        look: A line that says where the run can be looked at: an address or a command; None where nothing is logged.

    Example:
        >>> with tracker(None, run="first try") as log:
        ...     log.epoch({"epoch": 1, "loss": 1.9})
    """

    trouble: str | None = None
    look: str | None = None

    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings, nested or flat; those that were logged before stay as they are."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log a row of the history at its `epoch`; an epoch that was logged before is passed over."""

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Log the finite numbers of nested scores such as those of `metrics.json`, unless they were logged before.

        Lists are passed over, and so is what rests on fewer than ten cases: the page gives no number for it either.
        """

    def file(self, path: str | os.PathLike[str], known: bool = False) -> None:
        """Log a file, such as the report; it must exist until the tracker is closed.

        Args:
            path: Its name is its name there too.
            known: Whether it may have been logged before; it is then passed over where one of its size is there.
        """

    def close(self, failed: bool = False) -> None:
        """Send what is left and end the run; `failed` marks it as one that did not come to its end."""

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=kind is not None)


def tracker(
    uri: str | None,
    run: str,
    experiment: str = "melascope",
    state: str | os.PathLike[str] | None = None,
) -> Tracker:
    """Return where a run logs to: an MLflow server or database, or nowhere for None.

    Args:
        uri: Such as `http://localhost:5000` or `sqlite:///mlflow.db`.
        run: The run's name there.
        experiment: The experiment that it belongs to; made where there is none.
        state: A file that remembers the MLflow run, so that a resumed training goes on with it.

    Raises:
        MelascopeError: Within seconds, when the URI is of no use or does not answer.
        MissingExtraError: When MLflow is not installed.
    """
    if uri is None:
        return Tracker()
    check(uri)
    remembered = None if state is None else Path(state)
    return _answered(uri, lambda client: _Mlflow(client, uri, run, experiment, artifacts(uri), remembered))


class _Mlflow(Tracker):
    """Logs to MLflow."""

    def __init__(self, client: Any, uri: str, run: str, experiment: str, files: str | None, state: Path | None):
        self._client, self._name = client, place(uri)
        self._waiting: list[Callable[[], Any]] = []
        self._not_before = 0.0
        self._known: set[str] = set()
        self._epochs: set[int] = set()
        self._scores: dict[str, float] = {}
        self._closed = False
        self.run_id = self._again(state) or self._begin(run, experiment, files)
        if state is not None:
            state.parent.mkdir(parents=True, exist_ok=True)
            write_text(state, json.dumps({"uri": self._name, "run_id": self.run_id}, indent=1))
        self.look = look(uri, str(client.get_run(self.run_id).info.experiment_id), self.run_id)

    def _again(self, state: Path | None) -> str | None:
        """Return the id of the run that the state file remembers, if it is still there to go on with."""
        from mlflow.exceptions import MlflowException

        try:
            remembered = json.loads(state.read_text(encoding="utf-8")) if state is not None else {}
            uri, run_id = remembered["uri"], str(remembered["run_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if uri != self._name:
            return None
        try:
            found = self._client.get_run(run_id)
            if found.info.lifecycle_stage != "active":
                return None
            self._epochs = {point.step for point in self._client.get_metric_history(run_id, _EACH_EPOCH)}
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if _status(error) != 404:
                raise
            return None
        self._known, self._scores = set(found.data.params), dict(found.data.metrics)
        return run_id

    def _begin(self, run: str, experiment: str, files: str | None) -> str:
        import melascope

        found = self._client.get_experiment_by_name(experiment)
        if found is not None and found.lifecycle_stage != "active":
            raise MelascopeError(
                f'The experiment "{experiment}" was deleted at {self._name}. Restore it there, or name another one.'
            )
        where = found.experiment_id if found else self._client.create_experiment(experiment, files)
        tags = {"mlflow.source.name": "melascope", "melascope.version": melascope.__version__}
        return str(self._client.create_run(where, run_name=run, tags=tags).info.run_id)

    def params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        flat = {_key(key): _short(str(value)) for key, value in _leaves(values, ".")}
        new = [Param(key, value) for key, value in flat.items() if key not in self._known]
        self._known.update(flat)
        for start in range(0, len(new), _PARAMS):
            part = new[start : start + _PARAMS]
            self._send(partial(self._client.log_batch, self.run_id, params=part))

    def epoch(self, row: Mapping[str, Any]) -> None:
        step = int(row["epoch"])
        if step in self._epochs:
            return
        self._epochs.add(step)
        self._numbers({key: value for key, value in row.items() if key != "epoch"}, step)

    def metrics(self, values: Mapping[str, Any]) -> None:
        new = {key: value for key, value in _finite(judged(values)) if self._scores.get(_key(key)) != value}
        self._numbers(new, 0)

    def _numbers(self, values: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(_key(key), value, now, step) for key, value in _finite(values)]
        for start in range(0, len(points), _METRICS):
            part = points[start : start + _METRICS]
            self._send(partial(self._client.log_batch, self.run_id, metrics=part))

    def file(self, path: str | os.PathLike[str], known: bool = False) -> None:
        self._send(partial(self._file, Path(path), known))

    def _file(self, path: Path, known: bool) -> None:
        there = self._client.list_artifacts(self.run_id) if known else ()
        if not any(one.path == path.name and one.file_size == path.stat().st_size for one in there):
            self._client.log_artifact(self.run_id, str(path))

    def close(self, failed: bool = False) -> None:
        if self._closed:
            return
        self._closed, self._not_before = True, 0.0
        self._send(partial(self._client.set_terminated, self.run_id, "FAILED" if failed else "FINISHED"))
        if self._waiting:
            self._tell(f"the server did not come back, and {len(self._waiting)} messages of the run are missing there")

    def _send(self, message: Callable[[], Any]) -> None:
        """Send a message after those that wait; none of them may harm the training."""
        self._waiting.append(message)
        if time.monotonic() < self._not_before:
            return
        while self._waiting:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._waiting[0]()
            except Exception as error:  # whatever a server, a driver or a network can raise
                self._tell(reason(error))
                if not _refused(error):
                    self._not_before = time.monotonic() + _PAUSE_SECONDS
                    return
            self._waiting.pop(0)

    def _tell(self, why: str) -> None:
        first = self.trouble is None
        self.trouble = f"Not everything could be logged to {self._name}: {why}."
        if first:
            warnings.warn(f"{self.trouble} The training goes on.", MelascopeWarning, stacklevel=4)


def _client(uri: str) -> Any:
    """Return MLflow's client; it connects to a database already here."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # MLflow's own patience is four minutes for each message.
    for name, value in (("MAX_RETRIES", 1), ("BACKOFF_FACTOR", 1), ("TIMEOUT", 10)):
        os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", str(value))
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        # The first use of a database tells of each of its many migrations.
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def _answered(uri: str, ask: Callable[[Any], _Mlflow]) -> _Mlflow:
    """Return an answer, or raise when none comes in time: drivers of databases try for minutes."""
    answer: list[_Mlflow] = []
    failed: list[Exception] = []
    too_late = threading.Event()

    def wait() -> None:
        try:
            client = _client(uri)
            if not too_late.is_set():
                answer.append(ask(client))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=wait, daemon=True, name="melascope-mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow's packages say of each other
        thread.start()
        # A new SQLite file takes its time to be laid out, and it was proved to be usable before.
        thread.join(None if urlsplit(uri).scheme.startswith("sqlite") else _ANSWER_SECONDS)
        too_late.set()
    if failed and isinstance(failed[0], MelascopeError):
        raise failed[0]
    if not answer:
        why = reason(failed[0]) if failed else f"no answer within {_ANSWER_SECONDS:.0f} seconds"
        raise MelascopeError(
            f"MLflow cannot be used at {place(uri)} ({why}). Start it, correct the URI, or leave --mlflow out."
        )
    return answer[0]


def _refused(error: Exception) -> bool:
    """Whether the server understood and said no: the same message will not do later either."""
    return isinstance(error, FileNotFoundError) or _status(error) in {*range(400, 500)} - {408, 429}


def _status(error: Exception) -> int:
    return int(getattr(error, "get_http_status_code", lambda: 500)())


def _leaves(tree: Mapping[str, Any], between: str, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, between, f"{key}{between}")
        else:
            yield key, value


def _finite(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in _leaves(values, "/"):
        if isinstance(value, (str, bytes, bool)) or value is None:
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            yield key, number


def _key(name: str) -> str:
    # The characters that every MLflow server takes.
    return re.sub(r"[^\w\-./ ]", "_", name, flags=re.ASCII)[-_KEY:]


def _short(text: str) -> str:
    return text if len(text) <= _VALUE else text[: _VALUE - 1] + "\N{HORIZONTAL ELLIPSIS}"


__all__ = ["Tracker", "tracker"]
