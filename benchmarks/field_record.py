"""What each fold of the field's cross-validation gave, kept in a file so that any machine goes on."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reproduction_rows import ROWS, Design, Training, cost
from melascope.datasets import origins
from melascope.errors import RunError
from melascope.training import recipe as recipes
from melascope.training.experiment import Material
from melascope.training.recipe import Recipe
from melascope.training.run_folder import write_text

OURS = ("small-cnn", "mobilenetv2-finetuned", "champion")
"""The default; the one for a set of this size; that of the shipped model, made for six times as many photographs."""
WITHIN = "melanoma_auc_within"
OLD = "melanoma_auc_old"
SCORES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "melanoma_auc": "melanoma AUC",
    WITHIN: "the same outside HAM10000",
    OLD: "the same among its old numbers",
}
COPIED = "+copies"
"""Ends the name of a recipe on rebalanced data, with the mode where it is not the usual one."""
SCHEMA = 1
HAM10000 = "HAM10000"
_TELL_NOTHING = {"name", "description", "expected", "search"}  # of what a training does


def field_recipes(precision: str, weights: Path | None) -> dict[str, Recipe]:
    """Return the recipes that are to be compared, by name: ours, those without copies, those with; each cheapest first.

    Of a recipe on rebalanced data the name tells it, such as `plain-augmented+copies`; see `copying`.

    Args:
        precision: Of the published ones; ours are trained as they are.
        weights: Of our pretrained networks; without them these are left out.

    Raises:
        RecipeError: When the weights are no file.
    """
    chosen = {"small-cnn": recipes.load("small-cnn")}
    if weights is not None:
        chosen |= {name: recipes.load(name).replace(network={"weights": str(weights.resolve())}) for name in OURS[1:]}
    for training in sorted((row.clean for row in ROWS), key=lambda one: (one.design.copies != "none", cost(one))):
        name = in_field(training)
        chosen.setdefault(name, training.resolved(precision).model_copy(update={"name": name}))
    return chosen


def in_field(training: Training) -> str:
    """Return what a training under `clean` is called here, where it is no more told by its design and epochs."""
    name, design = training.name.partition(".")[0], training.design
    if design.copies == "none":
        return name
    return f"{name}{COPIED}{'' if design.mode == 'add' else f'-{design.mode}'}"


def copying(name: str) -> Design | None:
    """Return how copies are made for a recipe of this name, or None where none are."""
    _, copied, mode = name.partition(COPIED)
    return Design("clean", "group", "after", mode.removeprefix("-") or "add") if copied else None


def portable(recipe: Recipe) -> Recipe:
    """Return a recipe whose weights are named by their file alone: where that lies is one machine's affair."""
    file = recipe.network.weights_file
    if file is None:
        return recipe
    # Not by `replace`, which asks for the file.
    return recipe.model_copy(update={"network": recipe.network.model_copy(update={"weights": file.name})})


