"""What each fold of the field's cross-validation gave, kept so that any machine goes on; what the page says of it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reproduction_rows import trainings
from benchmarks.reproduction_words import filled
from melascope.counted import plural
from melascope.errors import RunError
from melascope.evaluation.cross_validated import differences, fold_scores
from melascope.training import recipe as recipes
from melascope.training.experiment import Material
from melascope.training.recipe import Recipe
from melascope.training.run_folder import write_text

OURS = ("small-cnn", "mobilenetv2-finetuned", "champion")
"""The default; the one for a set of this size; that of the shipped model, made for six times as many photographs."""
SCORES = {"balanced_accuracy": "balanced accuracy", "accuracy": "accuracy", "melanoma_auc": "melanoma AUC"}
COMMAND = (
    "python -m benchmarks.field isic9 --authority ISIC_2019_Training_GroundTruth.csv "
    "ISIC_2019_Training_Metadata.csv --out field --weights mobilenetv2_imagenet.npz "
    "--write docs/reproduction_clean.json"
)
SCHEMA = 1
_TELL_NOTHING = ("name", "description", "expected", "search")  # of what a training does


def field_recipes(precision: str, weights: Path | None) -> dict[str, Recipe]:
    """Return the recipes that are to be compared, by name, ours first.

    Args:
        precision: Of the published ones; ours are trained as they are.
        weights: Of our pretrained networks; without them these are left out.

    Raises:
        RecipeError: When the weights are no file.
    """
    chosen = {"small-cnn": recipes.load("small-cnn")}
    if weights is not None:
        chosen |= {name: recipes.load(name).replace(network={"weights": str(weights.resolve())}) for name in OURS[1:]}
    for training in trainings():
        if training.design.copies == "none":
            name = training.name.partition(".")[0]
            chosen.setdefault(name, training.resolved(precision).model_copy(update={"name": name}))
    return chosen


def portable(recipe: Recipe) -> Recipe:
    """Return a recipe whose weights are named by their file alone: where that lies is one machine's affair."""
    file = recipe.network.weights_file
    if file is None:
        return recipe
    # Not by `replace`, which asks for the file.
    return recipe.model_copy(update={"network": recipe.network.model_copy(update={"weights": file.name})})


class Record:
    """The rows of all finished trainings of one division of one set, in a file.

    Args:
        path: The file.
        content: `schema`, `data`, `folds`, `recipes` (by name: `toml` and `by_fold`), `baselines`, `shuffled_labels`.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path, self.content = path, content

    @classmethod
    def open(cls, path: Path, material: Material, folds: int) -> Record:
        """Return the record in a file, or a new one.

        Raises:
            RunError: When the file holds other photographs or another number of folds.
        """
        facts = material.facts
        data = {
            **{key: facts[key] for key in ("protocol", "photographs", "groups", "closed")},
            "digest": _digest(material.table),
        }
        begun = {"schema": SCHEMA, "data": data, "folds": folds, "recipes": {}}
        if not path.exists():
            return cls(path, begun)
        kept = _read(path)
        changed = [key for key in ("schema", "data", "folds") if kept.get(key) != begun[key]]
        if changed:
            told = "; ".join(f"{key}: {kept.get(key)} there, {begun[key]} now" for key in changed)
            raise RunError(f"{path} is of another cross-validation ({told}). Choose another file with --write.")
        return cls(path, kept)

    @property
    def shuffled(self) -> dict[str, Any] | None:
        """What a network that was taught shuffled labels scored; None where it was not trained yet."""
        found: dict[str, Any] | None = self.content.get("shuffled_labels")
        return found

    def forget_changed(self, chosen: Mapping[str, Recipe]) -> list[str]:
        """Drop the rows of recipes that are no more what they were; return their names."""
        kept = self.content["recipes"]
        gone = [name for name, one in chosen.items() if name in kept and _decides(kept[name]["toml"]) != _decides(one)]
        for name in gone:
            del kept[name]
        if gone:
            self._write()
        return gone

    def has(self, name: str, seed: int, fold: int) -> bool:
        """Return whether a training is done."""
        rows = self.content["recipes"].get(name, {"by_fold": []})["by_fold"]
        return any((row["seed"], row["fold"]) == (seed, fold) for row in rows)

    def add(self, name: str, recipe: Recipe, row: Mapping[str, Any]) -> None:
        """Add a finished training; what another process has added since stays."""
        if self.path.exists():
            self.content = _read(self.path)
        toml = portable(recipe).dumps()
        rows = self.content["recipes"].setdefault(name, {"toml": toml, "by_fold": []})["by_fold"]
        rows.append({key: None if value != value else value for key, value in row.items()})
        rows.sort(key=lambda one: (one["seed"], one["fold"]))
        self._write()

    def set_baselines(self, found: Mapping[str, Any]) -> None:
        """Keep what needs no network on the same folds: `scores` and `by_fold`, by name."""
        self.content["baselines"] = {name: {"scores": one["scores"]} for name, one in found.items()}
        self._write()

    def set_shuffled(self, found: Mapping[str, Any]) -> None:
        """Keep what a network scored that was taught shuffled labels."""
        self.content["shuffled_labels"] = dict(found)
        self._write()

    def means(self, score: str) -> dict[str, float]:
        """Return the mean of a score over the trainings there are, by recipe."""
        return {
            name: float(pd.DataFrame(one["by_fold"])[score].astype(float).mean())
            for name, one in self.content["recipes"].items()
        }

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(self.content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def complete(rows: Sequence[Mapping[str, Any]], folds: int) -> pd.DataFrame:
    """Return the rows of those repeats of which all folds are done."""
    table = pd.DataFrame(list(rows), columns=["seed", "fold", "n", *SCORES, "log_loss"])
    whole = table.groupby("seed")["fold"].transform("nunique") == folds
    return table[whole].astype({"seed": int, "fold": int} | dict.fromkeys([*SCORES, "log_loss"], float))


def less(mine: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return by how much the first is above the second by score, over the repeats that both have; empty for none."""
    both = set(mine["seed"]) & set(theirs["seed"])
    if not both:
        return {}
    rows = {name: table[table["seed"].isin(both)] for name, table in (("mine", mine), ("theirs", theirs))}
    return {row["score"]: row for row in differences(rows) if row["value"] is not None}


