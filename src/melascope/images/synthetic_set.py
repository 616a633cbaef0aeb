"""A whole generated data set: class folders, an authority's table, and planted problems.

It has the shape of the public folder sets, down to their faults, so that
everything that is done to real data can be tried in a minute.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from melascope import environment
from melascope.diagnosis import parse
from melascope.errors import DataError
from melascope.images.synthetic_lesion import render
from melascope.progress import Progress, silent

SHARES: Mapping[str, float] = {
    "nevus": 0.4,
    "melanoma": 0.25,
    "basal cell carcinoma": 0.15,
    "seborrheic keratosis": 0.2,
}
"""Folder names and their shares of the photographs: unbalanced, as clinics are."""

# Raised whenever the same seed gives other files.
_GENERATOR = 1
_TEST_SHARE = 0.2
_FEWEST = 40
_AT_A_TIME = 32
_AGES: Mapping[str, tuple[float, float]] = {"NV": (42, 15), "MEL": (58, 15), "BCC": (66, 12), "SK": (62, 12)}
_SITES = ("anterior torso", "posterior torso", "upper extremity", "lower extremity", "head/neck", "palms/soles")
_NOTE = b"This is not a photograph. It was left in the folder by mistake.\n"


@dataclass
class _Photograph:
    image_id: str
    folder: str
    part: str
    lesion: int
    seeds: tuple[int, int]

    @property
    def path(self) -> str:
        return f"{self.part}/{self.folder}/{self.image_id}.jpg"


def write_dataset(
    out: str | os.PathLike[str],
    photographs: int = 600,
    seed: int = 0,
    size: int = 128,
    shares: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a generated data set: `Train/<name>/*.jpg`, `Test/<name>/*.jpg`, `metadata.csv` and `planted.json`.

    A fifth of the photographs is in Test; about a fifth of the lesions has two
    or three photographs. `metadata.csv` (image_id, lesion_id, patient_id,
    diagnosis, age, sex, site) is right, and can serve as an authority's table;
    the folders hold five planted problems, which `planted.json` lists. The
    folder appears whole or not at all; an interrupted call goes on where it
    stopped, and a finished one is not repeated.

    Args:
        out: The folder to write; new, empty, or written by the same call.
        photographs: How many to generate, at least 40; three planted files come on top.
        seed: One seed gives the same files, in every process.
        size: Side of the square photographs in pixels.
        shares: Folder names and their shares of the photographs; `SHARES` where None.
        progress: Called with `("lesions", done, total)`.

    Returns:
        The folder.

    Raises:
        DataError: When the folder holds something else, or a folder name is not a diagnosis.
        ValueError: When there are too few photographs or classes.
    """
    target, shares = Path(out), dict(shares or SHARES)
    if photographs < _FEWEST or len(shares) < 2:
        raise ValueError(f"a generated set needs at least {_FEWEST} photographs and two classes")
    made = {"generator": _GENERATOR, "photographs": photographs, "seed": seed, "size": size, "shares": shares}
    if _finished(target, made):
        return target
    codes = {folder: parse(folder) for folder in shares}
    rng = np.random.default_rng([_GENERATOR, seed])
    rows = _plan(rng, photographs, shares)
    planted = _plant(rng, rows, codes)
    files = _files(rows, planted)
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:8]
    partial = target.with_name(f".{target.name}.{digest}.partial")
    report = progress or silent
    report("lesions", 0, len(files))
    with ThreadPoolExecutor(environment.threads(), thread_name_prefix="draw") as pool:
        # Few at a time, so that ctrl-C has little to wait for.
        for start in range(0, len(files), _AT_A_TIME):
            some = files[start : start + _AT_A_TIME]
            for done, _ in enumerate(pool.map(lambda file: _write(partial / file[0], file[1], size), some), start + 1):
                report("lesions", done, len(files))
    _put(partial / "metadata.csv", _metadata(rng, rows, codes).encode())
    _put(partial / "planted.json", (json.dumps({"made": made, "problems": planted}, indent=2) + "\n").encode())
    if target.is_dir():
        target.rmdir()
    partial.replace(target)
    return target


def _finished(target: Path, made: Mapping[str, Any]) -> bool:
    """Whether the folder holds this very set; raises DataError where it holds anything else."""
    if not target.exists():
        return False
    if target.is_dir() and not any(target.iterdir()):
        return False
    try:
        if json.loads((target / "planted.json").read_text())["made"] == made:
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DataError(f"{target} holds something else already; name a new or empty folder for the generated set.")


def _plan(rng: np.random.Generator, photographs: int, shares: Mapping[str, float]) -> list[_Photograph]:
    """Return the photographs in the order of their ids, which tells nothing about their classes."""
    total = sum(shares.values())
    rows: list[_Photograph] = []
    lesion = 0
    for folder, share in shares.items():
        left = max(round(photographs * share / total), 5)
        test = max(round(left * _TEST_SHARE), 1)
        while left > 0:
            views = min(int(rng.choice([1, 2, 3], p=[0.8, 0.15, 0.05])), left)
            part = "Test" if test > 0 else "Train"
            look = int(rng.integers(2**63))
            for _ in range(views):
                rows.append(_Photograph("", folder, part, lesion, (look, int(rng.integers(2**63)))))
            left, test, lesion = left - views, test - views, lesion + 1
    rows = [rows[index] for index in rng.permutation(len(rows))]
    for number, row in enumerate(rows):
        row.image_id = f"SYN_{number:07d}"
    return rows


