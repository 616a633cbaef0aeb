"""Looking at a data set as a whole: read, scan, audit, and write what may be used.

These are the calls behind `melascope data ...`; `melascope run` begins with
the same `survey`.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis, environment
from melascope.audit import other_sets, provenance, same_photograph
from melascope.audit.policy import Policy, from_json, load_policy
from melascope.audit.problems import Found
from melascope.audit.protocol import Prepared, apply_protocol
from melascope.audit.reasons import NOT_USABLE
from melascope.audit.verdict import Audit, audit
from melascope.bundle import load_bundle
from melascope.counted import plural
from melascope.datasets import Pack, find_same, pack, read, scan, table
from melascope.datasets.readers import TABLE_ENDINGS
from melascope.datasets.rows import AUDITED_COLUMNS, once_each
from melascope.errors import DataError
from melascope.images import Geometry, decode, read_file
from melascope.progress import Progress, silent

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Survey:
    """A data set that was read, scanned and audited.

    Attributes:
        scanned: The image table with what the scan found out.
        audit: The problems and the verdict.
        state: What tells whether the data have changed since; see `provenance.state`.
        audited: False where the checks were left out, at the user's wish.
    """

    scanned: pd.DataFrame
    audit: Audit
    state: Mapping[str, Any] = field(default_factory=dict)
    audited: bool = True

    @property
    def unreadable(self) -> int:
        """How many files could not be read."""
        return int(self.scanned["error_kind"].notna().sum())


@dataclass(frozen=True)
class Looking:
    """How closely a data set is looked at.

    Attributes:
        search: Whether photographs are searched that are the same but not the same file.
        against: Other data sets, or bundles, of which nothing may stand in this one.
        against_images: Folders with the photographs of those that are tables.
        policy: A policy file; None for the default policy.
        suspects: Whether a model looks for diagnoses that may be wrong.
        predictions: A run's `predictions.parquet`, to use instead of a quick model of our own.
        bundle: A bundle whose embedding the quick model uses.
        audit: A folder in which these data have been audited before; nothing is looked at again.
        audited: False leaves all checks but that for unreadable files out.
    """

    search: bool = True
    against: Sequence[PathLike] = ()
    against_images: Sequence[PathLike] = ()
    policy: PathLike | None = None
    suspects: bool = False
    predictions: PathLike | None = None
    bundle: PathLike | None = None
    audit: PathLike | None = None
    audited: bool = True


def survey(
    data: PathLike | Sequence[PathLike],
    images: PathLike | None = None,
    authority: Sequence[PathLike] = (),
    spellings: Mapping[str, str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    looking: Looking | None = None,
    progress: Progress = silent,
) -> Survey:
    """Read a data set, decode every photograph once, and audit it.

    Args:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table; or several, which are joined.
        images: Where the photographs are that a CSV names.
        authority: CSVs with official labels, lesion and patient ids.
        spellings: What unknown labels mean, label to code.
        limit: Use only so many photographs, drawn by class and split.
        seed: Of that draw.
        looking: How closely to look.
        progress: Called with the stage and how far it is.

    Raises:
        DataError: When the data set as a whole cannot be used.
    """
    looking = looking or Looking()
    policy = Policy() if looking.policy is None else load_policy(looking.policy)
    _refuse_early(looking)
    frame, notes = _read(data, images, authority, spellings)
    now = provenance.state(frame)
    if looking.audit is not None:
        scanned, before, suspected = provenance.reuse(Path(looking.audit), frame)
        policy = policy if looking.policy is not None else from_json(before.get("policy", {}))
        scanned = scanned if limit is None else _draw(scanned, limit, seed)
        return Survey(scanned, _noted(audit(scanned, policy, suspected), notes), now, looking.audited)
    if limit is not None and limit < len(frame):
        frame = _draw(frame, limit, seed)
    threads = environment.threads()
    scanned = scan(frame, threads=threads, progress=progress)
    if not looking.audited:
        return Survey(scanned, _noted(audit(scanned, policy, progress=progress), notes), now, audited=False)
    if looking.search:
        scanned = same_photograph.mark(scanned, find_same(scanned, threads=threads, progress=progress))
    if looking.against:
        scanned = other_sets.mark(scanned, looking.against, looking.against_images, threads, progress)
    also = {"label_suspect": _suspects(scanned, looking, threads, progress)} if looking.suspects else {}
    return Survey(scanned, _noted(audit(scanned, policy, also, progress), notes), now)


def _noted(found: Audit, notes: Sequence[str]) -> Audit:
    """Return an audit that also tells what was seen when the tables were read."""
    return replace(found, reasons=[*found.reasons, *notes]) if notes else found


def _read(
    data: PathLike | Sequence[PathLike],
    images: PathLike | None,
    authority: Sequence[PathLike],
    spellings: Mapping[str, str] | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of the data set or data sets, and what a reader must know of their tables."""
    several = [data] if isinstance(data, str | os.PathLike) else list(data)
    frames = [
        # A folder holds its photographs itself; --images is for the tables.
        read(one, None if Path(one).is_dir() and len(several) > 1 else images, authority, spellings)
        for one in several
    ]
    notes = [note for frame in frames for note in frame.attrs.pop("notes", ())]
    # What an earlier audit found by comparing photographs is found again here, among those that are here.
    frames = [frame.drop(columns=list(AUDITED_COLUMNS), errors="ignore") for frame in frames]
    if len(frames) == 1:
        return frames[0], notes
    for frame, one in zip(frames, several, strict=True):
        frame["source"] = frame["source"].fillna(Path(one).resolve().name)
    joined, more = once_each(table.check(pd.concat(frames, ignore_index=True)), "The whole of DATA")
    return joined, [*notes, *more]


