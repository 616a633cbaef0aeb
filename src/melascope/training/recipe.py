"""Recipes: everything that decides what a training does, as one checked TOML file.

A recipe is refused before any work starts when a key is misspelt, a value is
impossible or a file that it names is missing.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from melascope.errors import RecipeError, RunError, WeightsError
from melascope.training.backbone_names import BACKBONES, NO_FILES
from melascope.training.recipe_sections import (
    OF_CNN,
    Augmentation,
    Balance,
    Data,
    Expected,
    Network,
    Optimiser,
    Schedule,
    Section,
    nearest,
)

if TYPE_CHECKING:
    from melascope.images.geometry import Geometry


class Recipe(Section):
    """A whole training: data, network, augmentation, balance, optimiser, schedule.

    Example:
        >>> load("plain-cnn").schedule.epochs
        20
    """

    name: Annotated[str, Field(min_length=1)] = "unnamed"
    description: str = ""
    data: Data
    network: Network = Network()
    augmentation: Augmentation = Augmentation()
    balance: Balance = Balance()
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    expected: Expected = Expected()
    search: dict[str, Any] = Field(default_factory=dict)
    """What tuning may vary, checked by `melascope.training.search_space`; a training does not look at it."""

    @field_validator("name")
    @classmethod
    def _names_files(cls, value: str) -> str:
        if value in (".", "..") or any(letter in value for letter in "/\\\0"):
            raise ValueError(f'"{value}" names files and folders too, so leave out / and \\')
        return value

    @property
    def geometry(self) -> Geometry:
        """The geometry for packing and serving."""
        from melascope.images.geometry import Geometry

        height, width = self.data.shape
        return Geometry(height, width, self.data.geometry)

    @model_validator(mode="after")
    def _network_fits(self) -> Recipe:
        from melascope.training.networks import feature_side

        side = min(self.data.shape)
        if self.network.backbone is not None and side < BACKBONES[self.network.backbone].smallest:
            raise ValueError(
                f"data.size = {side} is too small for the backbone {self.network.backbone}, which needs "
                f"{BACKBONES[self.network.backbone].smallest} pixels or more"
            )
        if self.schedule.frozen_epochs and self.network.name == "cnn":
            raise ValueError('schedule.frozen_epochs freezes a backbone, but network.name = "cnn" has none')
        if self.network.name == "cnn" and feature_side(self.network, side) < 1:
            raise ValueError(
                f"data.size = {side} is too small for a network of {len(self.network.widths)} stages; "
                "enlarge it, or shorten network.widths"
            )
        return self

    def replace(self, **sections: Mapping[str, Any] | str) -> Recipe:
        """Return a copy with some values changed, checked like a file that extends it.

        Example:
            >>> load("plain-cnn").replace(schedule={"epochs": 3}).schedule.epochs
            3

        Raises:
            RecipeError: As `load` does.
        """
        from melascope.training.recipe_idle import is_default, keys_of

        changed = self.changed(sections)
        # A default says nothing of what was meant: many a caller sets all that could be otherwise.
        _refuse_idle(
            changed, [key for key in keys_of(sections) if not is_default(changed, key)], f'recipe "{self.name}"'
        )
        return changed

    def changed(self, sections: Mapping[str, Mapping[str, Any] | str]) -> Recipe:
        """Return a copy as `replace` does, also where a value that is changed can have no effect."""
        tree = _merged(self.model_dump(mode="json", exclude_none=True), sections)
        return parse(tree, where=f'recipe "{self.name}"')

    def dumps(self) -> str:
        """Return the resolved recipe as TOML; `load` of it gives an equal recipe."""
        tree = self.model_dump(mode="json", exclude_none=True)
        lines = [f"{key} = {_toml(value)}" for key, value in tree.items() if not isinstance(value, dict)]
        for section, values in tree.items():
            if isinstance(values, dict) and values:
                lines += ["", f"[{section}]", *(f"{_key(key)} = {_toml(value)}" for key, value in values.items())]
        return "\n".join(lines) + "\n"


def names() -> tuple[str, ...]:
    """Return the names of the recipes that come with Melascope."""
    folder = resources.files("melascope.training") / "recipes"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load(name_or_path: str | os.PathLike[str]) -> Recipe:
    """Return a recipe by its name, such as `small-cnn`, or from a TOML file.

    A file may start from another recipe with a top-level `extends = "NAME"`.

    Raises:
        RecipeError: When there is no such recipe, or anything in it is
            unknown, impossible, missing or without effect.
    """
    return checked(read(name_or_path))


@dataclass(frozen=True)
class RecipeFile:
    """A recipe as it stands in a file, not yet checked.

    Attributes:
        tree: With what the recipes give that it extends.
        where: What to call it in a message.
        written: What stands in the file itself.
        base: The recipe that it extends, as it stands in the file; empty for none.
        shipped: Whether it comes with Melascope.
        recorded: Whether a run has written it, to remember what it did.
    """

    tree: dict[str, Any]
    where: str
    written: Mapping[str, Any]
    base: Mapping[str, Any] = field(default_factory=dict)
    shipped: bool = False
    recorded: bool = False


def checked(file: RecipeFile) -> Recipe:
    """Return the recipe of a file.

    Raises:
        RecipeError: As `load` does.
    """
    from melascope.training import recipe_idle

    _refuse_other_network(file)
    recipe = parse(file.tree, file.where)
    if file.shipped or file.recorded or recipe_idle.is_written_out(file.written):
        return recipe
    # A recipe that extends none may say for others what is to decide.
    meant = [key for key in recipe_idle.keys_of(file.written) if file.base or key != "schedule.monitor"]
    _refuse_idle(recipe, meant, file.where)
    return recipe


def _refuse_idle(recipe: Recipe, keys: list[str], where: str) -> None:
    from melascope.training.recipe_idle import sentences

    told = sentences(recipe, keys)
    if told:
        raise RecipeError(f"{where}: {'; '.join(told.values())}.")


def parse(tree: Mapping[str, Any], where: str = "the recipe") -> Recipe:
    """Return the recipe that a nested mapping, such as parsed TOML, describes.

    Raises:
        RecipeError: As `load` does.
    """
    try:
        recipe = Recipe.model_validate(dict(tree))
    except ValidationError as error:
        # A key of several types has a complaint for each; the first, for the plainest type, is enough.
        told = {tuple(problem["loc"][:2]): _sentence(problem) for problem in reversed(error.errors())}
        raise RecipeError(f"{where}: {'; '.join(reversed(told.values()))}.") from None
    weights = recipe.network.weights_file
    if weights is not None:
        _check_weights(recipe, weights, where)
    return recipe


def _check_weights(recipe: Recipe, file: Path, where: str) -> None:
    from melascope.training.backbones import refuse_trained

    if not file.is_file():
        raise WeightsError(
            f"{where}: network.weights names {file}, which is not a file. Correct the path or remove it."
        )
    try:
        refuse_trained(recipe.network)
    except (RecipeError, RunError) as error:
        raise RecipeError(f"{where}: {error}") from None


def read(name_or_path: str | os.PathLike[str], seen: tuple[str, ...] = ()) -> RecipeFile:
    """Read a recipe by its name or from a TOML file, with what it extends.

    Args:
        name_or_path: As for `load`.
        seen: The recipes that extend it.

    Raises:
        RecipeError: When there is no such recipe, it is no TOML, or it extends itself.
    """
    text, path = str(name_or_path), Path(name_or_path)
    shipped = text in names()
    if shipped:
        source = (resources.files("melascope.training") / "recipes" / f"{text}.toml").read_bytes()
        path, where = Path(text), f'recipe "{text}"'
    elif path.suffix == ".toml" or path.exists():
        where = str(path)
        try:
            source = path.read_bytes()
        except FileNotFoundError:
            raise RecipeError(f"{path} does not exist. The built-in recipes are: {', '.join(names())}.") from None
        except OSError as error:
            raise RecipeError(f"{path} cannot be read: {error.strerror}.") from None
    else:
        raise RecipeError(
            f'There is no recipe "{text}"{nearest(text, names())}. '
            f"The built-in ones are: {', '.join(names())}; any other is given as the path of a .toml file."
        )
    try:
        tree = tomllib.loads(source.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{where} is not valid TOML: {error}.") from None
    tree.setdefault("name", path.stem)
    network = tree.get("network")
    if isinstance(network, dict) and isinstance(network.get("weights"), str) and network["weights"] not in NO_FILES:
        network["weights"] = str((path.parent / Path(network["weights"]).expanduser()).resolve())
    recorded = not shipped and path.name == "recipe.toml" and (path.parent / "run.json").exists()
    if "extends" not in tree:
        return RecipeFile(tree, where, tree, shipped=shipped, recorded=recorded)
    base = tree.pop("extends")
    if not isinstance(base, str):
        raise RecipeError(f"{where}: extends takes the name or path of one recipe.")
    named = str(path.parent / base) if base.endswith(".toml") and not Path(base).is_absolute() else base
    if named in (*seen, text):
        raise RecipeError(f"{where}: extends = {json.dumps(base)} leads back to itself.")
    try:
        before = read(named, (*seen, text)).tree
    except RecipeError as error:
        if seen or where in str(error):
            raise
        raise RecipeError(f"{where}: extends = {json.dumps(base)}: {error}") from None
    if not shipped:  # what the other says of itself, such as its epochs, need not hold here
        tree.setdefault("description", f"Extends {before['name']}.")
    return RecipeFile(_merged(before, tree), where, {"extends": base, **tree}, before, shipped, recorded)


def _refuse_other_network(file: RecipeFile) -> None:
    """Refuse to build a backbone on a recipe of another network, or the other way round: neither fits the other."""
    before, own = file.base.get("network", {}), file.written.get("network", {})
    if not file.base or not isinstance(before, dict) or not isinstance(own, dict):
        return
    was, extends = before.get("name", "cnn"), f"{file.where}: extends = {json.dumps(file.written['extends'])}"
    if was == "backbone" and own.get("name", was) != was:
        raise RecipeError(
            f"{extends} builds on a backbone, and network.name = {json.dumps(own['name'])} does not. "
            'Write extends = "small-cnn" instead, or leave extends out.'
        )
    given = file.tree.get("network", {})
    shape = [key for key in OF_CNN if key in given and _tuple(given[key]) != Network.model_fields[key].default]
    if was == "cnn" and (own.get("name") == "backbone" or "backbone" in own) and own.get("name") != "cnn" and shape:
        of = own.get("backbone")
        better = {"mobilenetv2-onnx": "mobilenetv2", "resnet50v2-onnx-stages3": "resnet50v2"}.get(str(of))
        raise RecipeError(
            f"{extends} has the shape of the network cnn ({', '.join(shape)}), and a backbone has its own. "
            f'Write extends = "{better or "efficientnetv2"}-finetuned" instead, then [network] and '
            f"backbone = {json.dumps(of or 'EfficientNetV2B0', default=str)}."
        )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    # What a recipe is expected to reach is not what a changed one reaches.
    result = {key: value for key, value in base.items() if key != "expected"}
    for key, value in changes.items():
        below = result.get(key)
        result[key] = {**below, **value} if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def _sentence(problem: Any) -> str:
    # pydantic names the branch of a union too, such as ("size", "int"); the key is enough.
    location = [str(part) for part in problem["loc"]]
    section = Recipe.model_fields[location[0]].annotation if location and location[0] in Recipe.model_fields else None
    fields = (
        section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else Recipe.model_fields
    )
    key = ".".join(location[:2])
    if problem["type"] == "extra_forbidden":
        known = list(fields) + ([] if fields is not Recipe.model_fields else ["extends"])
        hint = nearest(location[-1], known)
        if not hint and fields is not Recipe.model_fields:
            hint = f"; [{location[0]}] knows: {', '.join(known)}"
        return f'unknown key "{key}"{hint}'
    if problem["type"] == "missing":
        return f'"{key}" is missing'
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], dict) else f" = {json.dumps(problem['input'], default=str)}"
    if problem["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}{given} is impossible: {message[:1].lower()}{message[1:]}"


def _key(key: str) -> str:
    # Quoted unless bare: a dot in a bare key would open a table.
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)
