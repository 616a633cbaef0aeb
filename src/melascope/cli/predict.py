"""`melascope predict`: what a model says about photographs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from melascope.cli import console
from melascope.cli.about import read_about, unread_ages
from melascope.cli.outputs import BY, ENDINGS, FORMATS, whole, writing
from melascope.cli.tables import (
    codes,
    doubted,
    findings_table,
    first_choices,
    lesions_table,
    of_quality,
    possible,
    rule,
)  # fmt: skip
from melascope.counted import plural

if TYPE_CHECKING:
    from melascope.bundle import OverlayWriter, PrecisionCheck, Predictor, StripWriter
    from melascope.bundle.trained_on import TrainedOn
    from melascope.finding import Finding
    from melascope.progress import Progress

_WIDTH_OF_FILES = 160
FOOTER = "Research use only; not a medical device."
_HEAT = (
    "Heat maps in {folder}: what speaks for melanoma, and for no other cancer; from violet over blue and green to "
    "yellow, with lines at a quarter, a half and three quarters of full heat."
)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), help="The model's file; the installed model by default.")
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="CSV with image_id and lesion_id, and patient_id, age and site where they are known.",
)
@click.option(
    "--by",
    type=click.Choice(BY),
    default=BY[0],
    show_default=True,
    help="A finding for each photograph, or for each lesion of --table.",
)
@click.option(
    "--operating-point",
    "point",
    metavar="NAME",
    help="screening (the default), balanced or rule-in, where the model has it.",
)
@click.option(
    "--prevalence",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of melanoma where you use it, such as 0.02: says what an alert, and a missing one, mean there.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="By default what --out ends in, else a table for people."
)
@click.option("--json", "as_json", is_flag=True, help="Short for --format jsonl: one JSON object per photograph.")
@click.option("--out", type=click.Path(path_type=Path), help="Write there instead of to stdout.")
@click.option(
    "--heatmaps", type=click.Path(path_type=Path), help="Folder for the photographs with heat maps drawn over."
)
@click.option(
    "--neighbours",
    metavar="K",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Similar photographs of known diagnosis to name for each, where the model knows any; 0 for none.",
)
@click.option(
    "--neighbour-images",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder that holds those photographs: draws each one beside its neighbours. May be given several times.",
)
@click.option(
    "--strips", type=click.Path(path_type=Path), help="Folder for these drawings; that of --heatmaps by default."
)
@click.option("--no-quality", is_flag=True, help="Do not judge the photographs' quality: faster, and refers fewer.")
@click.option(
    "--threads", type=click.IntRange(1), envvar="MELASCOPE_THREADS", help="Threads to use; all cores by default."
)
@click.option(
    "--precision",
    type=click.Choice(["f32", "bf16"]),
    default="f32",
    show_default=True,
    help="bf16 is faster on some processors that have it; what it changes is reported.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Photographs per request to the network."
)
def predict(
    paths: tuple[Path, ...],
    bundle: Path | None,
    table: Path | None,
    by: str,
    point: str | None,
    prevalence: float | None,
    form: str | None,
    as_json: bool,
    out: Path | None,
    heatmaps: Path | None,
    neighbours: int,
    neighbour_images: tuple[Path, ...],
    strips: Path | None,
    no_quality: bool,
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
              melascope predict lesion.jpg --neighbour-images ham10000/images --strips STRIPS

    Exit code: 0 all read, 1 some refused, 2 none could be read or bad usage.
    """
    from melascope.bundle import OverlayWriter, PrecisionCheck, Predictor, StripWriter, default_bundle, find
    from melascope.bundle.lesions import lesion_findings

    form = _form(form, as_json, out)
    console.check_folder(heatmaps, "--heatmaps")
    console.check_folder(strips, "--strips")
    strips = _strips(strips, heatmaps, neighbours, neighbour_images)
    if by == "lesion" and table is None:
        raise click.UsageError("--by lesion needs --table, a CSV that says which lesion each photograph shows.")
    about = read_about(table) if table is not None else None
    found = find(paths)
    model = bundle if bundle is not None else default_bundle()
    look = partial(
        Predictor, threads=threads, batch_size=batch_size, operating_point=point, quality=not no_quality,
        prevalence=prevalence,
    )  # fmt: skip
    predictor = look(model, precision=precision, neighbours=neighbours)  # type: ignore[arg-type]
    overlays = None
    if heatmaps is not None and not predictor.has_heatmap:
        console.warn("This model has no heat maps: its network has no pooled head, or knows no melanoma.")
    elif heatmaps is not None:
        overlays = OverlayWriter(heatmaps, predictor.bundle.geometry, found.files)
    drawn = None
    if strips is not None and predictor.bundle.neighbours is None:
        console.warn("This model names no neighbours: its bundle has no neighbours.npz.")
    elif strips is not None:
        drawn = StripWriter(strips, neighbour_images, found.files)
    ages = unread_ages(table, about) if table is not None and about is not None else None
    for note in (*found.notes, *([ages] if ages is not None else [])):
        console.warn(note)

    check = PrecisionCheck(predictor.decider) if precision == "bf16" else None
    tally = _Tally(about or {}, predictor.bundle.trained_on)
    maps = _Maps()
    with console.progress() as progress:
        findings = tally.counted(_findings(predictor, found.files, about, by, overlays, maps, drawn, check, progress))
        told = lesion_findings(findings, predictor.decider) if by == "lesion" else findings
        if form == "table":
            listed = list(told)
        else:
            with writing(form, out, predictor.classes, by) as writer:
                for finding in told:
                    writer.write(finding)
    if form == "table":
        _as_table(listed, predictor, by, out, heatmaps if overlays is not None else None)
    if about is not None and not tally.named:
        console.warn(f"No photograph's image id is in {table}.")
    if tally.refused and form != "table":
        were = "was" if tally.refused == 1 else "were"
        all_of_them = plural(tally.all, "photograph")
        console.warn(f"{tally.refused:,} of {all_of_them} {were} refused; the column error says why.")
    if tally.learnt:
        are = plural(tally.learnt, "photograph is one", "photographs are some")
        console.warn(f"{are} that the model learnt from: what it says of such tells nothing of how good it is.")
    for sentence in maps.sentences():
        console.warn(sentence)
    if drawn is not None and drawn.absent:
        console.warn(
            f"{drawn.absent:,} of {plural(drawn.absent + drawn.shown, 'neighbour')} could not be shown from "
            f"{' '.join(map(str, neighbour_images))}: empty frames."
        )
    if check is not None:
        with console.progress() as progress:
            console.warn(check.compare(look(predictor.bundle, neighbours=0), progress).sentence())
    if tally.refused == tally.all:
        return 2
    return 1 if tally.refused or found.notes else 0