def _refuse_early(looking: Looking) -> None:
    """Refuse what is named but cannot be used, before thousands of photographs are read."""
    if looking.predictions is not None:
        predictions(looking.predictions)
    if looking.bundle is not None:
        load_bundle(looking.bundle)
    tables = [one for one in looking.against if str(one).lower().endswith(TABLE_ENDINGS)]
    if looking.against_images and not tables:
        holds = ", ".join(map(str, looking.against))
        raise DataError(
            f"--against-images {looking.against_images[0]} says where the photographs of a table are, and no table is "
            + (f"given: {holds} holds its own. Take it away." if holds else "given; name one with --against.")
        )
    for other in looking.against:
        if str(other).lower().endswith(other_sets.BUNDLE_ENDING):
            load_bundle(other)
        elif not Path(other).exists():
            raise DataError(f"--against {other}: there is no such folder, table or bundle.")
        elif (Path(other) / "model.melascope").exists():
            raise DataError(f"--against {other} is a run; give its bundle, {Path(other) / 'model.melascope'}.")


def _suspects(scanned: pd.DataFrame, looking: Looking, threads: int, progress: Progress) -> Found:
    from melascope.audit import embeddings, label_suspect

    if looking.predictions is not None:
        return label_suspect.find(scanned, predictions=predictions(looking.predictions), progress=progress)
    found = embeddings.embed(scanned, bundle=looking.bundle, threads=threads, progress=progress)
    return label_suspect.find(scanned, embeddings=found, progress=progress)


def predictions(path: PathLike) -> pd.DataFrame:
    """Read a run's predictions: `image_id` and a probability `p_CODE` for each diagnosis.

    Raises:
        DataError: When the file is no such table.
    """
    source = Path(path)
    source = source / "predictions.parquet" if source.is_dir() else source
    try:
        is_parquet = source.suffix.lower() == ".parquet"
        frame = pd.read_parquet(source) if is_parquet else table.unquoted(pd.read_csv(source))
    except FileNotFoundError:
        raise DataError(f"{source} does not exist.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{source} cannot be read as a table: {str(error).splitlines()[0]}") from None
    if "image_id" not in frame or not any(str(column).startswith("p_") for column in frame):
        raise DataError(f"{source} holds no predictions: it needs image_id and a column p_CODE for each diagnosis.")
    return frame


