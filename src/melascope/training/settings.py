"""What decides a run, as plain data that `run.json` keeps; checked before any work."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from melascope.counted import plural
from melascope.datasets import fixed
from melascope.datasets.fixed import FIXED
from melascope.training import checkpoint
from melascope.training import recipe as recipes
from melascope.training.recipe import Recipe
from melascope.training.run_folder import OWN_EPOCHS, RunFolder

PathLike = str | os.PathLike[str]

DEFAULT_RECIPE = "small-cnn"


def resolve(
    *,
    data: PathLike,
    recipe: Recipe | PathLike | None,
    protocol: str,
    images: PathLike | None,
    authority: Sequence[PathLike],
    spellings: Mapping[str, str] | None,
    epochs: int | None,
    limit: int | None,
    seed: int,
    audit: PathLike | None,
    parts: PathLike | None,
    unaudited: bool,
    from_run: PathLike | None,
    begun: bool = False,
) -> dict[str, Any]:
    """Return the settings of a run, JSON-ready; arguments are those of `run`.

    With `begun` the run has taken from `from_run` all that it needs, and this need not be there any more.

    Raises:
        RecipeError: When the recipe is no recipe.
        DataError: When `parts` is no fold file.
        RunError: When `from_run` is no trained run.
    """
    if parts is not None:
        fixed(parts)  # a misspelt file is told before the photographs are read
    chosen = _recipe(recipe, None if begun and recipe is not None else from_run)
    short = shortened(chosen, epochs)
    settings = {
        "data": str(Path(data).resolve()),
        "images": _absolute(images),
        "authority": [str(Path(path).resolve()) for path in authority],
        "spellings": dict(spellings or {}),
        "protocol": protocol,
        "recipe": short.dumps(),
        "limit": limit,
        "seed": seed,
        "audit": _absolute(audit),
        "parts": str(parts) if str(parts) in FIXED else _absolute(parts),
        "unaudited": unaudited,
    }
    # Left out where it is not asked for, so that runs begun by an earlier version can be gone on with.
    if short.schedule.epochs != chosen.schedule.epochs:
        settings[OWN_EPOCHS] = chosen.schedule.epochs
    return settings if from_run is None else {**settings, "from": _absolute(from_run)}


def begun_from(out: PathLike) -> str | None:
    """Return the run that the run in `out` goes on from, as it was begun; None where it goes on from none."""
    if not (Path(out) / "run.json").exists():
        return None
    told = RunFolder.open(out).settings.get("from")
    return None if told is None else str(told)


def continued_recipe(out: PathLike, from_run: PathLike | None) -> Recipe | None:
    """Return the recipe of the run begun in `out`, where it was begun as is asked for now; else None.

    Args:
        out: The run folder.
        from_run: The run that it goes on from, which need not be there any more once the photographs are read.
    """
    if not (Path(out) / "run.json").exists():
        return None
    begun = RunFolder.open(out)
    if begun.settings.get("from") != _absolute(from_run) or (from_run is not None and not begun.done("data")):
        return None
    return recipes.parse(tomllib.loads(begun.settings["recipe"]), str(out))


def shortened(recipe: Recipe, epochs: int | None) -> Recipe:
    """Return a recipe with another number of epochs; warm-up and frozen backbone leave something to train."""
    if epochs is None or epochs == recipe.schedule.epochs:
        return recipe
    changed: dict[str, float] = {"epochs": epochs, "warmup_epochs": min(recipe.schedule.warmup_epochs, epochs / 4)}
    if 0 < recipe.schedule.frozen_epochs < recipe.schedule.epochs:
        # The same share as before, so that a short try fine-tunes too.
        changed["frozen_epochs"] = max(1, recipe.schedule.frozen_epochs * epochs // recipe.schedule.epochs)
    return recipe.replace(schedule=changed)


def of_epochs(own: int | None, recipe: Recipe) -> list[str]:
    """Return what a reader must know where a recipe was given another number of epochs, in a sentence; else nothing.

    Args:
        own: The recipe's own number; None where it was not changed.
        recipe: As it is trained.
    """
    asked = recipe.schedule.epochs
    if own is None or own == asked:
        return []
    most = "at most " if recipe.schedule.early_stopping_patience else ""
    verdict = ": a try, not what the recipe can do" if asked < own else ""
    return [f"Trained for {most}{plural(asked, 'epoch')} instead of the recipe's {own:,} (--epochs){verdict}."]


def _recipe(recipe: Recipe | PathLike | None, from_run: PathLike | None) -> Recipe:
    if isinstance(recipe, Recipe):
        resolved = recipe
    elif from_run is None:
        resolved = recipes.load(recipe or DEFAULT_RECIPE)
    else:
        from melascope.training.continued import refuse_untrained

        before = RunFolder.open(from_run)
        refuse_untrained(before)
        resolved = recipes.load(before.need("recipe.toml") if recipe is None else recipe)
    file = resolved.network.weights_file
    if file is not None and file.suffix == ".npz":
        checkpoint.read(file)
    return resolved


def _absolute(path: PathLike | None) -> str | None:
    return None if path is None else str(Path(path).resolve())
