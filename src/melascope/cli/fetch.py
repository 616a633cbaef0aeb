"""`melascope data fetch`: a set from the ISIC Archive, with its metadata and licences."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from melascope.cli import console
from melascope.counted import plural

if TYPE_CHECKING:
    from melascope.datasets.archive import Plan
    from melascope.progress import Progress

_SHOWN = 10


@click.command()
@click.argument("name", required=False)
@click.option("--collection", type=click.IntRange(1), metavar="ID", help="A collection's number, instead of NAME.")
@click.option("--search", default="", metavar="QUERY", help='Such as "age_approx:[20 TO 40] AND sex:male".')
@click.option("--ids", type=click.Path(path_type=Path), help="CSV with image_id, and perhaps diagnosis and split.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to fetch into.")
@click.option("--limit", type=click.IntRange(1), help="At most so many photographs.")
@click.option("--size", type=click.Choice(["full", "thumbnail"]), default="full", show_default=True)
@click.option(
    "--connections", type=click.IntRange(1, 16), default=8, show_default=True, help="Photographs fetched at a time."
)
@click.option("--yes", is_flag=True, help="Do not ask before fetching.")
@click.option("--server", envvar="MELASCOPE_ARCHIVE", metavar="URL", help="Another address of the archive's API.")
def fetch(out: Path, yes: bool, server: str | None, **options: Any) -> int:
    """Fetch a set from the ISIC Archive: photographs, metadata, licences.

    NAME is ham10000, isic9, isic2016, isic2017, isic2019, isic2020, or any collection's name. Nothing is fetched
    twice: repeat a command that was stopped, and it goes on.

    \b
    Example:  melascope data fetch ham10000 --out HAM10000
    Then:     melascope data audit HAM10000/metadata.csv --out AUDIT
    """
    from melascope.datasets.archive import SERVER
    from melascope.datasets.archive import fetch as fetch_set

    console.check_folder(out)
    bars = _Bars()
    with bars:

        def before(plan: Plan) -> None:
            # Someone who goes on with a fetch has agreed to it before, and where nobody sits nobody can.
            if not yes and not plan.begun and sys.stdin.isatty():
                bars.close()
                text = f"Fetch {plural(plan.missing, 'photograph')}, {plan.missing_bytes / 1e9:,.2f} GB, into {out}?"
                click.confirm(text, default=True, abort=True, err=True)

        fetched = fetch_set(out, **options, server=server or SERVER, before=before, progress=bars)
    for note in fetched.notes:
        console.warn(note)
    for name, reason in fetched.failed[:_SHOWN]:
        console.say(f"{name or 'unnamed'}: {reason}")
    if len(fetched.failed) > _SHOWN:
        console.say(f"... and {len(fetched.failed) - _SHOWN:,} more")
    console.results.print(fetched.summary(), markup=False, soft_wrap=True)
    if fetched.fetched + fetched.kept:
        console.results.print(f"Table: {out / 'metadata.csv'}", markup=False, soft_wrap=True)
    return 1 if fetched.failed or fetched.fetched + fetched.kept < fetched.wanted else 0


class _Bars(contextlib.ExitStack):
    """Progress that can be put away for a question, and comes back with the next report."""

    def __init__(self) -> None:
        super().__init__()
        self._show: Progress | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._show is None:
            self._show = self.enter_context(console.progress())
        self._show(stage, done, total)

    def close(self) -> None:
        """Put it away."""
        super().close()
        self._show = None
