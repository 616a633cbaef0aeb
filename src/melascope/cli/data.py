"""`melascope data ...`: look at a data set, audit it, split it, pack it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from melascope import environment
from melascope.cli import console
from melascope.cli.run import data_options, machine_options, spellings

protocol_option = click.option(
    "--protocol", type=click.Choice(["clean", "as-filed"]), default="clean", show_default=True, help="Which rows count."
)


@click.group()
def data() -> None:
    """Look at a data set, audit it, split it, pack it."""


@data.command()
@click.argument("data_path", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for what is found.")
@click.option("--json", "as_json", is_flag=True, help="The audit as JSON on stdout.")
@data_options
@machine_options
def audit(data_path: Path, out: Path, as_json: bool, spelling: tuple[str, ...], **options: Any) -> int:
    """Find what is wrong with DATA, and write what may be used.

    Writes audit.json, problems.csv, clean.csv, clean.parquet, excluded.csv and report.html. Changes no photograph.

    \b
    Example:  melascope data audit photographs --authority official_labels.csv --out AUDIT
    """
    from melascope.audit.survey import audit_data

    console.check_folder(out)
    with console.progress() as progress:
        survey = audit_data(data_path, out=out, spellings=spellings(spelling), progress=progress, **options)
    summary = survey.audit.summary()
    if as_json:
        click.echo(json.dumps(summary, indent=1))
        return 1 if survey.unreadable else 0
    console.results.print(f"[bold]{summary['verdict']}[/]")
    for reason in summary["reasons"]:
        console.results.print(f"  {reason}", markup=False, soft_wrap=True)
    table = Table("problem", "groups", "photographs", title=None)
    for kind, found in summary["kinds"].items():
        table.add_row(kind, str(found["groups"]), str(found["images"]))
    console.results.print(table)
    console.results.print(f"Report: {out / 'report.html'}", markup=False, soft_wrap=True)
    return 1 if survey.unreadable else 0


@data.command()
@click.argument("data_path", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write a page with pictures here (HTML file).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random grid.")
@click.option("--json", "as_json", is_flag=True, help="Counts as JSON.")
@data_options
@machine_options
def show(data_path: Path, out: Path | None, seed: int, as_json: bool, spelling: tuple[str, ...], **options: Any) -> int:
    """Show how many photographs there are of what, and how they look.

    \b
    Example:  melascope data show photographs --out data.html
    """
    from melascope.audit.survey import class_counts, show_data

    console.check_file(out)
    with console.progress() as progress:
        survey = show_data(data_path, out=out, seed=seed, spellings=spellings(spelling), progress=progress, **options)
    counts = class_counts(survey.scanned)
    if as_json:
        click.echo(json.dumps(counts, indent=1))
        return 1 if survey.unreadable else 0
    table = Table("diagnosis", *counts["splits"], "all", "share")
    for row in counts["rows"]:
        table.add_row(
            row["name"], *(str(row[split]) for split in counts["splits"]), str(row["all"]), f"{row['share']:.1%}"
        )
    console.results.print(table)
    console.results.print(counts["sentence"], markup=False, soft_wrap=True)
    if out:
        console.results.print(f"Page: {out}", markup=False, soft_wrap=True)
    return 1 if survey.unreadable else 0


@data.command()
@click.argument("data_path", metavar="DATA", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="CSV or Parquet table with the column part (or fold)."
)
@click.option("--folds", type=click.IntRange(2), help="Folds for cross-validation instead of parts.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@protocol_option
@data_options
@machine_options
def split(
    data_path: Path, out: Path, folds: int | None, seed: int, protocol: str, spelling: tuple[str, ...], **options: Any
) -> int:
    """Split DATA into train, tune, calibrate and test (or folds), by photograph, lesion and patient.

    \b
    Example:  melascope data split photographs --out parts.csv
    """
    from melascope.audit.survey import split_data

    console.check_file(out)
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise click.UsageError(f"--out {out}: a table is saved as .csv or .parquet.")
    with console.progress() as progress:
        survey, result = split_data(
            data_path,
            out=out,
            folds_wanted=folds,
            seed=seed,
            protocol=protocol,
            spellings=spellings(spelling),
            progress=progress,
            **options,
        )
    table = Table("diagnosis", *map(str, result.columns))
    for name, row in result.iterrows():
        table.add_row(str(name), *(str(value) for value in row))
    console.results.print(table)
    console.results.print(f"Table: {out}", markup=False, soft_wrap=True)
    return 1 if survey.unreadable else 0


@data.command()
@click.argument("data_path", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--size", type=click.IntRange(16, 2048), default=180, show_default=True, help="Pixels a side.")
@click.option("--geometry", type=click.Choice(["crop", "squash", "pad"]), default="squash", show_default=True)
@data_options
@machine_options
def pack(data_path: Path, size: int, geometry: str, spelling: tuple[str, ...], **options: Any) -> int:
    """Decode DATA once into the packed array that training reads; `run` does this by itself.

    \b
    Example:  melascope data pack photographs --size 180
    """
    from melascope.audit.survey import pack_data

    with console.progress() as progress:
        survey, packed = pack_data(
            data_path, size=size, mode=geometry, spellings=spellings(spelling), progress=progress, **options
        )
    console.results.print(
        f"{len(packed.images)} photographs of {size} x {size} in {environment.cache_folder()}",
        markup=False,
        soft_wrap=True,
    )
    return 1 if survey.unreadable else 0
