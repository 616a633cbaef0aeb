"""Fetching a set from the ISIC Archive: photographs, metadata, licences and whom to name.

The list is read first, then the space is checked, then photographs are
fetched. Whatever is interrupted goes on when it is repeated. Needs the network;
nothing else in Melascope does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from melascope.counted import plural
from melascope.datasets.archive_download import adopt, check_space, download, each_of
from melascope.datasets.archive_folder import Folder
from melascope.datasets.archive_http import ArchiveError, Client, Patience
from melascope.datasets.archive_records import ID, KNOWN, SIZES, Archive, Collection
from melascope.datasets.labels import normalise, read_cells
from melascope.errors import DataError
from melascope.progress import Progress, silent

SERVER = "https://api.isic-archive.com/api/v2/"
"""The archive's public API."""

MOST_CONNECTIONS = 16
# What a photograph takes where the archive does not say: about the mean of ISIC 2019.
_TYPICAL_BYTES = 400_000


@dataclass(frozen=True)
class Fetched:
    """What a fetch brought.

    Attributes:
        folder: Where it stands: `images/`, `metadata.csv`, `licences.csv`, `ATTRIBUTION.md`.
        wanted: How many photographs were asked for.
        fetched: How many arrived now.
        kept: How many were there already.
        failed: The id and the reason of each that is missing.
        notes: Sentences for the user.
    """

    folder: Path
    wanted: int
    fetched: int
    kept: int
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return what happened in a sentence or two."""
        here = self.fetched + self.kept
        text = f"{here:,} of {plural(self.wanted, 'photograph')} {'is' if here == 1 else 'are'} in {self.folder}"
        text += f" ({plural(self.kept, 'was', 'were')} there already)." if self.kept else "."
        if self.failed:
            text += (
                f" {len(self.failed):,} could not be fetched: see {self.folder / 'failed.csv'}, or repeat the command."
            )
        return text


@dataclass(frozen=True)
class Plan:
    """What is about to be fetched, for a person to agree to.

    Attributes:
        title: Of the set.
        wanted: How many photographs.
        missing: How many of them are not in the folder.
        missing_bytes: How much those are, as far as the archive says.
        begun: Whether some of it was fetched before.
    """

    title: str
    wanted: int
    missing: int
    missing_bytes: int
    begun: bool


ISIC9 = Path(__file__).parent / "folds" / "isic9-filed.csv"
"""The nine-class set that hundreds of projects train on: its ids, and the diagnoses and sides it is filed under."""


def fetch(
    out: str | os.PathLike[str],
    name: str | None = None,
    collection: int | None = None,
    search: str = "",
    ids: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    size: str = "full",
    connections: int = 8,
    server: str = SERVER,
    before: Callable[[Plan], None] | None = None,
    patience: Patience | None = None,
    progress: Progress = silent,
) -> Fetched:
    """Fetch a set from the ISIC Archive into a folder, or go on where an earlier fetch was stopped.

    Args:
        out: The folder; made where it is missing.
        name: `ham10000`, `isic2019` or another of `KNOWN`, a collection's name, or `isic9` (a list that we have).
        collection: A collection's id, instead of a name.
        search: A query in the archive's language, such as `age_approx:[20 TO 40] AND sex:male`; narrows a collection.
        ids: A CSV with `image_id`, and perhaps `diagnosis` and `split` as some set files them; or one id per line.
        limit: At most so many photographs, the first of the archive's list.
        size: `full`, or `thumbnail` (256 pixels).
        connections: How many photographs are fetched at a time, 1 to 16.
        server: Where the API is.
        before: Told before the first photograph is fetched; may raise, to call it off.
        patience: How long to go on with a server that fails.
        progress: Called with the stages `listing photographs` and `fetching photographs`.

    Raises:
        DataError: When nothing or too much is asked for, the list cannot be had, there is no space, or the folder
            holds another set.
    """
    root = Path(out)
    if size not in SIZES:
        raise DataError(f'There is no size "{size}"; there are: {", ".join(SIZES)}.')
    if not 1 <= connections <= MOST_CONNECTIONS:
        raise DataError(f"{connections} connections are not possible; 1 to {MOST_CONNECTIONS} are polite.")
    if ids is None and collection is None and not search and (name or "").strip().lower() == "isic9":
        ids = ISIC9
    _one_thing(name, collection, search, ids)
    filed = None if ids is None else read_ids(Path(ids))
    archive = Archive(Client(server, connections, patience), size)
    chosen, citations = _chosen(archive, name, collection)
    title = _title(name, chosen, search, ids)
    request = {
        "collections": [chosen.id] if chosen else [],
        "search": search,
        "ids": ids is not None,
        "size": size,
    }
    folder = Folder(root, request, title)
    notes: list[str] = []
    refused: list[tuple[str, str]] = []
    if filed is None:
        wanted = _list(folder, archive, chosen, search, limit, refused, progress)
        notes += _count_note(name, len(folder.listed), folder.cursor == "" and not search)
    else:
        wanted = list(dict.fromkeys(filed["image_id"]))[:limit]
        refused += _look_up(folder, archive, wanted, connections, progress)
    if not wanted:
        raise DataError(f"The archive has no public photograph for {title}.")
    known = [each for each in wanted if each in folder.listed]
    missing = [each for each in known if each not in folder.done and not adopt(folder, folder.listed[each])]
    plan = Plan(
        title, len(wanted), len(missing), sum(folder.listed[n].size or _TYPICAL_BYTES for n in missing), folder.begun
    )
    check_space(root, plan.missing_bytes)
    if missing and before is not None:
        before(plan)
    # Each phase has a client of its own, since ending one calls its waiting requests off.
    archive = Archive(Client(server, connections, patience), size)
    try:
        outcome = download(folder, archive, missing, connections, progress)
        if outcome.gave_up:
            notes.append(
                "So many photographs failed one after the other that the rest was left; repeat the command later."
            )
        if outcome.resized:
            notes.append(
                f"{plural(outcome.resized, 'file is', 'files are')} whole, but not of the size that the archive "
                f"states; {'it was' if outcome.resized == 1 else 'they were'} kept."
            )
        failed = [*refused, *outcome.failed]
        folder.write_failed(failed)
    finally:
        # A stopped fetch leaves tables that agree with the photographs that are there.
        folder.write_tables(title, server, citations, filed)
    return Fetched(root, len(wanted), outcome.fetched, len(known) - len(missing), failed, notes)


def read_ids(path: Path) -> pd.DataFrame:
    """Return a list of ids: `image_id`, and `diagnosis` (codes) and `split` where the list has them.

    Raises:
        DataError: When it cannot be read, names nothing, or names what is no id of the archive.
    """
    if path.suffix.lower() in (".csv", ".tsv", ".tab", ".parquet"):
        frame = normalise(read_cells(path), str(path))
    else:
        try:
            lines = path.read_text(encoding="utf-8-sig").split()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
            raise DataError(f"{path} cannot be read ({reason}).") from None
        frame = pd.DataFrame({"image_id": pd.Series([line.upper() for line in lines], dtype="string")})
    if frame.empty:
        raise DataError(f"{path} names no photographs.")
    bad = [each for each in frame["image_id"] if not ID.fullmatch(each)]
    if bad:
        raise DataError(f'{path} has {len(bad):,} ids that are none of the archive\'s, such as "{bad[0][:60]}".')
    frame = frame[[column for column in ("image_id", "diagnosis", "split") if column in frame.columns]]
    return frame.drop_duplicates().reset_index(drop=True)


def _one_thing(name: str | None, collection: int | None, search: str, ids: Any) -> None:
    if ids is None and name is not None and name.strip().lower() == "isic9":
        raise DataError("isic9 is a list of photographs, which stands alone; take --collection and --search away.")
    if ids is not None and (collection is not None or search or (name or "isic9").strip().lower() != "isic9"):
        raise DataError("A list of ids (--ids) stands alone; take the name, --collection and --search away.")
    if name is not None and collection is not None:
        raise DataError("Give a name or --collection, not both.")
    if not (name or collection is not None or search or ids is not None):
        raise DataError(f"Say what to fetch: a name ({', '.join(KNOWN)}), --collection, --search or --ids.")


def _chosen(archive: Archive, name: str | None, number: int | None) -> tuple[Collection | None, list[str]]:
    """Return the collection meant, and what to cite for it."""
    known = KNOWN.get((name or "").strip().lower())
    if number is not None:
        found = archive.collection(number)
    elif name is None or name.strip().lower() == "isic9":
        return None, []
    else:
        found = archive.find_collection(known.collection if known else name)
    citations = list(known.citations if known else ())
    return found, [*citations, *([found.doi] if found.doi else [])]


def _title(name: str | None, chosen: Collection | None, search: str, ids: Any) -> str:
    if ids is not None:
        return f"the photographs of {Path(ids).name}"
    title = chosen.name if chosen else "the ISIC Archive"
    return f"{title}, where {search}" if search else title


def _count_note(name: str | None, count: int, whole: bool) -> list[str]:
    known = KNOWN.get((name or "").strip().lower())
    if known is None or not whole or count == known.photographs:
        return []
    return [f"The archive lists {plural(count, 'photograph')} of {name}; {known.photographs:,} were published."]


def _list(
    folder: Folder,
    archive: Archive,
    chosen: Collection | None,
    search: str,
    limit: int | None,
    refused: list[tuple[str, str]],
    progress: Progress,
) -> list[str]:
    """Read the archive's list on from where it was left; return the ids wanted."""
    cursor = folder.cursor
    url = archive.first_page((chosen.id,) if chosen else (), search) if cursor is None else cursor
    stage, total = "listing photographs", 0
    if url and (limit is None or len(folder.listed) < limit):
        try:
            for page in archive.pages(url, lambda reason: refused.append(("", reason))):
                folder.add_listed(page.photographs, page.next)
                total = max(total, page.count or 0, len(folder.listed))
                progress(stage, len(folder.listed), total)
                if limit is not None and len(folder.listed) >= limit:
                    break
        except ArchiveError as error:
            if error.status == 400 and search:
                raise ArchiveError(f"The archive does not understand the search {search!r}.", 400) from None
            raise ArchiveError(f"The list of photographs cannot be had. {error}", error.status) from None
        progress(stage, len(folder.listed), len(folder.listed))
    return list(folder.listed)[:limit]


def _look_up(
    folder: Folder, archive: Archive, wanted: list[str], connections: int, progress: Progress
) -> list[tuple[str, str]]:
    """Ask for the record of each id that is not known yet; return the ids that the archive does not have."""
    unknown = [each for each in wanted if each not in folder.listed]
    stage = "listing photographs"

    def work(name: str) -> None:
        try:
            folder.add_listed([archive.photograph(name)])
        except ArchiveError as error:
            if error.status in (403, 404, 410):
                raise ArchiveError("The archive has no public photograph of this id.", 404) from None
            raise

    if unknown:
        progress(stage, 0, len(unknown))
    failed, gave_up = each_of(
        unknown, work, archive.client.stop, connections, lambda number: progress(stage, number, len(unknown))
    )
    if gave_up:
        raise ArchiveError(f"The archive does not answer. {failed[-1][1]}")
    return failed
