"""`melascope cross-validate`: recipes on the same grouped folds of a data set, one report; the test stays closed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import diagnosis, environment
from melascope.audit.survey import picture
from melascope.counted import plural
from melascope.datasets import origins
from melascope.errors import DataError, MelascopeError, RunError
from melascope.evaluation import cross_validated as judged
from melascope.evaluation.learning_curve import unit as of_lesions
from melascope.evaluation.support import support
from melascope.progress import Progress, silent
from melascope.training import fold_baselines, networks
from melascope.training import recipe as recipes
from melascope.training.cross_validation import CrossValidation, cross_validate, refuse_folds
from melascope.training.experiment import Experiment, Material, PathLike, Reading
from melascope.training.locks import alone_in_out
from melascope.training.recipe import Recipe
from melascope.training.run_folder import write_text
from melascope.training.settings import of_epochs, shortened

SCHEMA = 1


@dataclass(frozen=True)
class CrossValidated:
    """A finished cross-validation.

    Attributes:
        path: Its folder, with `cross_validation.json`, `predictions.parquet` and `report.html`.
        result: What stands in the JSON; docs/cross_validation.md lists it.
        unreadable: How many photographs could not be read.
    """

    path: Path
    result: dict[str, Any]
    unreadable: int

    @property
    def scores(self) -> pd.DataFrame:
        """A row per recipe, repeat and fold."""
        rows = [{"recipe": name, **row} for name, found in self.result["recipes"].items() for row in found["by_fold"]]
        return pd.DataFrame(rows)

    @property
    def predictions(self) -> pd.DataFrame:
        """Every photograph's probabilities by the network that saw nothing of its group."""
        return pd.read_parquet(self.path / "predictions.parquet")


@alone_in_out
def cross_validate_data(
    data: PathLike,
    out: PathLike,
    recipe: PathLike | Sequence[PathLike] = ("small-cnn",),
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    epochs: int | None = None,
    progress: Progress = silent,
    on_fold: Callable[[str, dict[str, float]], None] | None = None,
    **reading: Any,
) -> CrossValidated:
    """Cross-validate one or more recipes on the same folds; the same call goes on where it was stopped.

    Recipes that an earlier call has finished there stay in what is written, after those that are named now.

    Args:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table. Its Test folder stays closed.
        out: The folder. One that holds the same folds may be given further recipes or repeats.
        recipe: Names or TOML files.
        folds: How many; where `parts` names folds (a file, or `table` for the table's own column), those are used.
        repeats: Each with folds and trainings of its own seed: `seed`, `seed + 1`, ...
        seed: Of the first repeat.
        epochs: Instead of the recipes'.
        progress: Called with epochs done and in all, over all folds.
        on_fold: Called with a recipe's name and each fold's row of the scores.
        reading: `protocol`, `images`, `authority`, `spellings`, `limit`, `audit`, `parts`, `unaudited`, as in `run`.

    Raises:
        DataError, RecipeError, RunError: Each with one sentence.

    Example:
        >>> found = cross_validate_data("photographs", out="CV", recipe=["small-cnn", "plain-cnn"], repeats=2)
        >>> found.result["recipes"]["small-cnn"]["scores"]["balanced_accuracy"]
    """
    named: list[PathLike] = [recipe] if isinstance(recipe, str | os.PathLike) else list(recipe)
    chosen = load_distinct(named, epochs)
    asked = Reading(data, seed=seed, **reading)
    experiment = Experiment(out, "cross-validation", {"folds": folds, "seed": seed, "epochs": epochs}, asked)
    seeds = list(range(seed, seed + repeats))
    with experiment.if_refused():
        for one in chosen:
            _refuse_changed(experiment.path, one)
        material = experiment.material(progress)
        folds, given = settled_folds(material, chosen, folds, seeds)
        for one in chosen:
            write_text(experiment.path / f"{one.name}.toml", one.dumps())
        found: dict[str, list[CrossValidation]] = {one.name: [] for one in chosen}
        # Packed before the first training: the bars of one stage follow those of another, and no stage comes again.
        images = {one.name: material.images(one, progress) for one in chosen}
        earlier, read_again, unread = _earlier(experiment.path, chosen, material, folds, seeds, given, progress)
        found |= read_again
        watch = Watch(progress, [one.schedule.epochs * folds for _ in seeds for one in chosen])
        # Seed by seed, so that what is done at any moment can be compared in pairs.
        for at_seed in seeds:
            for one in chosen:
                found[one.name].append(
                    cross_validate(
                        one,
                        images[one.name],
                        material.labels,
                        material.groups,
                        material.classes,
                        folds,
                        [at_seed],
                        experiment.path / one.name,
                        watch.told,
                        environment.threads(),
                        None if on_fold is None else lambda row, name=one.name: on_fold(name, row),  # type: ignore[misc]
                        given,
                    )
                )
                watch.next()
    result = _result(material, [*chosen, *earlier], found, folds, seeds, asked)
    result["notes"] += [*unread.values(), *_left_out(experiment.path, {*found, *unread}, seeds)]
    result["warnings"] = [*other_epochs(named, chosen), *_short_tries(earlier, epochs), *result["warnings"]]
    first, assigned = chosen[0], _assigned(found[chosen[0].name])
    result["baselines"] = fold_baselines.of_folds(material, images[first.name], assigned, seeds)
    few = result["support"]["too_few"]
    for name, several in found.items():
        rows = pd.concat([one.scores for one in several])
        over = judged.over_baselines(rows, result["baselines"], few)
        result["recipes"][name] |= {"over_baselines": over, "not_above": judged.not_above(name, over)}
    result["shuffled_labels"] = fold_baselines.on_shuffled(
        first, material, images[first.name], assigned[0], seed, experiment.path / first.name / "shuffled", progress
    )
    experiment.write_json("cross_validation.json", result)
    _predictions(experiment.path / "predictions.parquet", material, found, seeds)
    _page(experiment.path / "report.html", material, result, Path(data).name)
    return CrossValidated(experiment.path, result, int(material.told["unreadable"]))


