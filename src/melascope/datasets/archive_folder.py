"""The folder into which a set is fetched: what is asked for, what was listed, what is here, and the tables.

In `.fetch` stand `request.json` (what was asked), `listing.jsonl` and
`cursor.json` (how far the archive's list was read) and `done.jsonl` (each file
that is here, with its hash). A line that was cut off in the middle of writing
is passed over, so that a killed fetch goes on where it was.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from melascope.counted import plural
from melascope.datasets.archive_diagnosis import LEVELS, code_of, path_of
from melascope.datasets.archive_records import Photograph
from melascope.datasets.table import save
from melascope.errors import DataError

# Under these names the archive gives what the image table has a column for.
_OWN: Mapping[str, str] = {
    "lesion_id": "lesion_id",
    "patient_id": "patient_id",
    "age": "age_approx",
    "sex": "sex",
    "site": "anatom_site_general",
    "modality": "image_type",
    "confirmed_by": "diagnosis_confirm_type",
}
_SAID_ELSEWHERE = frozenset((*_OWN.values(), *LEVELS, "diagnosis"))
_TEXTS: Mapping[str, str] = {
    "CC-0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-NC": "https://creativecommons.org/licenses/by-nc/4.0/",
}


class Folder:
    """A set's folder on disk.

    Args:
        root: Made where it is missing.
        request: What is asked for, plain data.
        title: What to call it.

    Attributes:
        images: Where the photographs stand.
        begun: Whether the same was fetched here before.
        listed: The records read so far, by id, in the archive's order.
        done: The file, bytes and SHA-256 of each photograph that is here, by id.

    Raises:
        DataError: When something else was fetched into this folder, or a table stands there that is not ours.
    """

    def __init__(self, root: Path, request: Mapping[str, Any], title: str) -> None:
        self.root = root
        self.images = root / "images"
        self._state = root / ".fetch"
        self._lock = threading.Lock()
        stated = self._state / "request.json"
        self.begun = stated.exists()
        if self.begun:
            before = _object(stated)
            if {key: before.get(key) for key in request} != dict(request):
                held = before.get("title", "unknown")
                raise DataError(f"{root} holds another set, or in another size ({held}); name another folder.")
        elif (root / "metadata.csv").exists():
            raise DataError(f"{root} holds a metadata.csv that no fetch has written; name another folder.")
        self.images.mkdir(parents=True, exist_ok=True)
        self._state.mkdir(exist_ok=True)
        if not self.begun:
            write_whole(stated, json.dumps({"title": title, **request}, indent=1))
        for left_over in self.images.glob(".*.partial"):
            left_over.unlink(missing_ok=True)
        self.listed: dict[str, Photograph] = {}
        for line in _lines(self._state / "listing.jsonl"):
            try:
                self.listed[line["id"]] = Photograph(**line)
            except (KeyError, TypeError):
                continue
        self.done: dict[str, dict[str, Any]] = {
            line["id"]: line for line in _lines(self._state / "done.jsonl") if self._is_here(line)
        }

    def _is_here(self, line: Mapping[str, Any]) -> bool:
        try:
            return bool((self.images / str(line["file"])).stat().st_size == line["bytes"])
        except (KeyError, OSError):
            return False

    @property
    def cursor(self) -> str | None:
        """Where the archive's list goes on: an address, empty at its end, None where it was never asked."""
        stated = self._state / "cursor.json"
        found = _object(stated).get("next") if stated.exists() else None
        return found if isinstance(found, str) else None

    def add_listed(self, photographs: Iterable[Photograph], cursor: str | None = None) -> None:
        """Keep records, and where the list goes on after them."""
        with self._lock:
            fresh = [each for each in photographs if self.listed.get(each.id) != each]
            self.listed.update({each.id: each for each in fresh})
            _append(self._state / "listing.jsonl", (each.json() for each in fresh))
        if cursor is not None:
            write_whole(self._state / "cursor.json", json.dumps({"next": cursor}))

    def add_file(self, name: str, data: bytes, ending: str, sha256: str) -> None:
        """Move a photograph's bytes into place, whole, and keep that they are here."""
        file = f"{name}{ending}"
        partial = self.images / f".{file}.{os.getpid()}.partial"
        try:
            partial.write_bytes(data)
            partial.replace(self.images / file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self.note_file(name, file, len(data), sha256)

    def note_file(self, name: str, file: str, size: int, sha256: str) -> None:
        """Keep that a photograph's file is here."""
        line = {"id": name, "file": file, "bytes": size, "sha256": sha256}
        self.done[name] = line
        _append(self._state / "done.jsonl", [line])

    def write_tables(
        self, title: str, server: str, citations: Iterable[str], filed: pd.DataFrame | None = None
    ) -> None:
        """Write `metadata.csv`, `licences.csv` and `ATTRIBUTION.md` of the photographs that are here.

        With `filed` (`image_id`, and `diagnosis` or `split`), the metadata has its rows and labels, and what the
        archive itself says goes to `official.csv`, to be given as `--authority`.
        """
        rows = [self._row(self.listed[name], line) for name, line in self._in_order()]
        if not rows:
            return
        frame = pd.DataFrame(rows)
        frame = frame[[column for column in frame.columns if column == "diagnosis" or frame[column].ne("").any()]]
        own = [column for column in frame.columns if not column.startswith("archive_")]
        frame = frame[[*own, *sorted(set(frame.columns) - set(own))]].fillna("")
        if filed is not None:
            columns = [column for column in ("image_id", "diagnosis", "split") if column in filed.columns]
            if "diagnosis" in columns:
                save(frame, self.root / "official.csv")
            frame = filed[columns].merge(frame.drop(columns=columns[1:], errors="ignore"), on="image_id")
        save(frame, self.root / "metadata.csv")
        licences = pd.DataFrame(rows)[["image_id", "file", "license", "source", "sha256"]]
        save(licences.rename(columns={"source": "attribution"}), self.root / "licences.csv")
        write_whole(self.root / "ATTRIBUTION.md", _attribution(title, server, citations, licences))

    def _in_order(self) -> list[tuple[str, dict[str, Any]]]:
        return sorted((name, line) for name, line in self.done.items() if name in self.listed)

    @staticmethod
    def _row(photograph: Photograph, line: Mapping[str, Any]) -> dict[str, Any]:
        fields = photograph.fields
        row: dict[str, Any] = {"image_id": photograph.id, "diagnosis": code_of(fields) or ""}
        row |= {column: fields.get(name, "") for column, name in _OWN.items()}
        if not row["age"].replace(".", "", 1).isdigit():
            row["age"] = ""
        row |= {"source": photograph.attribution, "license": photograph.license}
        row |= {"file": line["file"], "bytes": line["bytes"], "sha256": line["sha256"]}
        row["archive_diagnosis"] = path_of(fields)
        # In the archive's own words, behind a prefix: a column "melanocytic" or "melanoma" means something to readers.
        row |= {f"archive_{name}": text for name, text in fields.items() if name not in _SAID_ELSEWHERE}
        return row

    def write_failed(self, failed: Iterable[tuple[str, str]]) -> Path | None:
        """Write `failed.csv`, or take an old one away where nothing failed."""
        path = self.root / "failed.csv"
        rows = pd.DataFrame(sorted(failed), columns=["image_id", "reason"])
        if rows.empty:
            path.unlink(missing_ok=True)
            return None
        return save(rows, path)


def _attribution(title: str, server: str, citations: Iterable[str], rows: pd.DataFrame) -> str:
    lines = [f"# {title}", "", f"{plural(len(rows), 'photograph')} from the ISIC Archive ({server}).", ""]
    cited = list(citations)
    if cited:
        lines += ["## Cite", "", *(f"- {each}" for each in cited), ""]
    lines += ["## Licences and whom to name", "", "`licences.csv` says it photograph by photograph.", ""]
    lines += ["| licence | attribution | photographs |", "|---|---|---|"]
    counts = rows.groupby(["license", "source"]).size().reset_index(name="photographs")
    for licence, source, count in counts.itertuples(index=False):
        name = f"[{licence}]({_TEXTS[licence]})" if licence in _TEXTS else licence or "not stated"
        lines.append(f"| {name} | {source.replace('|', '/') or 'not stated'} | {count:,} |")
    return "\n".join([*lines, ""])


def write_whole(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    # A line break first: what a killed process left half written becomes a line of its own.
    text = "".join(f"\n{json.dumps(row)}" for row in rows)
    if text:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            found.append(row)
    return found


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{path} is damaged; take the folder {path.parent} away and repeat the command.")
    return found