class Record:
    """The rows of all finished trainings of one division of one set, in a file that several processes may write.

    Args:
        path: The file.
        begun: What it holds before anything is trained: `schema`, `data`, `folds`, `recipes` (by name: `toml`,
            `weights` and `by_fold`), `baselines` (by name, the rows of their folds).
    """

    def __init__(self, path: Path, begun: dict[str, Any]) -> None:
        self.path, self._begun = path, begun

    @classmethod
    def open(cls, path: Path, material: Material, folds: int) -> Record:
        """Return the record in a file, or a new one.

        Raises:
            RunError: When the file holds other photographs or another number of folds.
        """
        facts = material.facts
        kept = ("protocol", "audited", "grouped", "photographs", "groups", "lesions", "closed", "limited")
        data = {
            **{key: facts[key] for key in kept},
            "of_ham10000": int((origins(material.table) == HAM10000).sum()),
            "digest": _digest(material.table),
        }
        begun = {"schema": SCHEMA, "data": data, "folds": folds, "recipes": {}, "baselines": {}}
        if path.exists():
            there = read(path)
            changed = [key for key in ("schema", "data", "folds") if there.get(key) != begun[key]]
            if changed:
                told = "; ".join(f"{key}: {there.get(key)} there, {begun[key]} now" for key in changed)
                raise RunError(f"{path} is of another cross-validation ({told}). Choose another file with --write.")
        return cls(path, begun)

    @property
    def content(self) -> dict[str, Any]:
        """What the file holds now."""
        return read(self.path) if self.path.exists() else copy.deepcopy(self._begun)

    def changed(self, chosen: Mapping[str, Recipe]) -> list[str]:
        """Return the names of recipes that are no more what their rows were trained by."""
        kept = self.content["recipes"]
        return [name for name, one in chosen.items() if name in kept and not same(kept[name], one)]

    def has(self, name: str, recipe: Recipe, seed: int, fold: int) -> bool:
        """Return whether a training of a recipe as it is now is done."""
        kept = self.content["recipes"].get(name)
        return kept is not None and same(kept, recipe) and (seed, fold) in map(_place, kept["by_fold"])

    def row(self, name: str, seed: int, fold: int) -> dict[str, Any] | None:
        """Return the row of a training, or None where it is not done."""
        rows = self.content["recipes"].get(name, {}).get("by_fold", ())
        return next((dict(row) for row in rows if _place(row) == (seed, fold)), None)

    def add(self, name: str, recipe: Recipe, row: Mapping[str, Any]) -> None:
        """Add a finished training; rows of the recipe as it was before, if there are any, are set aside."""
        plain = {key: None if value != value else value for key, value in row.items()}

        def change(content: dict[str, Any]) -> None:
            kept = content["recipes"].get(name)
            if kept is not None and not same(kept, recipe):
                content.setdefault("set_aside", []).append({"name": name, **kept})
                kept = None
            if kept is None:
                kept = {"toml": portable(recipe).dumps(), "weights": _weights(recipe), "by_fold": []}
                content["recipes"][name] = kept
            kept["by_fold"] = _merged(kept["by_fold"], [plain])

        self._update(change)

    def add_baselines(self, found: Mapping[str, Any]) -> None:
        """Keep what needs no network on the same folds: `by_fold`, by name."""

        def change(content: dict[str, Any]) -> None:
            for name, one in found.items():
                content["baselines"][name] = _merged(content["baselines"].get(name, []), one["by_fold"])

        self._update(change)

    def set_shuffled(self, recipe: Recipe, found: Mapping[str, Any]) -> None:
        """Keep what a network scored that was taught shuffled labels."""
        told = {**found, "toml": portable(recipe).dumps()}
        self._update(lambda content: content.update(shuffled_labels=told))

    def has_shuffled(self, recipe: Recipe) -> bool:
        """Return whether a recipe as it is now was taught shuffled labels."""
        kept = self.content.get("shuffled_labels")
        return kept is not None and same(kept, recipe)

    def _update(self, change: Callable[[dict[str, Any]], None]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(self.path):
            content = self.content
            change(content)
            write_text(self.path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time change a file. The system frees the lock of one that is killed."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    name = f"melascope-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.lock"
    with (Path(tempfile.gettempdir()) / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _place(row: Mapping[str, Any]) -> tuple[int, int]:
    return row["seed"], row["fold"]


def _merged(rows: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with others added, in place of those of the same repeat and fold."""
    found = {_place(row): dict(row) for row in [*rows, *new]}
    return [found[place] for place in sorted(found)]


def same(kept: Mapping[str, Any], recipe: Recipe) -> bool:
    """Return whether rows were trained by a recipe as it is now; each row tells its precision itself."""
    if _decides(tomllib.loads(kept["toml"])) != _decides(tomllib.loads(portable(recipe).dumps())):
        return False
    weights = _weights(recipe)
    return weights is None or kept.get("weights") in (None, weights)


def _decides(tree: dict[str, Any]) -> dict[str, Any]:
    """Return what decides a training: keys that a recipe of then did not know have the values of today's defaults."""
    network = {key: value for key, value in tree["network"].items() if key != "weights"}
    decides = recipes.parse({**tree, "network": network}).model_dump(mode="json", exclude=_TELL_NOTHING)
    del decides["schedule"]["precision"]
    return decides


def _weights(recipe: Recipe) -> str | None:
    """Return the sha256 of the weights that a recipe begins with, where they are here."""
    file = recipe.network.weights_file
    return hashlib.sha256(file.read_bytes()).hexdigest() if file is not None and file.is_file() else None


def _digest(table: pd.DataFrame) -> str:
    """Return a sha256 of what the folds depend on: photographs in order, diagnoses, groups."""
    lines = table[["image_id", "diagnosis", "group"]].astype(str).agg("\t".join, axis=1)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read(path: Path) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise RunError(f"{path} is damaged. Choose another file with --write.") from None
    return kept