def _earlier(
    folder: Path,
    chosen: Sequence[Recipe],
    material: Material,
    folds: int,
    seeds: Sequence[int],
    given: NDArray[np.int64] | None,
    progress: Progress,
) -> tuple[list[Recipe], dict[str, list[CrossValidation]], dict[str, str]]:
    """Return the recipes that are not named now and have finished all these folds before, and what they reached.

    Nothing is trained: what is there is read. Last, by recipe, why it cannot be read.
    """
    every: list[Recipe] = []
    found: dict[str, list[CrossValidation]] = {}
    unread: dict[str, str] = {}
    names = {one.name for one in chosen}
    for record in sorted(path for path in folder.glob("*.toml") if path.stem not in names):
        places = [folder / record.stem / f"seed-{seed}" / f"fold-{fold}" for seed in seeds for fold in range(folds)]
        if not all((place / "logits.npz").exists() for place in places):
            continue
        try:
            one = recipes.load(record)
            images = material.images(one, progress)
            found[one.name] = [
                cross_validate(
                    one, images, material.labels, material.groups, material.classes, folds, [seed], folder / one.name,
                    threads=environment.threads(), assigned=given,
                )
                for seed in seeds
            ]  # fmt: skip
            every.append(one)
        except MelascopeError as error:  # such as weights that it began with and that are gone
            unread[record.stem] = f"The recipe {record.stem} of this folder is left out: {error}"
    return every, found, unread


def _left_out(folder: Path, found: Collection[str], seeds: Sequence[int]) -> list[str]:
    """Return which trainings of the folder are not among the results, and how to get them back, a sentence each."""
    begun = {path.stem: path for path in sorted(folder.glob("*.toml")) if (folder / path.stem).is_dir()}
    told = [
        f"The recipe {name} was begun in this folder and has not finished these folds; with --recipe {path} it does, "
        "and is shown."
        for name, path in begun.items()
        if name not in found
    ]
    there = {int(path.name.removeprefix("seed-")) for name in begun for path in (folder / name).glob("seed-*")}
    others = there - set(seeds)
    if others:
        are = plural(len(others), "further repeat in this folder is", "further repeats in this folder are")
        told.append(f"{are} not shown; --repeats {max(others) - seeds[0] + 1} shows {len(others) + len(seeds)}.")
    return told


