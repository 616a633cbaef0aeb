"""`melascope learning-curve`: how good a recipe is with an eighth, a quarter, half and all of the lesions."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import environment, statistics
from melascope.audit.survey import picture
from melascope.errors import DataError
from melascope.evaluation import learning_curve as judged
from melascope.evaluation.cross_validated import not_above, over_baselines
from melascope.evaluation.support import Support, support
from melascope.progress import Progress, silent
from melascope.statistics.power_law import FEWEST_SIZES
from melascope.training import fold_baselines
from melascope.training.cross_validated import Watch, load_distinct, other_epochs, settled_folds
from melascope.training.cross_validation import draw_folds, one_training, scores_of, training_rows
from melascope.training.experiment import Experiment, Material, PathLike, Reading
from melascope.training.locks import alone_in_out
from melascope.training.recipe import Recipe
from melascope.training.run_folder import write_text

SCHEMA = 1
SHARES = (0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class LearningCurve:
    """A finished learning curve.

    Attributes:
        path: Its folder, with `learning_curve.json` and `report.html`.
        result: What stands in the JSON; docs/cross_validation.md lists it.
        unreadable: How many photographs could not be read.
    """

    path: Path
    result: dict[str, Any]
    unreadable: int

    @property
    def scores(self) -> pd.DataFrame:
        """A row per repeat, fold and share."""
        return pd.DataFrame(self.result["by_training"])


@alone_in_out
def learning_curve(
    data: PathLike,
    out: PathLike,
    recipe: PathLike = "small-cnn",
    shares: Sequence[float] = SHARES,
    folds: int = 3,
    repeats: int = 1,
    seed: int = 0,
    epochs: int | None = None,
    progress: Progress = silent,
    on_training: Callable[[dict[str, Any]], None] | None = None,
    **reading: Any,
) -> LearningCurve:
    """Train a recipe on growing shares of the lesions; the same call goes on where it was stopped.

    Args:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table. Its Test folder stays closed.
        out: The folder. One that holds the same folds may be given further shares or repeats.
        recipe: A name or a TOML file.
        shares: Of the lesions that a fold leaves for training, above 0 and up to 1.
        folds: How many; each is scored at every share. Where `parts` names folds, those are used.
        repeats: Each with folds and trainings of its own seed.
        seed: Of the first repeat.
        epochs: Instead of the recipe's.
        progress: Called with photographs seen and to be seen, over all trainings.
        on_training: Called with each training's row of the scores, as `LearningCurve.scores` has it.
        reading: `protocol`, `images`, `authority`, `spellings`, `limit`, `audit`, `parts`, `unaudited`, as in `run`.

    Raises:
        DataError, RecipeError, RunError: Each with one sentence.

    Example:
        >>> curve = learning_curve("photographs", out="CURVE")
        >>> print(curve.result["fits"]["balanced_accuracy"]["words"])
    """
    sizes = sorted({float(share) for share in shares})
    if not sizes or sizes[0] <= 0 or sizes[-1] > 1:
        raise DataError("Shares of the lesions lie above 0 and reach 1 at most, such as 0.125, 0.25, 0.5, 1.")
    if len(sizes) < FEWEST_SIZES:
        raise DataError(
            f"A curve needs {FEWEST_SIZES} sizes at least, not {len(sizes)}; give --shares such as 0.25,0.5,1."
        )
    (chosen,) = load_distinct([recipe], epochs)
    asked = Reading(data, seed=seed, **reading)
    settings = {"folds": folds, "seed": seed, "recipe": chosen.dumps()}
    experiment = Experiment(out, "learning-curve", settings, asked)
    seeds = list(range(seed, seed + repeats))
    with experiment.if_refused():
        material = experiment.material(progress)
        folds, given = settled_folds(material, [chosen], folds, seeds)
        labels, groups = material.labels, material.groups
        pieces, drawn = [], []
        for place, at_seed in enumerate(seeds):
            assigned = draw_folds(labels, groups, material.classes, folds, at_seed) if given is None else given[place]
            drawn.append(assigned)
            for fold in range(folds):
                train, tune = training_rows(chosen, assigned, fold)
                for share in sizes:
                    rows = nested(train, labels, groups, share, at_seed, fold)
                    pieces.append((at_seed, fold, share, rows, tune, np.flatnonzero(assigned == fold)))
        _refuse_equal(sizes, [(piece[2], len(piece[3])) for piece in pieces], judged.unit(material.facts))
        write_text(experiment.path / f"{chosen.name}.toml", chosen.dumps())
        images = material.images(chosen, progress)
        watch = Watch(
            progress, [len(piece[3]) * chosen.schedule.epochs for piece in pieces], "training all sizes (photographs)"
        )
        found = []
        for at_seed, fold, share, train, tune, test in pieces:
            folder = experiment.path / f"seed-{at_seed}" / f"fold-{fold}" / f"share-{share:g}"
            logits = one_training(
                chosen, images, labels, train, tune, test, material.classes, folder, at_seed, watch.told,
                environment.threads(),
            )  # fmt: skip
            watch.next()
            found.append(
                {
                    "seed": at_seed,
                    "fold": fold,
                    "share": share,
                    "groups": len(set(groups[train])),
                    "photographs": len(train),
                    "n": len(test),
                    **scores_of(statistics.softmax(logits), labels[test], material.classes),
                }
            )
            if on_training is not None:
                on_training(found[-1])
    behind = support(labels, groups, np.stack(drawn), material.classes)
    result = _result(material, chosen, pd.DataFrame(found), folds, seeds, sizes, asked, behind)
    result["warnings"] = [*other_epochs([recipe], [chosen]), *result["warnings"]]
    result["baselines"] = fold_baselines.of_folds(material, images, np.stack(drawn), seeds)
    trained = pd.DataFrame(found)
    over = over_baselines(trained[trained["share"] == sizes[-1]], result["baselines"], behind.too_few)
    result |= {"over_baselines": over, "not_above": not_above(chosen.name, over)}
    result["shuffled_labels"] = fold_baselines.on_shuffled(
        chosen, material, images, drawn[0], seed, experiment.path / "shuffled", progress
    )
    experiment.write_json("learning_curve.json", result)
    _page(experiment.path / "report.html", material, result, Path(data).name)
    return LearningCurve(experiment.path, result, int(material.told["unreadable"]))


def _refuse_equal(sizes: Sequence[float], pieces: Sequence[tuple[float, int]], unit: str) -> None:
    """Refuse shares of which one adds nothing to the one before: a curve through such sizes is none.

    Args:
        sizes: The shares, rising.
        pieces: Of each training its share and its photographs.
        unit: What is shared out.
    """
    total = {size: sum(count for share, count in pieces if share == size) for size in sizes}
    for less, more in pairwise(sizes):
        if total[less] == total[more]:
            raise DataError(
                f"There are too few {unit} for these shares: {less:g} and {more:g} of them are the same ones. "
                "Give fewer --shares, or add photographs."
            )


def nested(
    rows: NDArray[np.integer],
    labels: NDArray[np.integer],
    groups: NDArray[np.object_],
    share: float,
    seed: int,
    fold: int = 0,
) -> NDArray[np.intp]:
    """Return those of some rows that a share of the lesions leaves; smaller shares are part of larger ones.

    Within each diagnosis the groups stand in an order that a hash of seed, fold and name gives, of which the first are
    taken, one at least. Each fold has an order of its own, and none is that in which groups were dealt into folds:
    trainings on one small share of two folds would else be on the very same photographs, and err alike. A group of
    several diagnoses counts for the rarest of them.

    Args:
        rows: Rows of the arrays.
        labels: `(n,)`.
        groups: `(n,)` names.
        share: Above 0, up to 1.
        seed: Another seed, another order.
        fold: Another fold, another order.
    """
    frequency = np.bincount(labels)
    frame = pd.DataFrame({"group": groups[rows].astype(str), "label": labels[rows]})
    frame["rarity"] = frequency[frame["label"].to_numpy()]
    names = frame.sort_values(["rarity", "label"], kind="stable").drop_duplicates("group")
    key = f"{seed & (2**64 - 1):016x}"
    of_fold = np.array([f"share of fold {fold}: {name}" for name in names["group"]], dtype=object)
    names = names.assign(order=pd.util.hash_array(of_fold, hash_key=key, categorize=False))
    names = names.sort_values(["order", "group"])
    place = names.groupby("label").cumcount()
    count = names.groupby("label")["group"].transform("size")
    kept = names["group"][place < np.maximum(1, np.floor(share * count + 0.5))]
    taken: NDArray[np.intp] = np.asarray(rows)[frame["group"].isin(kept).to_numpy()]
    return taken


def _result(
    material: Material,
    recipe: Recipe,
    rows: pd.DataFrame,
    folds: int,
    seeds: Sequence[int],
    shares: Sequence[float],
    asked: Reading,
    behind: Support,
) -> dict[str, Any]:
    told, facts = material.told, material.facts
    few = dict.fromkeys(behind.too_few, behind.few_words())
    unit = judged.unit(facts)
    tuned = bool(len(training_rows(recipe, np.arange(folds), 0)[1]))
    words = ["melascope", "learning-curve", *asked.words(), "--recipe", f"{recipe.name}.toml"]
    words += ["--shares", ",".join(f"{share:g}" for share in shares), "--folds", str(folds)]
    words += ["--repeats", str(len(seeds)), "--seed", str(seeds[0]), "--out", "CURVE"]
    return {
        "schema": SCHEMA,
        "data": asked.to_json()["data"],
        **facts,
        "unit": unit,
        "folds": folds,
        "seeds": list(seeds),
        "recipe": {"name": recipe.name, "toml": recipe.dumps()},
        "support": behind.to_json(),
        "points": judged.points(rows, few, behind.groups),
        "fits": judged.laws(rows, folds, seeds[0], unit, few),
        "by_training": fold_baselines.plain(rows),
        "notes": [*behind.notes(), *judged.notes(facts, folds, len(seeds), tuned)],
        "warnings": told["warnings"],
        "flow": told["flow"],
        "command": shlex.join(words),
        "environment": environment.describe(),
    }


def _page(target: Path, material: Material, result: dict[str, Any], name: str) -> None:
    from melascope.reports.learning_curve_report import learning_curve_report

    title = f"Learning curve of {result['recipe']['name']} on {name}"
    write_text(target, learning_curve_report(result, title=title, table=material.table, picture=picture))