def _plant(rng: np.random.Generator, rows: list[_Photograph], codes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Plant the problems in the plan and return their list: kinds, paths, ids, and one sentence each."""
    train = [row for row in rows if row.part == "Train"]
    lesions: dict[int, list[_Photograph]] = {}
    for row in train:
        lesions.setdefault(row.lesion, []).append(row)
    several = [views for views in lesions.values() if len(views) > 1]
    single = [views[0] for views in lesions.values() if len(views) == 1]
    order = rng.permutation(len(single))
    copied, cut = single[order[0]], single[order[1]]
    # A melanoma that also lies among the nevi is what nobody wants to learn from.
    candidates = [single[index] for index in order[2:]]
    twice = next((row for row in candidates if codes[row.folder] == "MEL"), candidates[0])
    others = [folder for folder in codes if folder != twice.folder]
    wrong = next((folder for folder in others if codes[folder] == "NV"), others[0])
    problems: list[dict[str, Any]] = [
        {
            "kinds": ["byte_identical", "photograph_leak"],
            "paths": [copied.path, f"Test/{copied.folder}/SYN_{len(rows):07d}.jpg"],
            "image_ids": [copied.image_id, f"SYN_{len(rows):07d}"],
            "what": "one file in Train and, under another id, in Test",
        },
        {
            "kinds": ["id_conflict", "byte_identical", "authority_conflict"],
            "paths": [twice.path, f"Train/{wrong}/{twice.image_id}.jpg"],
            "image_ids": [twice.image_id],
            "what": "one id filed under two diagnoses; metadata.csv knows which is right",
        },
        {
            "kinds": ["unreadable"],
            "paths": [cut.path],
            "image_ids": [cut.image_id],
            "what": "a file cut off after 60 % of its bytes",
        },
        {
            "kinds": ["unreadable"],
            "paths": [f"Train/{cut.folder}/SYN_{len(rows) + 1:07d}.jpg"],
            "image_ids": [f"SYN_{len(rows) + 1:07d}"],
            "what": "a text file named .jpg",
        },
    ]
    if several:
        views = several[int(rng.integers(len(several)))]
        views[-1].part = "Test"
        problems.append(
            {
                "kinds": ["lesion_leak"],
                "paths": [row.path for row in views],
                "image_ids": [row.image_id for row in views],
                "what": "photographs of one lesion in Train and in Test",
            }
        )
    return problems


_Content = tuple[_Photograph, float] | bytes


def _files(rows: Sequence[_Photograph], planted: Sequence[Mapping[str, Any]]) -> list[tuple[str, _Content]]:
    """Return every file to write: its path, and a photograph with the share of its bytes to keep, or bytes."""
    copied, twice, cut, note = planted[:4]
    by_path = {row.path: row for row in rows}
    files: list[tuple[str, _Content]] = [(row.path, (row, 0.6 if row.path == cut["paths"][0] else 1.0)) for row in rows]
    for problem in (copied, twice):
        files.append((problem["paths"][1], (by_path[problem["paths"][0]], 1.0)))
    return [*files, (note["paths"][0], _NOTE)]


def _write(path: Path, content: _Content, size: int) -> None:
    if path.exists():  # an interrupted call wrote it, whole
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        _put(path, content)
        return
    from PIL import Image

    row, share = content
    buffer = BytesIO()
    Image.fromarray(render(*row.seeds, row.folder, size)).save(buffer, "JPEG", quality=92)
    data = buffer.getvalue()
    _put(path, data[: int(len(data) * share)])


def _put(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def _metadata(rng: np.random.Generator, rows: Sequence[_Photograph], codes: Mapping[str, str]) -> str:
    """Return the authority's table as CSV; one patient in seven has a second lesion, in the same part."""
    people: dict[int, tuple[str, str, str]] = {}
    sites: dict[int, str] = {}
    last: dict[str, tuple[str, str, str]] = {}
    for row in sorted(rows, key=lambda row: row.lesion):
        if row.lesion in people:
            continue
        mean, spread = _AGES.get(codes[row.folder], (55, 16))
        age = int(np.clip(round(rng.normal(mean, spread) / 5) * 5, 10, 90))
        person = (f"SYP_{row.lesion:06d}", "" if rng.random() < 0.04 else str(age), str(rng.choice(["female", "male"])))
        if rng.random() < 1 / 7:
            person = last.get(row.part, person)
        people[row.lesion] = last[row.part] = person
        sites[row.lesion] = str(rng.choice(_SITES))
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_id", "lesion_id", "patient_id", "diagnosis", "age", "sex", "site"])
    for row in rows:
        patient, age_text, sex = people[row.lesion]
        writer.writerow([row.image_id, f"SYL_{row.lesion:06d}", patient, row.folder, age_text, sex, sites[row.lesion]])
    return text.getvalue()
