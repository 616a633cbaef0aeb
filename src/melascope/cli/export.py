"""`melascope export`: a run's bundle, without opening its test part."""

from __future__ import annotations

from pathlib import Path

import click

from melascope.cli import console
from melascope.cli.run import machine_options


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@machine_options
def export(run: Path) -> None:
    """Export and calibrate the trained network of RUN as RUN/model.melascope.

    The exported file is compared with the trained network and refused beyond 0.001 in probability.

    \b
    Example:  melascope export RUN
    """
    from melascope.training.run import export as to_bundle

    with console.progress() as progress:
        bundle = to_bundle(run, progress=progress)
    console.results.print(f"Bundle: {bundle}", markup=False, soft_wrap=True)
