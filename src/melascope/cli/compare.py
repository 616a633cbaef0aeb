"""`melascope compare`: runs side by side, with paired tests."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from melascope.cli import console


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write a page here (HTML file).")
@click.option(
    "--part",
    type=click.Choice(["test", "calibrate", "tune"]),  # evaluation.compare.PARTS, which would import pandas
    default="test",
    show_default=True,
    help="Photographs to compare on: tune or calibrate to choose a run, so that test is looked at once.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def compare(runs: tuple[Path, ...], out: Path | None, part: str, as_json: bool) -> None:
    """Put RUNS side by side; differences are paired on the lesions that they share.

    With --part tune, or calibrate where there is no tune part, a run that is trained
    and exported is enough: choose among such runs, and open the test part of the
    chosen one alone.

    \b
    Example:  melascope compare RUN_A RUN_B --out compared.html
    Choose:   melascope train photographs --out RUN_A, melascope export RUN_A, the same for
              RUN_B, then melascope compare RUN_A RUN_B --part tune
    """
    from melascope.evaluation.compare import compare as put_together
    from melascope.reports.compare_report import paired, side_by_side

    console.check_file(out)
    with console.progress() as progress:
        comparison = put_together(list(runs), part=part, progress=progress)
    if out is not None:
        from melascope.reports import compare_report

        partial = out.with_name(f".{out.name}.partial")
        partial.write_text(compare_report(comparison), encoding="utf-8")
        partial.replace(out)
    if as_json:
        click.echo(json.dumps(comparison.to_json(), indent=1, allow_nan=False))
        return
    for columns, *rows in (side_by_side(comparison.runs), paired(comparison.differences)):
        # A run may be called anything, brackets included.
        table = Table(*map(escape, columns))
        for row in rows:
            table.add_row(*map(escape, row))
        console.results.print(table)
    for note in comparison.notes:
        console.results.print(note, markup=False, soft_wrap=True)
    if out is not None:
        console.results.print(f"Page: {out}", markup=False, soft_wrap=True)
