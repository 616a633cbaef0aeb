"""`melascope data balance`: copies of photographs for rare diagnoses, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from melascope import environment
from melascope.cli import console
from melascope.cli.run import data_options, machine_options, spellings

if TYPE_CHECKING:
    from melascope.datasets.balanced import Mode
    from melascope.datasets.official import Official


@click.command()
@click.argument("data_path", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the copies and the table.")
@click.option("--per-class", type=click.IntRange(1), default=500, show_default=True, help="See --add and --up-to.")
@click.option("--add", is_flag=True, help="Give each diagnosis so many copies (the default).")
@click.option("--up-to", is_flag=True, help="Fill each diagnosis up to so many photographs.")
@click.option(
    "--in-proportion",
    is_flag=True,
    help="As many copies in all as --add, but of all photographs alike: no ratio between diagnoses changes.",
)
@click.option("--turn", type=click.FloatRange(0, 45), default=10.0, show_default=True, help="Largest turn, in degrees.")
@click.option(
    "--probability", type=click.FloatRange(0, 1), default=0.7, show_default=True, help="That a copy is turned at all."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draw.")
@click.option("--json", "as_json", is_flag=True, help="What was made, as JSON.")
@data_options
@machine_options
def balance(
    data_path: Path, out: Path, spelling: tuple[str, ...], as_json: bool, images: Path | None,
    authority: tuple[Path, ...], add: bool, up_to: bool, in_proportion: bool, **how: Any,
) -> int:  # fmt: skip
    """Write copies of DATA's photographs, turned by a few degrees, for tools that need balanced files.

    Only photographs outside Test get copies. OUT holds copies only: the originals stay where they are, and
    OUT/table.csv lists both, each copy with its source in copy_of, so that no split of ours parts them (but the
    protocol as-published, on purpose). To use the set, give that table, not the folder. The protocol clean counts a
    photograph and its copies once, and so trains on no copy: Melascope itself balances while it trains, by the
    [balance] section of a recipe. With --authority photographs are counted, copied and listed under their official
    diagnoses; the protocol as-filed goes back to the filed ones. Stopped at any moment, the same command goes on.

    \b
    Example:  melascope data balance photographs --per-class 500 --out BALANCED
    """
    from melascope.datasets import read, scan
    from melascope.datasets.balanced import Balancing
    from melascope.datasets.balanced_files import write_copies, write_tables
    from melascope.datasets.groups import copies_of
    from melascope.datasets.official import by_authority

    console.check_folder(out)
    if data_path.is_dir() and data_path.resolve() in (out.resolve(), *out.resolve().parents):
        raise click.UsageError(f"--out {out} is inside {data_path}; copies there would become a part of it.")
    settings = Balancing(mode=_mode(add, up_to, in_proportion), **how)
    threads = environment.threads()
    with console.progress() as progress:
        table = scan(read(data_path, images, authority, spellings(spelling)), threads=threads, progress=progress)
        official = by_authority(table) if authority else None
        table = table if official is None else official.table
        sources = table if official is None else table[official.settled].reset_index(drop=True)
        copies = write_copies(sources, out, settings, threads=threads, progress=progress)
    csv, _ = write_tables(table, copies, out)
    unreadable = int(table["error_kind"].notna().sum())
    earlier = int(copies_of(table).notna().sum())
    told = {**_told(sources, copies), "originals": len(table) - earlier, "earlier_copies": earlier}
    if official is not None:
        told["authority"] = _by_authority(official)
    if as_json:
        click.echo(json.dumps({"settings": settings.to_json(), "table": str(csv), **told}, indent=1))
    else:
        _print(told, csv, out)
    return console.ended(unreadable)


def _mode(add: bool, up_to: bool, in_proportion: bool) -> Mode:
    modes: dict[Mode, bool] = {"add": add, "up-to": up_to, "in-proportion": in_proportion}
    chosen = [mode for mode, wanted in modes.items() if wanted]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(f'--{mode}' for mode in chosen)} contradict each other; give one.")
    return chosen[0] if chosen else "add"


def _told(table: Any, copies: Any) -> dict[str, Any]:
    from melascope import diagnosis
    from melascope.datasets.balanced import may_be_copied

    before, made = table.loc[may_be_copied(table), "diagnosis"].value_counts(), copies["diagnosis"].value_counts()
    rows = [
        {"code": code, "photographs": int(before[code]), "copies": int(made.get(code, 0))}
        for code in diagnosis.ordered(before.index)
    ]
    return {"diagnoses": rows, "copies": len(copies), "unturned": int((copies["degrees"] == 0).sum())}


def _by_authority(official: Official) -> dict[str, int]:
    """Count the photographs that stand otherwise than filed, and of those to train on the ones that get no copies."""
    from melascope.datasets.balanced import may_be_copied
    from melascope.datasets.groups import copies_of

    may, original = may_be_copied(official.table), copies_of(official.table).isna().to_numpy(dtype=bool)
    return {
        "filed_otherwise": int((official.otherwise & original).sum()),
        "contradicted": int((official.contradicted & may).sum()),
        "too_coarse": int((official.too_coarse & may).sum()),
    }


def _of_authority(told: dict[str, int]) -> list[str]:
    """Return in words what the authority changed."""
    from melascope.counted import plural

    stand = plural(told["filed_otherwise"], "photograph stands", "photographs stand")
    found = [
        f"{stand} under another diagnosis than filed: the authority's, by which copies are made too."
        if told["filed_otherwise"]
        else "The authority contradicts no filed diagnosis."
    ]
    if told["contradicted"]:
        those = plural(told["contradicted"], "photograph gets", "photographs get")
        found.append(f"{those} no copies: the labels contradict each other, and the authority does not decide.")
    if told["too_coarse"]:
        those = plural(told["too_coarse"], "photograph gets", "photographs get")
        found.append(
            f"{those} no copies: the official diagnosis is coarser than those that the set is filed under, and does "
            "not say which."
        )
    return found


def _print(told: dict[str, Any], csv: Path, out: Path) -> None:
    from melascope import diagnosis
    from melascope.counted import plural

    shown = Table("diagnosis", "photographs to train on", "copies", "together")
    for row in told["diagnoses"]:
        together = row["photographs"] + row["copies"]
        shown.add_row(diagnosis.name(row["code"]), f"{row['photographs']:,}", f"{row['copies']:,}", f"{together:,}")
    console.results.print(shown)
    kept, lists = plural(told["originals"], "original stays", "originals stay") + " elsewhere", "both"
    if told["earlier_copies"]:
        kept += f", and {plural(told['earlier_copies'], 'copy', 'copies')} of an earlier balancing"
        lists = "all of them"
    sentences = [
        f"{told['unturned']:,} of {plural(told['copies'], 'copy is', 'copies are')} not turned: the very same pixels "
        "as the source.",
        "Split before you train elsewhere, and by the table: a copy in validation of a photograph in training makes "
        "every figure too good.",
        *(_of_authority(told["authority"]) if "authority" in told else ()),
        f"{out} holds the copies only; {kept}. The table lists {lists}: give that, not the folder.",
        f"Table: {csv}",
    ]
    for sentence in sentences:
        console.results.print(sentence, markup=False, soft_wrap=True)


__all__ = ["balance"]
