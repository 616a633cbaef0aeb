"""`melascope run`: from a folder of labelled photographs to a report and a bundle."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from melascope.cli import console
from melascope.diagnosis import DIAGNOSES
from melascope.errors import DataError

if TYPE_CHECKING:
    from melascope.training.run import Run


def spellings(pairs: tuple[str, ...]) -> dict[str, str]:
    """Turn `--spelling LABEL=CODE` options into a mapping."""
    result = {}
    for pair in pairs:
        label, sign, code = pair.rpartition("=")
        if not sign or not label.strip():
            raise DataError(f'--spelling "{pair}" is not of the form LABEL=CODE, such as "mole=NV".')
        result[label.strip()] = code.strip().upper()
        if result[label.strip()] not in DIAGNOSES:
            raise DataError(f'--spelling "{pair}": "{code.strip()}" is not one of {", ".join(DIAGNOSES)}.')
    return result


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how DATA is read."""
    for option in (
        click.option("--images", type=click.Path(path_type=Path), help="Folder of the photographs that a CSV names."),
        click.option(
            "--authority",
            multiple=True,
            type=click.Path(path_type=Path),
            help="CSV with official labels, lesion or patient ids, by image id; repeatable.",
        ),
        click.option(
            "--spelling",
            "spelling",
            multiple=True,
            metavar="LABEL=CODE",
            help='What an unknown label means, such as "mole=NV".',
        ),
    ):
        command = option(command)
    return command


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about this machine, each also an environment variable."""

    @click.option(
        "--threads", type=click.IntRange(1), envvar="MELASCOPE_THREADS", help="Threads to use; all cores by default."
    )
    @click.option(
        "--cache", type=click.Path(path_type=Path), envvar="MELASCOPE_CACHE", help="Folder for packed images."
    )
    @functools.wraps(command)
    def wrapped(**options: Any) -> Any:
        import os

        for name, value in (("MELASCOPE_THREADS", options.pop("threads")), ("MELASCOPE_CACHE", options.pop("cache"))):
            if value is not None:
                os.environ[name] = str(value)
        return command(**options)

    return wrapped


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `run` and `train` share."""
    for option in (
        click.option("--resume", is_flag=True, help="Go on with the run in --out."),
        click.option(
            "--mlflow",
            metavar="URI",
            help="Log to MLflow: a server's address, or a database such as sqlite:///mlflow.db.",
        ),
        click.option("--tensorboard", is_flag=True, help="Write TensorBoard events into the run folder."),
        click.option(
            "--limit", type=click.IntRange(1), help="Use only so many photographs, drawn by class: a quick try."
        ),
        click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's."),
        click.option(
            "--seed",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="Of the split, the training and the intervals.",
        ),
        click.option(
            "--protocol",
            type=click.Choice(["clean", "as-filed", "as-published"]),
            default="clean",
            show_default=True,
            help="Which photographs and labels count. as-filed is what the field publishes, as-published copies "
            "photographs before the split as course projects do; both are optimistic.",
        ),
        click.option(
            "--unaudited",
            is_flag=True,
            help="Train on what the audit refuses, without searching for copies; every figure says so.",
        ),
        click.option(
            "--parts",
            metavar="FILE",
            help="CSV with image_id and part (of train, tune, calibrate, test), or isic9-clean.",
        ),
        click.option(
            "--audit",
            type=click.Path(path_type=Path),
            help="Folder in which data audit has proved these data; otherwise they are audited here.",
        ),
        click.option(
            "--from",
            "from_run",
            metavar="RUN",
            type=click.Path(path_type=Path),
            help="Go on from the weights of a trained run; its photographs keep their parts. DATA may be other data.",
        ),
        click.option(
            "--recipe",
            help="A recipe's name or a TOML file; small-cnn by default, or that of --from or of the run to --resume.",
        ),
        click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@training_options
@data_options
@machine_options
def run(data: Path, spelling: tuple[str, ...], **options: Any) -> int:
    """Audit, split, train, export and judge: the whole way from DATA to a report and a bundle.

    DATA is a folder with a subfolder per diagnosis (with Train and Test above
    them, or without), or a CSV or Parquet table.

    \b
    Example:  melascope run photographs --authority official_labels.csv --out RUN
    Killed or stopped?  Repeat the same command with --resume.
    """
    from melascope.training.run import run as whole_way

    with console.progress() as progress:
        result = whole_way(data, spellings=spellings(spelling), progress=progress, on_epoch=console.Epochs(), **options)
    return _told(result)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@training_options
@data_options
@machine_options
def train(data: Path, spelling: tuple[str, ...], **options: Any) -> int:
    """Audit, split and train only; the test part stays closed.

    \b
    Example:  melascope train photographs --recipe plain-cnn --out RUN
    Then:     melascope export RUN, melascope run photographs --out RUN --resume
    Go on:    melascope train photographs --from RUN --epochs 10 --out RUN2
    """
    from melascope.training.run import train as to_weights

    with console.progress() as progress:
        result = to_weights(
            data, spellings=spellings(spelling), progress=progress, on_epoch=console.Epochs(), **options
        )
    return _told(result)


def _told(result: Run) -> int:
    """Print what came out, and return the exit code."""
    summary = result.summary()
    for warning in result.warnings:
        if warning not in summary:
            console.warn(warning)
    console.results.print(summary, markup=False, soft_wrap=True)
    if result.tracked:
        console.results.print(f"MLflow: {result.tracked}", markup=False, soft_wrap=True)
    return console.ended(result.unreadable)
