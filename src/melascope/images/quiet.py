"""Silence for Pillow's warnings, in threads too."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class _Quiet:
    """Silences Pillow's warnings: of damage that ends in an ImageError, or that does not matter.

    `warnings.catch_warnings` is not thread-safe: two threads that leave in
    another order than they entered restore each other's filters. Here the
    first to enter sets the filter and the last to leave takes it away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                # Narrow, so that it harms nobody should another thread restore it by accident.
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._filters.__exit__(None, None, None)


quiet_pillow = _Quiet()
