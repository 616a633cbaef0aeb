"""`melascope predict`: what a model says about photographs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from melascope.cli import console
from melascope.cli.outputs import ENDINGS, FORMATS, findings_table, rule, whole, writing
from melascope.counted import plural
from melascope.errors import DataError

if TYPE_CHECKING:
    from melascope.bundle import OverlayWriter, PrecisionCheck, Predictor
    from melascope.finding import Finding
    from melascope.progress import Progress

_WIDTH_OF_FILES = 160
FOOTER = "Research use only; not a medical device."


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), help="The model's file; the installed model by default.")
@click.option("--table", type=click.Path(path_type=Path), help="CSV with image_id and lesion_id, to name the lesions.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="By default what --out ends in, else a table for people."
)
@click.option("--json", "as_json", is_flag=True, help="Short for --format jsonl: one JSON object per photograph.")
@click.option("--out", type=click.Path(path_type=Path), help="Write there instead of to stdout.")
@click.option(
    "--heatmaps", type=click.Path(path_type=Path), help="Folder for the photographs with heat maps drawn over."
)
@click.option(
    "--threads", type=click.IntRange(1), envvar="MELASCOPE_THREADS", help="Threads to use; all cores by default."
)
@click.option(
    "--precision",
    type=click.Choice(["f32", "bf16"]),
    default="f32",
    show_default=True,
    help="bf16 is faster where the processor has it; what it changes is reported.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Photographs per request to the network."
)
def predict(
    paths: tuple[Path, ...],
    bundle: Path | None,
    table: Path | None,
    form: str | None,
    as_json: bool,
    out: Path | None,
    heatmaps: Path | None,
    threads: int | None,
    precision: str,
    batch_size: int,
) -> int:
    """Say for each photograph whether it alerts, and why.

    PATH is a file, a folder (searched with its subfolders) or a pattern. A
    file that cannot be read is refused with a reason, and the rest goes on.

    \b
    Example:  melascope predict lesions/ --bundle RUN/model.melascope --heatmaps MAPS
              melascope predict "lesions/*.jpg" --format csv --out findings.csv

    Exit code: 0 all read, 1 some refused, 2 none could be read or bad usage.
    """
    from melascope.bundle import OverlayWriter, PrecisionCheck, Predictor, default_bundle, find

    form = _form(form, as_json, out)
    console.check_folder(heatmaps, "--heatmaps")
    lesions = _lesions(table) if table is not None else None
    found = find(paths)
    predictor = Predictor(bundle if bundle is not None else default_bundle(), threads, precision, batch_size)  # type: ignore[arg-type]
    overlays = None
    if heatmaps is not None and not predictor.has_heatmap:
        console.warn("This model has no heat maps: its network has no pooled head, or knows no melanoma.")
    elif heatmaps is not None:
        overlays = OverlayWriter(heatmaps, predictor.bundle.geometry, found.files)
    for note in found.notes:
        console.warn(note)

    check = PrecisionCheck(predictor.decider) if precision == "bf16" else None
    tally = _Tally()
    with console.progress() as progress:
        findings = tally.counted(_findings(predictor, found.files, lesions, overlays, check, progress))
        if form == "table":
            listed = list(findings)
        else:
            with writing(form, out, predictor.classes) as writer:
                for finding in findings:
                    writer.write(finding)
    if form == "table":
        _as_table(listed, predictor, out)
    if lesions is not None and not tally.named:
        console.warn(f"No photograph's image id is in {table}.")
    if tally.refused and form != "table":
        were = "was" if tally.refused == 1 else "were"
        all_of_them = plural(tally.all, "photograph")
        console.warn(f"{tally.refused:,} of {all_of_them} {were} refused; the column error says why.")
    if check is not None:
        with console.progress() as progress:
            exact = Predictor(predictor.bundle, threads, "f32", batch_size)
            console.warn(check.compare(exact, progress).sentence())
    if tally.refused == tally.all:
        return 2
    return 1 if tally.refused or found.notes else 0


class _Tally:
    """Counts findings on their way."""

    def __init__(self) -> None:
        self.all = self.refused = self.named = 0

    def counted(self, findings: Iterator[Finding]) -> Iterator[Finding]:
        for finding in findings:
            self.all += 1
            self.refused += finding.status == "refused"
            self.named += finding.lesion_id is not None
            yield finding


def _form(form: str | None, as_json: bool, out: Path | None) -> str:
    if as_json and form not in (None, "jsonl"):
        raise click.UsageError(f"--json and --format {form} contradict each other.")
    chosen = "jsonl" if as_json else form or (ENDINGS.get(out.suffix.lower(), "table") if out is not None else "table")
    if chosen == "parquet" and out is None:
        raise click.UsageError("Parquet is not for a terminal; say where to with --out FILE.")
    console.check_file(out)
    return chosen


def _findings(
    predictor: Predictor,
    files: Sequence[Path],
    lesions: dict[str, str] | None,
    overlays: OverlayWriter | None,
    check: PrecisionCheck | None,
    progress: Progress,
) -> Iterator[Finding]:
    progress("predicting", 0, len(files))
    for done, finding in enumerate(predictor.predict(files, heatmaps=overlays is not None), 1):
        if lesions is not None and finding.image_id in lesions:
            finding = replace(finding, lesion_id=lesions[finding.image_id])
        if overlays is not None:
            overlays.write(finding)
            finding = replace(finding, heatmap=None)  # a table holds all findings at once
        if check is not None:
            check.add(finding)
        progress("predicting", done, len(files))
        yield finding


def _as_table(findings: list[Finding], predictor: Predictor, out: Path | None) -> None:
    lines = [*rule(predictor.decider.points.values()), FOOTER]
    if out is None and console.results.is_terminal:
        console.results.print(findings_table(findings))
        for line in lines:
            console.results.print(line, style="dim", markup=False, soft_wrap=True)
        return
    from rich.console import Console

    text = io.StringIO()
    # A file has no width to keep to, and a name cut in two cannot be searched for.
    page = Console(width=_WIDTH_OF_FILES, file=text, highlight=False)
    page.print(findings_table(findings))
    for line in lines:
        page.print(line, markup=False, soft_wrap=True)
    if out is None:
        click.echo(text.getvalue(), nl=False)
        return
    with whole(out) as stream:
        stream.write(text.getvalue().encode())


def _lesions(table: Path) -> dict[str, str]:
    """Read which lesion each photograph shows: canonical image id to lesion id."""
    from melascope.image_id import canonical_id
    from melascope.spreadsheet import unquoted

    found: dict[str, str] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"image_id", "lesion_id"}.difference(reader.fieldnames or ())
            if missing:
                raise DataError(f"{table} has no column {' and no column '.join(sorted(missing))}.")
            for line in reader:
                if not line["image_id"] or not line["lesion_id"]:
                    continue
                image_id, lesion = canonical_id(unquoted(line["image_id"])), unquoted(line["lesion_id"])
                if found.setdefault(image_id, lesion) != lesion:
                    raise DataError(
                        f"{table} gives {image_id} two lesions, {found[image_id]} and {lesion} "
                        f"(line {reader.line_num}); a photograph shows one."
                    )
    except FileNotFoundError:
        raise DataError(f"{table} does not exist.") from None
    except UnicodeDecodeError:
        raise DataError(f"{table} is not text in UTF-8; save it again as a CSV in UTF-8.") from None
    except IsADirectoryError:
        raise DataError(f"{table} is a folder where a CSV table is needed.") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a CSV table ({error}).") from None
    return found
