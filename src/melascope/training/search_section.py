"""The section `[search]` of a recipe: which of its values `melascope tune` may change, and within what.

    [search]
    "optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }
    "network.dropout" = { low = 0.0, high = 0.6, step = 0.1 }
    "network.widths" = [[16, 32, 64], [32, 64, 128]]
    "optimiser.momentum" = { low = 0.5, high = 0.95, when = { "optimiser.name" = "sgd" } }

A list holds the choices. Everything is checked before any work starts: each
key, each range, and the corners of the space, so that a recipe which would be
refused after three days of tuning is refused in the first second.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from melascope.errors import RecipeError
from melascope.training import recipe as recipes
from melascope.training.backbone_names import NO_FILES
from melascope.training.recipe import Recipe
from melascope.training.recipe_idle import is_default, sentences
from melascope.training.recipe_sections import nearest
from melascope.training.search_space import Dimension, Space, divides, label

_KEYS = ("low", "high", "log", "step", "choices", "when")
_NOT_SEARCHED = ("expected", "search")
_MOST_CORNERS = 512


def load(name_or_path: str | os.PathLike[str]) -> Space:
    """Return the search space of a recipe.

    Raises:
        RecipeError: When the recipe has no `[search]`, or anything in it is
            unknown, or some corner of it is no possible recipe.
    """
    file = recipes.read(name_or_path)
    spec, where = file.tree.pop("search", None), file.where
    if not spec:
        raise RecipeError(
            f"{where} has no section [search], so there is nothing to tune. Add one, such as: "
            '"optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }'
        )
    if not isinstance(spec, dict):
        raise RecipeError(f"{where}: search must be a section: [search].")
    return parse(spec, recipes.checked(file), where, Path(name_or_path).parent)


def parse(spec: Mapping[str, Any], base: Recipe, where: str = "the recipe", folder: Path | None = None) -> Space:
    """Return the search space that a parsed `[search]` describes; raises RecipeError as `load` does.

    Args:
        spec: The section, with keys such as `network.dropout`.
        base: The recipe that is changed.
        where: The recipe's name for messages.
        folder: From which the files of `network.weights` are counted.
    """
    flat = _flat(spec, where)
    if folder is not None and "network.weights" in flat:
        flat["network.weights"] = _placed(flat["network.weights"], folder)
    dimensions = [_dimension(key, value, f"{where}: [search] {key}") for key, value in flat.items()]
    by_key = {dimension.key: dimension for dimension in dimensions}
    for dimension in dimensions:
        if dimension.when is not None:
            _check_when(dimension, by_key, where)
    # What others depend on is drawn first.
    ordered = sorted(dimensions, key=lambda dimension: dimension.when is not None)
    space = Space(base, tuple(ordered), flat)
    _check_corners(space, where)
    return space


def _flat(spec: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Take both ways of writing a key: "network.dropout" in quotes, and without them, which TOML nests."""
    flat: dict[str, Any] = {}
    for key, value in spec.items():
        if "." not in key and key in Recipe.model_fields and isinstance(value, Mapping) and not set(value) & set(_KEYS):
            flat.update({f"{key}.{name}": below for name, below in value.items()})
        else:
            flat[key] = value
    for key in flat:
        _check_key(key, where)
    return flat


def _check_key(key: str, where: str) -> None:
    section, _, name = key.partition(".")
    known = {
        f"{part}.{field}": None
        for part, kind in Recipe.model_fields.items()
        if part not in _NOT_SEARCHED and isinstance(kind.annotation, type) and issubclass(kind.annotation, BaseModel)
        for field in kind.annotation.model_fields
    }
    if key not in known:
        near = nearest(key, known) or nearest(name or section, {one.split(".")[1] for one in known})
        raise RecipeError(f'{where}: [search] "{key}" is no value of a recipe{near}; write section.key.')


def _placed(given: Any, folder: Path) -> Any:
    """Return choices of files with paths that mean the same from everywhere, as a tuning remembers them."""
    if isinstance(given, Mapping):
        return {name: _placed(value, folder) if name == "choices" else value for name, value in given.items()}
    if not isinstance(given, list):
        return given
    return [
        str((folder / Path(value).expanduser()).resolve())
        if isinstance(value, str) and value not in NO_FILES
        else value
        for value in given
    ]


def _dimension(key: str, given: Any, where: str) -> Dimension:
    if isinstance(given, list):
        given = {"choices": given}
    if not isinstance(given, Mapping):
        raise RecipeError(
            f"{where} = {json.dumps(given)} is neither a range nor choices: write {{ low = .., high = .. }} or a list."
        )
    for name in given:
        if name not in _KEYS:
            raise RecipeError(f'{where}: unknown key "{name}"{nearest(name, _KEYS)}; there are: {", ".join(_KEYS)}.')
    when = _when(given.get("when"), where)
    if "choices" in given:
        if {"low", "high", "log", "step"} & set(given):
            raise RecipeError(f"{where} has both choices and a range; keep one of them.")
        return Dimension(key, choices=_choices(given["choices"], where), when=when)
    missing = [name for name in ("low", "high") if name not in given]
    if missing:
        raise RecipeError(f"{where}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")
    return _range(key, given, when, where)


