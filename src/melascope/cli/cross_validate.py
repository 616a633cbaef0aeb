"""`melascope cross-validate`: recipes on the same folds, with one report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from melascope.cli import console
from melascope.cli.run import data_options, machine_options, spellings

_NAMES = ("balanced_accuracy", "melanoma_auc")


def experiment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `cross-validate` and `learning-curve` share."""
    for option in (
        click.option(
            "--limit", type=click.IntRange(1), help="Use only so many photographs, drawn by class: a quick try."
        ),
        click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first repeat."),
        click.option(
            "--repeats", type=click.IntRange(1), default=1, show_default=True, help="Each with other folds and seeds."
        ),
        click.option(
            "--protocol",
            type=click.Choice(["clean", "as-filed"]),
            default="clean",
            show_default=True,
            help="Which photographs and labels count; as-filed is what the field publishes, and optimistic.",
        ),
        click.option("--unaudited", is_flag=True, help="Use what the audit refuses; every figure says so."),
        click.option(
            "--parts",
            metavar="FILE",
            help="CSV with image_id and part, whose test stays closed, or fold, which is used; or ham10000-folds; "
            "or table: the column fold of DATA.",
        ),
        click.option(
            "--audit",
            type=click.Path(path_type=Path),
            help="Folder in which data audit has proved these data; otherwise they are audited here.",
        ),
        click.option(
            "--out", type=click.Path(path_type=Path), required=True, help="The folder; the same command goes on there."
        ),
    ):
        command = option(command)
    return command


@click.command("cross-validate")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    "recipe",
    multiple=True,
    default=["small-cnn"],
    show_default=True,
    help="A recipe's name or a TOML file; repeatable: all are scored on the same folds.",
)
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="How many.")
@experiment_options
@data_options
@machine_options
def cross_validate(data: Path, spelling: tuple[str, ...], recipe: tuple[str, ...], **options: Any) -> int:
    """Train RECIPES once per fold of DATA and score what was left out; lesions and patients stay whole.

    The Test folder of DATA stays closed. Writes report.html, cross_validation.json
    and predictions.parquet (out of fold). Killed or stopped, the same command
    goes on; with further recipes or repeats it adds them, and keeps the recipes that earlier commands have finished.

    \b
    Example:  melascope cross-validate photographs --recipe small-cnn --recipe plain-cnn --out CV
    """
    from melascope.training.cross_validated import cross_validate_data

    console.check_folder(options["out"])
    with console.progress() as progress:
        found = cross_validate_data(
            data, recipe=list(recipe), spellings=spellings(spelling), progress=progress, on_fold=_say, **options
        )
    for warning in found.result["warnings"]:
        console.warn(warning)
    few = found.result["support"]["too_few"]
    for name, one in found.result["recipes"].items():
        for key in _NAMES:
            told = "too few to judge" if key in few else _shown(one["scores"][key])
            console.results.print(f"{name}, {_words(key)}: {told}", markup=False, soft_wrap=True)
        if one.get("not_above"):
            console.warn(one["not_above"])
    for row in found.result["differences"]:
        if row["score"] in _NAMES and row["score"] not in few:
            verdict = "" if row["value"] is None else ", a difference" if row["differs"] else ", no difference shown"
            console.results.print(f"{row['name']}: {_shown(row, '+')}{verdict}", markup=False, soft_wrap=True)
    console.results.print(f"Report: {found.path / 'report.html'}", markup=False, soft_wrap=True)
    return console.ended(found.unreadable)


def _say(recipe: str, row: dict[str, float]) -> None:
    console.say(f"{recipe}, seed {row['seed']:.0f}, fold {row['fold'] + 1:.0f}: {scores_told(row)}")


def scores_told(row: dict[str, Any]) -> str:
    """Return the scores of a training in words; one that is not defined is called so."""
    shown = (f"{row[key]:.3f}" if row[key] == row[key] else "not defined" for key in _NAMES)
    return ", ".join(f"{_words(key)} {value}" for key, value in zip(_NAMES, shown, strict=True))


def _words(key: str) -> str:
    return key.replace("_", " ").replace("auc", "AUC")


def _shown(estimate: dict[str, Any], sign: str = "") -> str:
    if estimate["value"] is None:
        return "not defined in every fold"
    value = f"{estimate['value']:{sign}.3f}"
    if estimate["low"] is None:
        return f"{value} in every fold, so that no interval can be given"
    return f"{value} (95 % interval {estimate['low']:{sign}.3f} to {estimate['high']:{sign}.3f})"
