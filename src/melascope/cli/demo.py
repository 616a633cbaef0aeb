"""`melascope demo`: the main job on generated lesions."""

from __future__ import annotations

from pathlib import Path

import click

from melascope.cli import console
from melascope.cli.run import machine_options


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder for everything."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@machine_options
def demo(out: Path, seed: int) -> int:
    """Train, judge, export and use a detector on generated lesions, in under five minutes.

    The same code as for real photographs; only the photographs are drawn. Run it again to go on where it was stopped.

    \b
    Example:  melascope demo --out DEMO
    """
    from melascope.cli.tables import findings_table
    from melascope.training.demo import demo as whole_demo

    with console.progress() as progress:
        result = whole_demo(out, seed=seed, progress=progress, on_epoch=console.Epochs())
    console.results.print(findings_table(result.findings, console.results.width))
    console.results.print(result.run.summary(), markup=False, soft_wrap=True)
    console.results.print(f"Heat maps: {result.heatmaps}", markup=False, soft_wrap=True)
    console.results.print("These lesions are drawn: the numbers say nothing about patients.")
    return 0
