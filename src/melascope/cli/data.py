"""`melascope data ...`: fetch a data set, look at it, audit it, split it, pack it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from melascope import environment
from melascope.cli import console
from melascope.cli.balance import balance
from melascope.cli.fetch import fetch
from melascope.cli.run import data_options, machine_options, spellings
from melascope.counted import plural

# The names of `audit.verdict.KINDS`, which would import pandas for a mere --help; a test compares them.
KINDS = (
    "unreadable",
    "byte_identical",
    "same_photograph",
    "id_conflict",
    "authority_conflict",
    "photograph_leak",
    "lesion_leak",
    "lesion_repeat",
    "other_set_leak",
    "shortcut",
    "outlier",
    "imbalance",
    "personal_data",
    "label_suspect",
)

MOST_COLUMNS = 10
WRITTEN = ("audit.json", "problems.csv", "clean.csv", "clean.parquet", "audited.parquet", "excluded.csv", "report.html")
"""What an audit writes into its folder."""

protocol_option = click.option(
    "--protocol", type=click.Choice(["clean", "as-filed"]), default="clean", show_default=True, help="Which rows count."
)


@click.group()
def data() -> None:
    """Fetch a data set, look at it, audit it, split it, pack it."""


data.add_command(fetch)
data.add_command(balance)


@data.command()
@click.argument("data_path", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for what is found.")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Another data set, or a bundle, of which nothing may stand in DATA; repeatable.",
)
@click.option(
    "--against-images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of the photographs of such a set, where it is a table; repeatable.",
)
@click.option("--policy", type=click.Path(path_type=Path), help="TOML: which problem excludes, which only warns.")
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(sorted(KINDS)),
    help="Exit with 1 where there is such a problem; repeatable.",
)
@click.option(
    "--suspects/--no-suspects",
    default=True,
    show_default=True,
    help="Look for diagnoses that may be wrong, by a quick model trained on the other photographs.",
)
@click.option("--predictions", type=click.Path(path_type=Path), help="Use this run's predictions for that.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Use this bundle's view of each photograph for that.")
@click.option("--json", "as_json", is_flag=True, help="The audit as JSON on stdout.")
@data_options
@machine_options
def audit(
    data_path: Path, out: Path, as_json: bool, spelling: tuple[str, ...], fail_on: tuple[str, ...], **options: Any
) -> int:
    """Find what is wrong with DATA, and write what may be used.

    Writes audit.json, problems.csv, clean.csv, clean.parquet, excluded.csv and report.html. Changes no photograph.

    \b
    Example:  melascope data audit photographs --authority official_labels.csv --out AUDIT
    """
    from melascope.audit.survey import Looking, audit_data

    console.check_folder(out)
    for target in (out, *(out / name for name in WRITTEN)):
        _spare(target, data_path, *options["authority"], *options["against"])
    if "other_set_leak" in fail_on and not options["against"]:
        raise click.UsageError("--fail-on other_set_leak: there is nothing to compare with; give --against.")
    if "authority_conflict" in fail_on and not options["authority"]:
        raise click.UsageError("--fail-on authority_conflict: there is nothing to compare with; give --authority.")
    if "label_suspect" in fail_on and not options["suspects"]:
        raise click.UsageError("--fail-on label_suspect: it is not looked for; take --no-suspects away.")
    names = ("against", "against_images", "policy", "suspects", "predictions", "bundle")
    looking = Looking(**{name: options.pop(name) for name in names})
    with console.progress() as progress:
        survey = audit_data(
            data_path, out=out, spellings=spellings(spelling), looking=looking, progress=progress, **options
        )
    failing = [kind for kind in fail_on if (survey.audit.problems["kind"] == kind).any()]
    if as_json:
        click.echo((out / "audit.json").read_text(encoding="utf-8"))
    else:
        _print_audit(json.loads((out / "audit.json").read_text(encoding="utf-8")), out)
    if failing:
        console.warn(f"Found, and not wanted: {', '.join(failing)} (--fail-on).")
    return 1 if failing or survey.unreadable else 0


def _spare(out: Path | None, *inputs: Path | None) -> None:
    """Refuse an output that would overwrite what is read."""
    if out is not None and any(given is not None and out.resolve() == given.resolve() for given in inputs):
        raise click.UsageError(f"{out} is read by this command; write to another place.")


def _print_audit(summary: dict[str, Any], out: Path) -> None:
    console.results.print(f"[bold]{summary['verdict']}[/]")
    for reason in summary["reasons"]:
        console.results.print(f"  {reason}", markup=False, soft_wrap=True)
    table = Table("problem", "groups", "photographs", "leads to", title=None)
    for kind, found in summary["kinds"].items():
        counts = (str(found["groups"]), str(found["images"])) if found["looked_for"] else ("not looked for", "")
        table.add_row(kind, *counts, found["action"])
    console.results.print(table)
    console.results.print(f"Report: {out / 'report.html'}", markup=False, soft_wrap=True)


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
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"--out {out}: a page is saved as .html.")
    with console.progress() as progress:
        survey = show_data(data_path, out=out, seed=seed, spellings=spellings(spelling), progress=progress, **options)
    counts = class_counts(survey.scanned)
    if as_json:
        click.echo(json.dumps(counts, indent=1))
        return console.ended(survey.unreadable)
    table = Table("diagnosis", *counts["splits"], "all", "share")
    for row in counts["rows"]:
        table.add_row(
            row["name"], *(str(row[split]) for split in counts["splits"]), str(row["all"]), f"{row['share']:.1%}"
        )
    console.results.print(table)
    console.results.print(counts["sentence"], markup=False, soft_wrap=True)
    if out:
        console.results.print(f"Page: {out}", markup=False, soft_wrap=True)
    return console.ended(survey.unreadable)


@data.command()
@click.argument("data_paths", metavar="DATA...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="CSV or Parquet table with the column part (or fold)."
)
@click.option("--folds", type=click.IntRange(2), help="Folds for cross-validation instead of parts.")
@click.option(
    "--fraction",
    "fractions",
    multiple=True,
    metavar="PART=SHARE",
    help="Share of a part; give one for each part wanted, such as --fraction train=0.8 --fraction test=0.2.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="An earlier table or fold file: what stands there stays where it is, only what is new is placed.",
)
@click.option("--ids", type=click.Path(path_type=Path), help="Write a fold file (ids only) here as well.")
@click.option("--audit", type=click.Path(path_type=Path), help="Folder in which data audit has proved these data.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@protocol_option
@click.option("--json", "as_json", is_flag=True, help="How it came out, as JSON.")
@data_options
@machine_options
def split(
    data_paths: tuple[Path, ...],
    out: Path,
    folds: int | None,
    fractions: tuple[str, ...],
    ids: Path | None,
    audit: Path | None,
    as_json: bool,
    spelling: tuple[str, ...],
    **options: Any,
) -> int:
    """Split DATA into train, tune, calibrate and test (or folds), by photograph, lesion and patient.

    Several DATA are split as one. A page that shows how balanced it came out is written beside the table.

    \b
    Example:  melascope data split photographs --out parts.csv
              melascope data split photographs --folds 5 --out folds.csv
    """
    from melascope.audit.splitting import split_data
    from melascope.audit.survey import Looking

    for target in (out, ids):
        console.check_file(target)
        _spare(target, *data_paths, *options["authority"], options["keep"])
        if target is not None and target.suffix.lower() not in (".csv", ".parquet"):
            raise click.UsageError(f"{target}: a table is saved as .csv or .parquet.")
    _spare(out, ids)
    if folds is not None and fractions:
        raise click.UsageError("--folds and --fraction exclude each other.")
    with console.progress() as progress:
        survey, result = split_data(
            data_paths if len(data_paths) > 1 else data_paths[0],
            out=out,
            folds_wanted=folds,
            fractions=_fractions(fractions),
            ids=ids,
            looking=Looking(audit=audit),
            spellings=spellings(spelling),
            progress=progress,
            **options,
        )
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
        return console.ended(survey.unreadable)
    # Beyond what fits beside each other, a row for each fold.
    shown = result.counts if len(result.counts.columns) <= MOST_COLUMNS else result.counts.T
    table = Table("diagnosis" if shown is result.counts else "", *map(str, shown.columns))
    table.columns[0].no_wrap = True
    for name, row in shown.iterrows():
        table.add_row(str(name), *(str(value) for value in row))
    console.results.print(table)
    for sentence in result.sentences:
        console.results.print(sentence, markup=False, soft_wrap=True)
    console.results.print(f"Table: {out}", markup=False, soft_wrap=True)
    console.results.print(f"Page: {result.page}", markup=False, soft_wrap=True)
    return console.ended(survey.unreadable)


def _fractions(pairs: tuple[str, ...]) -> dict[str, float] | None:
    result = {}
    for pair in pairs:
        part, _, share = pair.partition("=")
        if part.strip() in result:
            raise click.UsageError(f"--fraction {part.strip()} is given twice.")
        try:
            result[part.strip()] = float(share)
        except ValueError:
            raise click.UsageError(f'--fraction "{pair}" is not of the form PART=SHARE, such as test=0.2.') from None
    return result or None


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
        f"{plural(len(packed.images), 'photograph')} of {size} x {size} in {environment.cache_folder()}",
        markup=False,
        soft_wrap=True,
    )
    return console.ended(survey.unreadable)
