"""The run folder: what was asked, which steps are done, and the files of each.

A step counts as done only when `run.json` says so, and `run.json` is replaced
atomically after the step's files are complete. So a run that was killed at
any moment goes on from its last finished step, and nothing half-written is
ever read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from melascope.errors import DataError, RecipeError, RunError

STEPS = ("data", "pack", "fit", "export", "evaluate", "report")
SCHEMA = 1
OWN_EPOCHS = "recipe_epochs"
"""The setting that has the recipe's own number of epochs, there only where --epochs gave another."""


class AsFound:
    """How a folder was found, so that a command that is refused leaves it so.

    What a refused command left would stand in the way of the corrected one. Ctrl-C and kill leave what is done.

    Args:
        path: The folder, before anything is written there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._missing = [place for place in (self._path, *self._path.parents) if not place.exists()]
        self._ours = bool(self._missing) or (self._path.is_dir() and not any(self._path.iterdir()))

    @contextlib.contextmanager
    def if_refused(self, begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Put the folder back as it was found where what is done in the block is refused; other folders are let be.

        Args:
            begun: Whether the first step is done. It may have taken an hour: from then on, and until an epoch is
                kept, only the refusal of data or a recipe puts the folder back, no failure of disk or machine.
        """
        try:
            yield
        except Exception as error:
            kept = begun() and not isinstance(error, DataError | RecipeError)
            if self._ours and not kept and not any(self._path.rglob("history.csv")):
                self._put_back()
            raise

    def _put_back(self) -> None:
        for path in self._path.iterdir() if self._path.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for place in self._missing:
            with contextlib.suppress(OSError):
                place.rmdir()


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs between two settings, in a line; of recipes, the keys that do. Empty where nothing does."""
    told = []
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key), now.get(key)
        # The recipe has its number of epochs in it; that it is not its own is told, and decides nothing.
        if before == after or key == OWN_EPOCHS:
            continue
        if key == "recipe" and isinstance(before, str) and isinstance(after, str):
            first, second = _flat(_whole(before)), _flat(_whole(after))
            told += [
                f"{name}: {_brief(first.get(name))} then, {_brief(second.get(name))} now"
                for name in sorted(first.keys() | second.keys())
                if first.get(name) != second.get(name) and name != "description" and not name.startswith("expected.")
            ]
        else:
            told.append(f"{key}: {_brief(before)} then, {_brief(after)} now")
    return "; ".join(told)


def _whole(recipe: str) -> dict[str, Any]:
    """Return a recipe with today's defaults, so that one from before a key was known has the same value for it."""
    from melascope.training.recipe import parse

    told = tomllib.loads(recipe)
    try:
        return tomllib.loads(parse(told).dumps())
    except RecipeError:  # of another version, or a file that it names is gone: compared as it stands
        return told


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class RunFolder:
    """A run's folder.

    Attributes:
        path: The folder.
        settings: What was asked for; `--resume` must ask for the same.
        state: `{step: {"seconds": s, ...}}` of the finished steps.
    """

    def __init__(self, path: Path, settings: dict[str, Any], state: dict[str, dict[str, Any]]) -> None:
        self.path = path
        self.settings = settings
        self.state = state

    @classmethod
    def start(cls, path: str | os.PathLike[str], settings: dict[str, Any], resume: bool) -> RunFolder:
        """Begin a run, or go on with one; a run that did not finish its first step is begun anew.

        Raises:
            RunError: When the folder holds a run and `resume` was not asked
                for, holds other files, or holds a run with other settings.
        """
        folder = Path(path)
        record = folder / "run.json"
        existing = cls.open(folder) if record.exists() else None
        if existing is not None and existing.state:
            if not resume:
                raise RunError(
                    f"{folder} already holds a run. Go on with it by --resume, or choose another folder with --out."
                )
            told = changes(existing.settings, settings)
            if told:
                raise RunError(
                    f"{folder} was started with other settings ({told}). Ask for the same, or begin anew with --out."
                )
            return existing
        if folder.is_file():
            raise RunError(f"{folder} is a file; --out needs a folder.")
        if existing is None and folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"{folder} is not empty and holds no run. Choose another folder with --out.")
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, settings, {})
        run._save()
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Open an existing run.

        Raises:
            RunError: When there is none, or its record is damaged.
        """
        folder = Path(path)
        try:
            record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            if record["schema"] != SCHEMA:
                raise RunError(f"{folder} was written by another version of Melascope (schema {record['schema']}).")
            return cls(folder, record["settings"], record["steps"])
        except FileNotFoundError:
            raise RunError(
                f"{folder} holds no run (no run.json). Make one with: melascope run DATA --out {folder}"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{folder}/run.json is damaged. Begin anew in another folder.") from None

    def done(self, step: str) -> bool:
        """Return whether a step is finished."""
        return step in self.state

    def finish(self, step: str, seconds: float, **facts: Any) -> None:
        """Record that a step is finished; its files must be complete and on disk."""
        self.state[step] = {"seconds": round(seconds, 2), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **facts}
        self._save()

    def file(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path / name

    def need(self, name: str) -> Path:
        """Return the path of a file that must exist.

        Raises:
            RunError: When it does not.
        """
        path = self.path / name
        if not path.exists():
            raise RunError(f"{self.path} has no {name}: the run is not finished. Go on with it by --resume.")
        return path

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the folder."""
        return json.loads(self.need(name).read_text(encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        write_text(self.path / name, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))

    def _save(self) -> None:
        self.write_json("run.json", {"schema": SCHEMA, "settings": self.settings, "steps": self.state})


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