def audit_data(data: PathLike, out: PathLike | None = None, progress: Progress = silent, **reading: Any) -> Survey:
    """Find what is wrong with a data set; with `out`, write the tables and the page there.

    Returns:
        The survey; `survey.audit.problems` has a row per photograph and problem.

    Raises:
        DataError: As for `survey`.
    """
    found = survey(data, progress=progress, **reading)
    if out is not None:
        with _together(Path(out)) as folder:
            found, prepared = prepare(found)
            table.save(found.scanned, folder / provenance.AUDITED)
            kept = _lean(found.scanned.iloc[:0] if prepared is None else prepared.table)
            table.save(kept, folder / "clean.parquet")
            table.save(kept, folder / "clean.csv")
            _page(folder / "report.html", found, prepared, title=f"Audit of {Path(data).name}")
            write_audit(folder, found, prepared)
    return found


@contextlib.contextmanager
def _together(folder: Path) -> Iterator[Path]:
    """Yield a folder whose files come to `folder` together when all are written, `audit.json` last.

    Stopped before, `folder` keeps the audit that it had, whole; stopped while they come, it has no `audit.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        yield Path(partial)
        written = sorted(Path(partial).iterdir(), key=lambda path: path.name == "audit.json")
        (folder / "audit.json").unlink(missing_ok=True)
        for path in written:
            path.replace(folder / path.name)


def _lean(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out what only the audit needs; it stands in `audited.parquet`."""
    gone = {"phash", "fingerprint", "personal", "error_kind", "error"}
    return frame[[c for c in frame.columns if c not in gone and not c.startswith("trait_") and "evidence" not in c]]


def prepare(found: Survey) -> tuple[Survey, Prepared | None]:
    """Apply the protocol clean; where it leaves nothing, the verdict is that the set is not usable, and why."""
    try:
        return found, apply_protocol(found.scanned, found.audit, "clean")
    except DataError as error:
        reasons = found.audit.reasons
        if found.audit.verdict != NOT_USABLE:
            reasons = [f"Not usable: {str(error)[:1].lower()}{str(error)[1:]}", *reasons]
        return replace(found, audit=replace(found.audit, verdict=NOT_USABLE, reasons=reasons)), None


