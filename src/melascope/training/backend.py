"""The training framework: which one, how many threads, and a quiet start.

Thread counts and determinism can only be set before the framework is
imported, so they travel in environment variables. Call `configure` first
thing in a process; every function here that trains does so itself.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from types import ModuleType

from melascope import environment
from melascope.errors import MelascopeWarning, MissingExtraError, RunError

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def started() -> bool:
    """Return whether the training framework was imported in this process."""
    return "keras" in sys.modules


def configure(threads: int | None = None) -> None:
    """Fix threads and determinism of the framework that will be imported.

    With the same number of threads two trainings from one seed are equal bit
    by bit. On TensorFlow determinism costs nothing measurable on a CPU.

    Args:
        threads: How many CPU threads a step may use; None takes MELASCOPE_THREADS
            where it is set, and else leaves the choice to the framework.

    Raises:
        RunError: When the number is not positive, or the framework already
            runs with another one.
    """
    if threads is not None and threads < 1:
        raise RunError(f"{threads} threads are not possible; give 1 or more.")
    if started():
        current = os.environ.get(_THREADS[0]) or str(_cores())
        if threads is not None and current != str(threads):
            raise RunError(
                f"Keras was already imported with {current} threads, so {threads} cannot be set "
                "any more. Call melascope.training.configure(threads) before anything imports Keras."
            )
        return
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if threads is None and os.environ.get("MELASCOPE_THREADS"):
        threads = environment.threads()
    if threads is not None:
        for variable in _THREADS:
            os.environ[variable] = str(threads)


def load(threads: int | None = None) -> ModuleType:
    """Import Keras with its native start-up chatter held back, and return it.

    Raises:
        MissingExtraError: When the extra `train` is not installed.
        RunError: As `configure` does.
    """
    configure(threads)
    if started():
        return sys.modules["keras"]
    try:
        with _QuietStderr():
            import keras
    except ImportError as error:
        raise MissingExtraError("train", "Training") from error
    # Several trainings in one process are no fault; TensorFlow takes them for retracing and warns.
    logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
    module: ModuleType = keras
    return module


def gpus() -> list[str]:
    """Return the names of the GPUs that the framework computes on."""
    try:
        return [str(name) for name in load().distribution.list_devices("gpu")]
    except RuntimeError:  # JAX, where it was installed for the processor alone
        return []


def warn_of_precision(precision: str) -> None:
    """Warn where bfloat16 is asked of a processor that has none and must imitate it: some ten times slower.

    Args:
        precision: Of the recipe: `float32` or `bfloat16`.
    """
    if precision != "bfloat16" or environment.bfloat16() is not False:
        return
    if gpus():
        return
    warnings.warn(
        "This processor does not compute in bfloat16 and imitates it, some ten times slower than float32; "
        'set precision = "float32" in the recipe\'s [schedule].',
        MelascopeWarning,
        stacklevel=3,
    )


def _cores() -> int:
    """Return the cores this process may run on: what the framework takes when nobody says otherwise."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1


class _QuietStderr:
    """Swallow what native code writes to file descriptor 2, unless the import fails."""

    def __enter__(self) -> None:
        sys.stderr.flush()
        self._kept = os.dup(2)
        self._held = tempfile.TemporaryFile()
        os.dup2(self._held.fileno(), 2)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)
        if kind is not None:
            self._held.seek(0)
            os.write(2, self._held.read())
        self._held.close()