def _short_tries(earlier: Sequence[Recipe], epochs: int | None) -> list[str]:
    """Return which recipes of an earlier call were trained for the epochs of --epochs, whatever their own are."""
    if epochs is None or not earlier:
        return []
    return [f"Trained for {plural(epochs, 'epoch')} (--epochs), too: {', '.join(one.name for one in earlier)}."]


def load_distinct(named: Sequence[PathLike], epochs: int | None) -> list[Recipe]:
    """Return recipes, with other epochs where wished.

    Raises:
        DataError: When two have one name, since results are kept by name.
        RecipeError: When one freezes a backbone that has learnt nothing.
    """
    chosen = [shortened(recipes.load(one), epochs) for one in named]
    names = [one.name for one in chosen]
    twice = [name for name in names if names.count(name) > 1]
    if not chosen or twice:
        raise DataError(
            f'Two recipes are called "{twice[0]}"; give one of them another name = "..." in its file.'
            if twice
            else "There is no recipe to train; name one."
        )
    for one in chosen:
        networks.refuse_untaught(one)
    return chosen


def other_epochs(named: Sequence[PathLike], chosen: Sequence[Recipe]) -> list[str]:
    """Return for each recipe that is not trained for its own epochs a sentence that says so."""
    found = []
    for name, one in zip(named, chosen, strict=True):
        which = f"Recipe {one.name}: " if len(chosen) > 1 else ""
        found += [which + told for told in of_epochs(recipes.load(name).schedule.epochs, one)]
    return found


def _refuse_changed(folder: Path, recipe: Recipe) -> None:
    """Refuse, before anything is written, a recipe whose name stands for another one in this folder."""
    record = folder / f"{recipe.name}.toml"
    if not record.exists() or not (folder / recipe.name).exists():
        return
    told = {"name", "description", "expected", "search"}  # decide nothing of a training
    if recipes.load(record).model_dump(exclude=told) != recipe.model_dump(exclude=told):
        raise RunError(
            f'{folder} holds trainings of another recipe called "{recipe.name}"; {record.name} has it. Give this one '
            'another name = "..." in its file, or begin anew with --out.'
        )


def settled_folds(
    material: Material, chosen: Sequence[Recipe], folds: int, seeds: Sequence[int]
) -> tuple[int, NDArray[np.int64] | None]:
    """Return how many folds there are, and those that were fixed, as `fixed_folds` does.

    Raises:
        DataError: When some training or some score cannot be, or fixed folds were to be repeated.
    """
    given = fixed_folds(material)
    if given is not None:
        folds = int(given.max()) + 1
        if len(seeds) > 1:
            raise DataError("The folds are fixed, and there is one set of them; leave --repeats out.")
    what = of_lesions(material.facts)
    refuse_folds(chosen, material.labels, material.groups, material.classes, folds, seeds, given, what)
    return folds, given


def fixed_folds(material: Material) -> NDArray[np.int64] | None:
    """Return the folds `(1, n)` that were fixed, counted from 0; None where none did."""
    if "fold" not in material.table or not material.table["fold"].notna().all():
        return None
    _, places = np.unique(material.table["fold"].to_numpy(dtype=np.int64), return_inverse=True)
    folds: NDArray[np.int64] = places.astype(np.int64)[None, :]
    return folds