def write_audit(folder: Path, found: Survey, prepared: Prepared | None) -> dict[str, Any]:
    """Write `audit.json`, `problems.csv` and `excluded.csv`; return what stands in the first."""
    summary = {**found.audit.summary(), "data": dict(found.state), "audited": found.audited}
    if prepared is not None:
        summary |= {
            "protocol": prepared.name,
            "optimistic": prepared.optimistic,
            "leak": prepared.leak,
            "used": len(prepared.table),
            "flow": flow(prepared),
            "warnings": list(prepared.warnings),
        }
        table.save(prepared.excluded, folder / "excluded.csv")
    else:
        table.save(_all_excluded(found), folder / "excluded.csv")
    table.save(found.audit.problems, folder / "problems.csv")
    partial = folder / ".audit.json.partial"
    partial.write_text(json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    partial.replace(folder / "audit.json")
    return summary


def _all_excluded(found: Survey) -> pd.DataFrame:
    rows = found.scanned[["image_id", "path", "diagnosis", "split"]]
    rows = rows.assign(reason=np.where(found.scanned["error_kind"].notna(), "unreadable", found.audit.reasons[0]))
    return rows.drop_duplicates("path")


def flow(prepared: Prepared) -> list[dict[str, Any]]:
    """Return the flow from photographs found to photographs used as JSON-ready rows."""
    return [
        {"label": step.label, "photographs": step.photographs, "excluded": dict(step.excluded)}
        for step in prepared.flow
    ]


def show_data(
    data: PathLike, out: PathLike | None = None, seed: int = 0, progress: Progress = silent, **reading: Any
) -> Survey:
    """Look at a data set; with `out`, write a page with its counts and pictures there."""
    found = survey(data, seed=seed, progress=progress, **reading)
    if out is not None:
        _page(Path(out), *prepare(found), title=Path(data).name, seed=seed)
    return found


def class_counts(scanned: pd.DataFrame) -> dict[str, Any]:
    """Count photographs per diagnosis and split.

    Returns:
        `{"splits": [...], "rows": [{"code", "name", <split>: n, "all", "share"}], "ratio", "sentence"}`, the largest
        class first.
    """
    labelled = scanned[scanned["diagnosis"].notna()]
    found = (str(name) for name in labelled["split"].dropna().unique())
    splits = sorted(found, key=lambda name: (name != "train", name))
    rows = []
    for code, part in labelled.groupby("diagnosis", observed=True):
        row: dict[str, Any] = {"code": str(code), "name": diagnosis.name(str(code))}
        row.update({name: int((part["split"] == name).sum()) for name in splits})
        row.update(all=len(part), share=len(part) / len(labelled))
        rows.append(row)
    if not rows:
        sentence = f"{plural(len(scanned), 'photograph')}, none of which has a diagnosis."
        return {"splits": splits, "rows": [], "ratio": None, "sentence": sentence}
    rows.sort(key=lambda row: -row["all"])
    most, least = rows[0], rows[-1]
    ratio = most["all"] / least["all"]
    sentence = (
        f"{plural(len(labelled), 'photograph')} of {plural(len(rows), 'diagnosis', 'diagnoses')}. "
        f"Most frequent: {most['name']} ({most['all']:,}); "
        f"least frequent: {least['name']} ({least['all']:,}); ratio {ratio:.1f} to 1."
    )
    return {"splits": splits, "rows": rows, "ratio": ratio, "sentence": sentence}


def pack_data(
    data: PathLike, size: int = 180, mode: str = "squash", progress: Progress = silent, **reading: Any
) -> tuple[Survey, Pack]:
    """Decode a data set once into the packed array `(n, size, size, 3)` that training reads."""
    found = survey(data, progress=progress, **reading)
    readable = found.scanned[found.scanned["error_kind"].isna()].reset_index(drop=True)
    if readable.empty:
        raise DataError(f"None of {plural(len(found.scanned), 'photograph')} in {data} can be read.")
    geometry = Geometry(size, size, mode)  # type: ignore[arg-type]
    return found, pack(readable, geometry, environment.cache_folder(), threads=environment.threads(), progress=progress)


def picture(path: str) -> np.ndarray:
    """Load a photograph as `(h, w, 3) uint8` for a page."""
    return decode(read_file(path), at_least=(256, 256))


def _page(target: Path, found: Survey, prepared: Prepared | None, title: str, seed: int = 0) -> None:
    from melascope.reports import DataReport, data_report

    page = data_report(
        DataReport(
            title=title,
            table=found.scanned,
            audit=found.audit.summary(),
            problems=found.audit.problems,
            flow=[] if prepared is None else flow(prepared),
            picture=picture,
            seed=seed,
        )
    )
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(target)


def _draw(frame: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """Draw rows so that every class and split keeps its share, and none vanishes."""
    keys = frame["diagnosis"].fillna("") + "/" + frame["split"].fillna("")
    order = np.random.default_rng(seed).permutation(len(frame))
    rank = pd.Series(order, index=frame.index).groupby(keys).rank(method="first")
    share = rank / keys.map(keys.value_counts())
    chosen = share.sort_values(kind="stable").index[:limit]
    return frame.loc[sorted(chosen)].reset_index(drop=True)
