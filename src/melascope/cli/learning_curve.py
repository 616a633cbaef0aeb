"""`melascope learning-curve`: whether more photographs would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from melascope.cli import console
from melascope.cli.cross_validate import experiment_options, scores_told
from melascope.cli.run import data_options, machine_options, spellings
from melascope.counted import plural


def _shares(_: click.Context, __: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        shares = ()
    if not shares or not all(0 < share <= 1 for share in shares):
        raise click.BadParameter(f'"{text}" is no list of shares above 0 and up to 1, such as 0.125,0.25,0.5,1.')
    return shares


@click.command("learning-curve")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--recipe", default="small-cnn", show_default=True, help="A recipe's name or a TOML file.")
@click.option(
    "--shares",
    default="0.125,0.25,0.5,1",
    show_default=True,
    callback=_shares,
    help="Of the lesions that a fold leaves for training.",
)
@click.option("--folds", type=click.IntRange(2), default=3, show_default=True, help="Each scored at every share.")
@experiment_options
@data_options
@machine_options
def learning_curve(data: Path, spelling: tuple[str, ...], **options: Any) -> int:
    """Train a recipe on growing shares of DATA's lesions, and tell whether more would help.

    Smaller shares are part of larger ones, and all are scored on the same folds.
    A power law through the scores says what twice the lesions would give, and how
    sure that is. The Test folder stays closed. Writes report.html and
    learning_curve.json. Killed or stopped, the same command goes on.

    \b
    Example:  melascope learning-curve photographs --recipe small-cnn --out CURVE
    """
    from melascope.training.learning_curve import learning_curve as whole_curve

    console.check_folder(options["out"])
    with console.progress() as progress:
        found = whole_curve(data, spellings=spellings(spelling), progress=progress, on_training=_say, **options)
    for warning in found.result["warnings"]:
        console.warn(warning)
    for fit in found.result["fits"].values():
        console.results.print(fit["words"], markup=False, soft_wrap=True)
    console.results.print(f"Report: {found.path / 'report.html'}", markup=False, soft_wrap=True)
    return console.ended(found.unreadable)


def _say(row: dict[str, Any]) -> None:
    size = f"share {row['share']:g} ({plural(row['photographs'], 'photograph')})"
    console.say(f"seed {row['seed']}, fold {row['fold'] + 1}, {size}: {scores_told(row)}")
