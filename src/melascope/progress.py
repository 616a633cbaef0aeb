"""How long work tells its caller where it stands."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""`progress(stage, done, total)`; called often, so it must be cheap."""


def silent(stage: str, done: int, total: int) -> None:
    """The null progress: reports nothing."""