def _range(key: str, given: Mapping[str, Any], when: tuple[str, frozenset[str]] | None, where: str) -> Dimension:
    numbers = {name: given[name] for name in ("low", "high", "step") if name in given}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise RecipeError(f"{where}: {name} = {json.dumps(value)} is no number.")
    low, high, step, log = given["low"], given["high"], given.get("step"), given.get("log", False)
    if not isinstance(log, bool):
        raise RecipeError(f"{where}: log is true or false.")
    if low >= high:
        raise RecipeError(f"{where}: low = {low:g} is not below high = {high:g}.")
    if log and low <= 0:
        raise RecipeError(f"{where}: log = true counts in factors, so low must be above 0; it is {low:g}.")
    if log and step is not None:
        raise RecipeError(f"{where} has both log and step; keep one of them.")
    if step is not None and (step <= 0 or not divides(step, high - low)):
        raise RecipeError(f"{where}: step = {step:g} does not lead from {low:g} to {high:g}.")
    whole = all(isinstance(value, int) for value in numbers.values()) and not _decimal(key)
    return Dimension(key, float(low), float(high), log, None if step is None else float(step), whole, when=when)


def _choices(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, list) or len(values) < 2:
        raise RecipeError(f"{where}: choices takes a list of two or more values.")
    labels = {label(value): value for value in values}
    if len(labels) < len(values):
        raise RecipeError(f"{where}: choices names a value twice.")
    return labels


def _when(given: Any, where: str) -> tuple[str, frozenset[str]] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or len(given) != 1:
        raise RecipeError(f'{where}: when takes one key and its value, such as {{ "optimiser.name" = "sgd" }}.')
    key, wanted = next(iter(given.items()))
    if isinstance(wanted, Mapping) and len(wanted) == 1:  # written without quotes, which TOML nests
        name, wanted = next(iter(wanted.items()))
        key = f"{key}.{name}"
    return key, frozenset(label(value) for value in (wanted if isinstance(wanted, list) else [wanted]))


def _check_when(dimension: Dimension, known: Mapping[str, Dimension], where: str) -> None:
    assert dimension.when is not None
    key, wanted = dimension.when
    said = f"{where}: [search] {dimension.key}: when"
    if key not in known or known[key].choices is None or known[key].when is not None:
        searched = [name for name, one in known.items() if one.choices is not None and one.when is None]
        near = nearest(key, [name for name in searched if name != dimension.key])
        raise RecipeError(
            f'{said} names "{key}", which is not among the choices searched{near}. '
            f'Add it to [search] with its choices, such as "{key}" = [...].'
        )
    unknown = sorted(wanted - set(known[key].choices or ()))
    if unknown:
        raise RecipeError(
            f'{said}: "{unknown[0]}" is no choice of {key}{nearest(unknown[0], known[key].choices or ())}.'
        )


def _check_corners(space: Space, where: str) -> None:
    idle: dict[str, str] = {}
    effective: set[str] = set()
    for drawn in _corners(space):
        try:
            recipe = space.recipe(drawn)
        except RecipeError as error:
            told = ", ".join(f"{key} = {label(value)}" for key, value in space.values(drawn).items())
            reason = str(error).split(": ", 1)[-1]
            raise RecipeError(f"{where}: [search] leads to a recipe that cannot be ({told}): {reason}") from None
        # A default says nothing of itself: neither that it does something nor that it does nothing.
        meant = [key for key in drawn if not is_default(recipe, key)]
        told_idle = sentences(recipe, meant)
        idle |= told_idle
        effective |= set(meant) - told_idle.keys()
    # What does nothing in some corners only, such as a strength beside a count that may be 0, is no mistake.
    for key in idle.keys() - effective:
        raise RecipeError(f"{where}: [search] {idle[key]}.")


def beginnings(space: Space) -> list[Recipe]:
    """Return recipes of a space, one for each way in which its trainings begin and decide when they are done."""
    found: dict[tuple[Any, ...], Recipe] = {}
    for drawn in _corners(space):
        recipe = space.recipe(drawn)
        s, n = recipe.schedule, recipe.network
        ends = (s.keep, s.monitor, s.kind, s.early_stopping_patience > 0)
        found.setdefault((*ends, n.backbone, n.weights, s.frozen_epochs > 0), recipe)
    return list(found.values())


def _corners(space: Space) -> Iterator[dict[str, Any]]:
    """Yield all corners; of very many, each end of each dimension once and a fixed draw of the rest."""
    ends = [dimension.ends() for dimension in space.dimensions]
    if math.prod(map(len, ends)) <= _MOST_CORNERS:
        corners: Iterator[tuple[Any, ...]] = itertools.product(*ends)
    else:
        draw = random.Random(0)
        turns = (tuple(end[place % len(end)] for end in ends) for place in range(max(map(len, ends))))
        drawn = (tuple(draw.choice(end) for end in ends) for _ in range(_MOST_CORNERS))
        corners = itertools.chain(turns, drawn)
    for corner in corners:
        found: dict[str, Any] = {}
        for dimension, value in zip(space.dimensions, corner, strict=True):
            if dimension.active(found):
                found[dimension.key] = value
        yield found


def _decimal(key: str) -> bool:
    """Whether a key takes decimals, so that a range written 0 to 1 does not mean 0 or 1."""
    section, name = key.split(".", 1)
    kind = Recipe.model_fields[section].annotation
    assert isinstance(kind, type)
    assert issubclass(kind, BaseModel)
    found = set(_types(kind.model_fields[name].annotation))
    return float in found and int not in found


def _types(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _types(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for one in typing.get_args(annotation):
            yield from _types(one)
    else:
        yield annotation