class _Tally:
    """Counts findings on their way."""

    def __init__(self, about: Mapping[str, Any], learnt: TrainedOn | None) -> None:
        self._about, self._learnt = about, learnt.digests if learnt is not None else frozenset()
        self.all = self.refused = self.named = self.learnt = 0

    def counted(self, findings: Iterator[Finding]) -> Iterator[Finding]:
        for finding in findings:
            self.all += 1
            self.refused += finding.status == "refused"
            self.named += finding.image_id in self._about
            self.learnt += finding.sha256 is not None and bytes.fromhex(finding.sha256) in self._learnt
            yield finding


class _Maps:
    """Counts heat maps that show hardly anything, so that they need not be looked through."""

    def __init__(self) -> None:
        self.all = self.faint = 0

    def add(self, finding: Finding) -> None:
        from melascope.bundle.heatmap import is_faint

        if finding.heatmap is None:
            return
        self.all += 1
        self.faint += is_faint(finding.heatmap)

    def sentences(self) -> list[str]:
        if not self.faint:
            return []
        why = "the melanoma risk is below the threshold of an alert, or no place stands out."
        if self.all == 1:
            return [f"The heat map is empty or faint: {why}"]
        of = f"{self.faint:,} of {plural(self.all, 'heat map')}"
        return [f"{of} {'is' if self.faint == 1 else 'are'} empty or faint: {why}"]


def _form(form: str | None, as_json: bool, out: Path | None) -> str:
    if as_json and form not in (None, "jsonl"):
        raise click.UsageError(f"--json and --format {form} contradict each other.")
    chosen = "jsonl" if as_json else form or (ENDINGS.get(out.suffix.lower(), "table") if out is not None else "table")
    if chosen == "parquet" and out is None:
        raise click.UsageError("Parquet is not for a terminal; say where to with --out FILE.")
    console.check_file(out)
    return chosen


def _strips(strips: Path | None, heatmaps: Path | None, neighbours: int, images: tuple[Path, ...]) -> Path | None:
    """Return the folder for drawings of neighbours, or None where none are asked for."""
    if not images:
        if strips is not None:
            raise click.UsageError("--strips needs --neighbour-images, a folder with the neighbours' photographs.")
        return None
    if not neighbours:
        raise click.UsageError("--neighbour-images and --neighbours 0 contradict each other.")
    if strips is None and heatmaps is None:
        raise click.UsageError("--neighbour-images needs --strips or --heatmaps, the folder to draw into.")
    return strips if strips is not None else heatmaps


def _findings(
    predictor: Predictor,
    files: Sequence[Path],
    about: Mapping[str, Mapping[str, Any]] | None,
    by: str,
    overlays: OverlayWriter | None,
    maps: _Maps,
    drawn: StripWriter | None,
    check: PrecisionCheck | None,
    progress: Progress,
) -> Iterator[Finding]:
    progress("predicting", 0, len(files))
    looked = predictor.predict(files, overlays is not None, about, embeddings=by == "lesion")
    for done, finding in enumerate(looked, 1):
        if overlays is not None:
            overlays.write(finding)
            maps.add(finding)
            finding = replace(finding, heatmap=None)  # a table holds all findings at once
        if drawn is not None:
            drawn.write(finding)
        if check is not None:
            check.add(finding)
        progress("predicting", done, len(files))
        yield finding


def _as_table(findings: list[Any], predictor: Predictor, by: str, out: Path | None, maps: Path | None) -> None:
    decider = predictor.decider
    terminal = out is None and console.results.is_terminal
    width = console.results.width if terminal else None
    drawn = [_HEAT.format(folder=maps)] if maps is not None else []
    below = [
        *doubted(findings),
        *of_quality(findings),
        *drawn,
        *codes(findings, width),
        *possible(findings, width, decider.always_possible),
        *first_choices(findings),
    ]
    if by == "lesion":
        shown = lesions_table(findings, width)
        why = [decider.lesion_reason] if decider.lesion_reason else []
        lines = [*below, *rule(decider.lesion_points.values()), *why, FOOTER]
    else:
        shown = findings_table(findings, width)
        lines = [*below, *rule(decider.points.values()), FOOTER]
    if terminal:
        console.results.print(shown)
        for line in lines:
            console.results.print(line, style="dim", markup=False, emoji=False)
        return
    from rich.console import Console

    text = io.StringIO()
    # A file has no width to keep to, and a name cut in two cannot be searched for.
    page = Console(width=_WIDTH_OF_FILES, file=text, highlight=False)
    page.print(shown)
    for line in lines:
        page.print(line, markup=False, emoji=False, soft_wrap=True)
    if out is None:
        click.echo(text.getvalue(), nl=False)
        return
    with whole(out) as stream:
        stream.write(text.getvalue().encode())
