"""`melascope evaluate`: judge a bundle on labelled photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from melascope.cli import console
from melascope.cli.run import data_options, machine_options, spellings


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), help="The bundle; the installed model by default.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for metrics.json and report.html.")
@click.option(
    "--protocol", type=click.Choice(["clean", "as-filed"]), default="clean", show_default=True, help="Which rows count."
)
@click.option(
    "--prevalence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of melanoma where it is used, for PPV, NPV and decision curve.",
)
@click.option("--json", "as_json", is_flag=True, help="The metrics as JSON on stdout.")
@data_options
@machine_options
def evaluate(
    data: Path, bundle: Path | None, out: Path, as_json: bool, spelling: tuple[str, ...], **options: Any
) -> int:
    """Judge a bundle on DATA: every photograph counts as test.

    Photographs that the bundle was trained on are left out of the headline and counted.

    \b
    Example:  melascope evaluate clinic_b --bundle RUN/model.melascope --out EXAM
    """
    from melascope.evaluation.exam import evaluate_data

    console.check_folder(out)
    with console.progress() as progress:
        exam = evaluate_data(data, bundle=bundle, out=out, spellings=spellings(spelling), progress=progress, **options)
    if as_json:
        click.echo(json.dumps(exam.metrics, indent=1, allow_nan=False))
    else:
        console.results.print(exam.summary(), markup=False, soft_wrap=True)
    return 1 if exam.unreadable else 0
