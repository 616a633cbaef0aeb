"""`melascope tune`: the best values for a recipe, searched on the parts train and tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from melascope.cli import console
from melascope.cli.run import data_options, machine_options, spellings

if TYPE_CHECKING:
    from melascope.training.tuning_ended import Ended


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--recipe", required=True, help="A recipe with a section [search]: a name or a TOML file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder of the tuning.")
@click.option("--trials", type=click.IntRange(1), default=50, show_default=True, help="How many there shall be in all.")
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that share the trials."
)
@click.option("--folds", type=click.IntRange(2), default=3, show_default=True, help="Of the cross-validation.")
@click.option(
    "--score",
    type=click.Choice(["balanced_accuracy", "melanoma_auc", "log_loss"]),
    default="balanced_accuracy",
    show_default=True,
    help="What is to become best, averaged over the folds.",
)
@click.option(
    "--storage",
    envvar="MELASCOPE_STORAGE",
    metavar="URL",
    help="postgresql://USER@HOST/DATABASE, for workers on several machines; by default SQLite in --out.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Begin no further trial after this time, counted from the first.",
)
@click.option(
    "--protocol", type=click.Choice(["clean", "as-filed"]), default="clean", show_default=True,
    help="Which photographs and labels count.",
)  # fmt: skip
@click.option("--audit", type=click.Path(path_type=Path), help="Folder in which data audit has proved these data.")
@click.option("--parts", metavar="FILE", help="CSV with image_id and part, or isic9-clean.")
@click.option("--unaudited", is_flag=True, help="Use what the audit refuses; every figure says so.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--limit", type=click.IntRange(1), help="Use only so many photographs, drawn by class: a quick try.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the split, the folds, the trainings and what is tried.",
)
@data_options
@machine_options
def tune(data: Path, spelling: tuple[str, ...], **options: Any) -> int:
    """Search the best values for a recipe by cross-validation; the test part stays closed.

    What may change stands in the recipe file:

    \b
      [search]
      "optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }
      "network.dropout" = { low = 0.0, high = 0.6, step = 0.1 }
      "balance.sampling" = ["none", "sqrt", "balanced"]

    \b
    Example:  melascope tune photographs --recipe small-cnn-search --trials 60 --out TUNING
    Then:     melascope run photographs --recipe TUNING/best.toml --out RUN

    Killed or stopped? Repeat the same command. The same command in another terminal shares the trials.
    """
    from melascope.training.tuning import tune as search

    with console.progress() as progress:
        found = search(data, spellings=spellings(spelling), progress=progress, on_trial=_say, **options)
    for warning in found.warnings:
        console.warn(warning)
    console.results.print(found.summary(), markup=False, soft_wrap=True)
    return console.ended(found.unreadable)


def _say(trial: Ended) -> None:
    console.say(trial.words())