def section(path: Path) -> str:
    """Return the page's section, of the record at a path; how to make it where nothing of it is there."""
    lines = ["## Ours on the same photographs", ""]
    told = _read(path) if path.exists() else {"recipes": {}}
    found = {name: complete(one["by_fold"], told["folds"]) for name, one in told["recipes"].items()}
    found = {name: rows for name, rows in found.items() if len(rows)}
    if not found:
        return "\n".join([*lines, "Not computed yet:", "", "```sh", COMMAND, "```"])
    ours = [name for name in OURS if name in found]
    data, repeats = told["data"], max(rows["seed"].nunique() for rows in found.values())
    said = (
        f"Under `clean`, Test closed: {data['photographs']:,} photographs in {data['groups']:,} groups of lesion and "
        f"patient, {told['folds']} folds, {plural(repeats, 'repeat')}. All recipes stand on the same folds; "
        "differences are taken fold by fold, with the corrected resampled t interval (95 %). An interval that contains "
        "zero shows no difference. Ours were chosen before these folds were seen."
    )
    lines += [
        filled(said),
        "",
        "```sh",
        COMMAND,
        "```",
        "",
        f"| recipe | trainings | {' | '.join(SCORES.values())} |"
        + "".join(f" {mine} less it, balanced accuracy |" for mine in ours),
        "|" + "---|" * (2 + len(SCORES) + len(ours)),
    ]
    scores = {name: fold_scores(rows) for name, rows in found.items()}
    rest = sorted(set(found) - set(ours), key=lambda name: -(scores[name]["balanced_accuracy"]["value"] or 0.0))
    for name in [*ours, *rest]:
        cells = [str(len(found[name])), *(_span(scores[name][score]) for score in SCORES)]
        for mine in ours:
            apart = {} if name in ours else less(found[mine], found[name])
            cells.append(_span(apart["balanced_accuracy"], "+") if "balanced_accuracy" in apart else "")
        lines.append(f"| {f'**{name}**' if name in ours else name} | {' | '.join(cells)} |")
    for name, one in told.get("baselines", {}).items():
        cells = ["", *(_span(one["scores"][score]) for score in SCORES), *("" for _ in ours)]
        lines.append(f"| *{name}* | {' | '.join(cells)} |")
    missing = [name for name in dict.fromkeys([*OURS, *field_recipes("float32", None)]) if name not in found]
    lines += ["", *(_verdict(mine, found, missing) for mine in ours), "", filled(_made_by(told["recipes"]))]
    if "shuffled_labels" in told:
        chance = told["shuffled_labels"]
        words = "at chance, as it must be" if chance["at_chance"] else "NOT at chance"
        value = _span(chance["balanced_accuracy"])
        lines += ["", filled(f"`{chance['recipe']}` on shuffled labels: balanced accuracy {value}, {words}.")]
    return "\n".join(lines)


def _made_by(kept: Mapping[str, Any]) -> str:
    rows = [row for one in kept.values() for row in one["by_fold"]]
    machines = "; ".join(sorted({f"{row['machine']}, {row['precision']}" for row in rows}))
    first, last = min(row["date"] for row in rows), max(row["date"] for row in rows)
    return f"{first if first == last else f'{first} to {last}'}, {machines}."


def _verdict(mine: str, found: Mapping[str, pd.DataFrame], missing: Iterable[str]) -> str:
    """Return which of the others a recipe is shown to be better than."""
    told = []
    others = {name: less(found[mine], rows) for name, rows in found.items() if name not in OURS}
    for score, words in SCORES.items():
        apart = {name: one[score] for name, one in others.items() if score in one}
        better = [name for name, one in apart.items() if one["low"] is not None and one["low"] > 0]
        worse = [name for name, one in apart.items() if one["high"] is not None and one["high"] < 0]
        rest = sorted(set(apart) - set(better) - set(worse))
        of = f"by {words} shown better than {len(better)} of {len(apart)}"
        of += f" (not shown: {', '.join(rest)})" if rest else ""
        of += f" (worse than {', '.join(worse)})" if worse else ""
        told.append(of)
    later = sorted(set(missing) - set(OURS))
    open_ones = f". Not computed yet: {', '.join(later)}" if later else ""
    return f"- `{mine}`: {'; '.join(told)}{open_ones}."


def _span(estimate: Mapping[str, Any], sign: str = "") -> str:
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return f"{estimate['value']:{sign}.3f}"
    value, low, high = (f"{estimate[key]:{sign}.3f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _decides(recipe: Recipe | str) -> dict[str, Any]:
    """Return what decides a training, but for the precision, which each row tells."""
    toml = recipe if isinstance(recipe, str) else portable(recipe).dumps()
    tree = {key: value for key, value in tomllib.loads(toml).items() if key not in _TELL_NOTHING}
    return {**tree, "schedule": {key: value for key, value in tree["schedule"].items() if key != "precision"}}


def _digest(table: pd.DataFrame) -> str:
    """Return a sha256 of what the folds depend on: photographs in order, diagnoses, groups."""
    lines = table[["image_id", "diagnosis", "group"]].astype(str).agg("\t".join, axis=1)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise RunError(f"{path} is damaged. Choose another file with --write.") from None
    return kept