class Watch:
    """Turns the progress of many trainings into one of all of them.

    Args:
        progress: Is told the stage, with what is done and what there is in all.
        sizes: Of each piece of work, in order, such as its epochs.
        stage: What it is called.
    """

    def __init__(self, progress: Progress, sizes: Sequence[int], stage: str = "training all folds (epochs)") -> None:
        self._progress, self._sizes, self._stage = progress, list(sizes), stage
        self._done, self._at = 0, 0

    def told(self, stage: str, done: int, total: int) -> None:
        """Take the progress of the piece at hand."""
        now = self._done + self._sizes[self._at] * done // max(total, 1)
        self._progress(self._stage, now, sum(self._sizes))

    def next(self) -> None:
        """Begin the next piece."""
        self._done += self._sizes[self._at]
        self._at += 1
        self._progress(self._stage, self._done, sum(self._sizes))


def _result(
    material: Material,
    chosen: Sequence[Recipe],
    found: dict[str, list[CrossValidation]],
    folds: int,
    seeds: Sequence[int],
    asked: Reading,
) -> dict[str, Any]:
    rows = {name: pd.concat([one.scores for one in several]) for name, several in found.items()}
    told, facts, seed = material.told, material.facts, seeds[0]
    behind = support(material.labels, material.groups, _assigned(found[chosen[0].name]), material.classes)
    few = behind.too_few
    of_recipes = {}
    for one in chosen:
        p = np.concatenate([each.probabilities for each in found[one.name]])
        of_recipes[one.name] = {
            "scores": judged.fold_scores(rows[one.name], few, behind.groups),
            "within_source": _within_source(p, found[one.name], material),
            **judged.pooled(p, material.labels, material.groups, material.classes, seed),
            "by_fold": fold_baselines.plain(rows[one.name]),
            "toml": one.dumps(),
        }
    words = ["melascope", "cross-validate", *asked.words()]
    for one in chosen:
        words += ["--recipe", f"{one.name}.toml"]
    words += ["--folds", str(folds), "--repeats", str(len(seeds)), "--seed", str(seed), "--out", "CV"]
    return {
        "schema": SCHEMA,
        "data": asked.to_json()["data"],
        **facts,
        "folds": folds,
        "seeds": list(seeds),
        "recipes": of_recipes,
        "support": behind.to_json(),
        "differences": judged.differences(rows, few),
        "notes": [*behind.notes(), *judged.notes(list(rows), folds, len(seeds), facts)],
        "warnings": told["warnings"],
        "flow": told["flow"],
        "command": shlex.join(words),
        "environment": environment.describe(),
    }


def _within_source(
    p: NDArray[np.float64], found: Sequence[CrossValidation], material: Material
) -> dict[str, Any] | None:
    melanoma = np.isin(np.asarray(material.classes)[material.labels], list(diagnosis.GROUPS["melanoma"]))
    risk = np.stack([diagnosis.group_risk(each, material.classes, "melanoma") for each in p])
    sources = origins(material.table).to_numpy(dtype=object)
    return judged.within_source(risk, melanoma, _assigned(found), sources, material.groups)


def _assigned(found: Sequence[CrossValidation]) -> NDArray[np.int64]:
    """Return the folds `(repeats, n)`."""
    return np.concatenate([one.folds for one in found])


def _predictions(
    target: Path, material: Material, found: dict[str, list[CrossValidation]], seeds: Sequence[int]
) -> None:
    frames = []
    rows = material.table[["image_id", "path", "group", "diagnosis"]]
    for name, several in found.items():
        for at_seed, one in zip(seeds, several, strict=True):
            frame = rows.assign(recipe=name, seed=at_seed, fold=one.folds[0])
            for place, code in enumerate(material.classes):
                frame[f"p_{code}"] = one.probabilities[0, :, place]
            frames.append(frame)
    partial = target.with_name(f".{target.name}")
    pd.concat(frames, ignore_index=True).to_parquet(partial, index=False)
    partial.replace(target)


def _page(target: Path, material: Material, result: dict[str, Any], title: str) -> None:
    from melascope.reports.cross_validation_report import cross_validation_report

    write_text(
        target,
        cross_validation_report(result, title=f"Cross-validation on {title}", table=material.table, picture=picture),
    )
