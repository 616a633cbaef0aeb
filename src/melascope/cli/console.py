"""What the commands share: where results and messages go, and how progress looks; which outputs are refused at once."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from melascope.counted import plural
from melascope.progress import Progress

_BETWEEN_EPOCHS = 1.0

messages = Console(stderr=True, highlight=False)
results = Console(highlight=False)


def say(text: str) -> None:
    """Write a message for the person to stderr."""
    messages.print(text, markup=False, soft_wrap=True)


def error(text: str) -> None:
    """Write an error to stderr."""
    messages.print(f"[bold red]Error:[/] {_escape(text)}", soft_wrap=True)


def warn(text: str) -> None:
    """Write a warning to stderr."""
    messages.print(f"[yellow]Note:[/] {_escape(text)}", soft_wrap=True)


def ended(unreadable: int) -> int:
    """Return the exit code of a command that is done, and say how many files could not be read."""
    if unreadable:
        them = "it" if unreadable == 1 else "them"
        warn(f"{plural(unreadable, 'file')} could not be read; melascope data audit names {them}.")
    return 1 if unreadable else 0


def check_file(out: Path | None) -> None:
    """Refuse an --out that cannot become a file, before any work is done for it."""
    if out is not None and not out.absolute().parent.is_dir():
        raise click.UsageError(f"The folder of --out {out} does not exist.")
    if out is not None and out.is_dir():
        raise click.UsageError(f"--out {out} is a folder; name a file in it.")


def check_folder(out: Path | None, option: str = "--out") -> None:
    """Refuse a folder to write that is a file, before any work is done for it."""
    if out is not None and out.exists() and not out.is_dir():
        raise click.UsageError(f"{option} {out} is a file; name a folder.")
    if out is not None:
        problem = _refused(out.absolute())
        if problem is not None:
            raise click.UsageError(f"{option} {out} cannot be written ({problem}); name another folder.")


def _refused(folder: Path) -> str | None:
    """Try to make a folder, leave no trace of that, and return why it cannot be."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    made = []
    try:
        for place in reversed(missing):
            place.mkdir()
            made.append(place)
        return None if os.access(folder, os.W_OK) else "permission denied"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    finally:
        for place in reversed(made):
            place.rmdir()


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Yield a progress callback: bars with time left on a terminal, a line per stage elsewhere."""
    if not messages.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=messages) as bars:
        tasks: dict[str, int] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield show


class Epochs:
    """Writes a line for each epoch of a training: above the bar on a terminal, into the log elsewhere.

    Epochs of less than a second are told one in a second, the first and the last among them.
    """

    def __init__(self) -> None:
        self._said = float("-inf")

    def __call__(self, row: dict[str, float]) -> None:
        """Take a row of the history, with `epochs`, how many there shall be."""
        now = time.monotonic()
        if now - self._said >= _BETWEEN_EPOCHS or row["epoch"] >= row["epochs"]:
            self._said = now
            say(epoch_told(row))


def epoch_told(row: dict[str, float]) -> str:
    """Return an epoch's row of the history in a line; what is not defined is left out."""
    trained = [_score(row, name, "") for name in ("loss", "accuracy")]
    tuned = [_score(row, name, "tune_") for name in ("balanced_accuracy", "melanoma_auc")]
    parts = [", ".join(filter(None, trained)), ", ".join(filter(None, tuned))]
    told = "; tune: ".join(filter(None, parts))
    return f"epoch {row['epoch']:.0f} of {row['epochs']:.0f}: {told} ({_time(row['seconds'])})"


def _score(row: dict[str, float], name: str, part: str) -> str:
    value = row[part + name]
    return "" if math.isnan(value) else f"{name.replace('_', ' ').replace('auc', 'AUC')} {value:.3f}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"


class _Lines:
    """One line when a stage begins, one when it ends, and one a minute between."""

    def __init__(self) -> None:
        self._stage = ""
        self._said = self._began = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._said = stage, now, now
            print(f"{stage} ({total}) ...", file=sys.stderr, flush=True)
        if done >= total > 0 and self._said != float("inf"):
            print(f"{stage}: done in {now - self._began:.0f} s", file=sys.stderr, flush=True)
            self._said = float("inf")
        elif now - self._said >= 60:
            left = (now - self._began) / max(done, 1) * (total - done)
            print(f"{stage}: {done} of {total}, about {left:.0f} s left", file=sys.stderr, flush=True)
            self._said = now
