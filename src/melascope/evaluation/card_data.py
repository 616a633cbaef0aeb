"""The data of a model card: where photographs come from, under which licences, of whom, and how they were labelled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.counted import plural
from melascope.datasets.origins import PREFIXES

PARTS = ("train", "tune", "calibrate", "test")
UNRECORDED = "not recorded"
_LEARNT = PARTS[:3]
_SAID = {
    "histo": "histology",
    "consensus": "expert consensus",
    "follow_up": "follow-up",
    "confocal": "in-vivo confocal",
}


class Known(NamedTuple):
    """A public set: how sources spell it, its licence as its makers state it, and what to cite."""

    pattern: str
    name: str
    licence: str
    noncommercial: bool
    cite: tuple[str, ...]


_TSCHANDL = (
    "Tschandl P, Rosendahl C, Kittler H. The HAM10000 dataset, a large collection of multi-source dermatoscopic images "
    "of common pigmented skin lesions. Sci Data 2018; 5: 180161."
)
_CODELLA = (
    "Codella NCF, Gutman D, Celebi ME, et al. Skin lesion analysis toward melanoma detection: a challenge at the 2017 "
    "International Symposium on Biomedical Imaging (ISBI), hosted by the International Skin Imaging Collaboration "
    "(ISIC). Proc IEEE ISBI 2018: 168-172."
)
_COMBALIA = (
    "Combalia M, Codella NCF, Rotemberg V, et al. BCN20000: dermoscopic lesions in the wild. arXiv:1908.02288, 2019."
)
KNOWN = (
    Known(r"ham[ _-]?10", "HAM10000", "CC BY-NC 4.0", True, (_TSCHANDL,)),
    Known(r"bcn", "BCN20000", "CC BY-NC 4.0", True, (_COMBALIA,)),
    Known(r"isic[ _-]?2019", "ISIC 2019", "CC BY-NC 4.0", True, (_TSCHANDL, _CODELLA, _COMBALIA)),
    Known(r"isic[ _-]?2017", "ISIC 2017",
          "each photograph its own in the ISIC Archive, CC0 or CC BY-NC", False, (_CODELLA,)),
    Known(r"nine|isic[ _-]?9\b", "nine-class set",
          "each photograph its own in the ISIC Archive, CC0, CC BY or CC BY-NC", False, (_TSCHANDL, _CODELLA)),
)  # fmt: skip
"""Public sets by name; a licence in the table goes before the one stated here."""


def known(source: str) -> Known | None:
    """Return what is known of a public set that a source names, or None."""
    return next((one for one in KNOWN if re.search(one.pattern, source, re.IGNORECASE)), None)


def data_of(table: pd.DataFrame) -> dict[str, Any]:
    """Return what a model card says of a run's table, as a plain mapping that JSON can hold.

    Args:
        table: One row per photograph, with `part`; `source`, `license`, `lesion_id`, `sex`, `age`, `site`,
            `label_from`, `confirmed_by`, `modality`, `format`, `width` and `height` where they are known.

    Returns:
        `sources{name: {train, tune, calibrate, test, lesions{known, assumed}, licences{name: n}, origins{set: n}}}`,
        `learnt{photographs, noncommercial}`, `people{part}`, `labels{from, confirmed_by}`, `modality`, `files`,
        `one_source{code: source}`.
    """
    sources = _column(table, "source").where(lambda names: names != "", UNRECORDED)
    learnt = table["part"].isin(_LEARNT).to_numpy(dtype=bool)
    licence, lesion = _column(table, "license"), _column(table, "lesion_id")
    closed = sources.map(lambda name: bool((one := known(name)) and one.noncommercial)) & (licence == "")
    closed |= licence.str.contains(r"\bNC\b|non-?commercial", case=False)
    closed |= lesion.str.startswith((PREFIXES["HAM10000"], PREFIXES["BCN20000"]))
    return {
        "sources": {
            name: _source(table[mask], licence[mask], lesion[mask])
            for name in sorted(set(sources), key=lambda name: (name == UNRECORDED, name))
            for mask in [(sources == name).to_numpy(dtype=bool)]
        },
        "learnt": {"photographs": int(learnt.sum()), "noncommercial": int((closed & learnt).sum())},
        "people": {part: _people(table[table["part"] == part]) for part in PARTS if (table["part"] == part).any()},
        "labels": {
            name: {said or UNRECORDED: int(n) for said, n in _column(table, column).value_counts().items()}
            for name, column in (("from", "label_from"), ("confirmed_by", "confirmed_by"))
        },
        "modality": {said or UNRECORDED: int(n) for said, n in _column(table, "modality").value_counts().items()},
        "files": {side: _quartiles(table, side, (0, 0.5, 1)) for side in ("width", "height")},
        "one_source": _one_source(table[table["part"] == "train"], sources),
    }


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    """Return a column as text, empty where it or a cell is missing."""
    if name not in table.columns:
        return pd.Series("", index=table.index, dtype="string")
    return table[name].astype("string").fillna("").str.strip()


def _source(rows: pd.DataFrame, licence: pd.Series, lesion: pd.Series) -> dict[str, Any]:
    alone = rows.loc[(lesion == "").to_numpy(dtype=bool)]
    return {
        **{part: int((rows["part"] == part).sum()) for part in PARTS},
        "lesions": {
            "known": int(lesion[lesion != ""].nunique()),
            "assumed": int(alone["photograph"].nunique()) if "photograph" in alone else len(alone),
        },
        "licences": {str(name): int(n) for name, n in licence[licence != ""].value_counts().items()},
        "origins": {
            name: n for name, prefix in PREFIXES.items() if (n := int(lesion.str.startswith(prefix).sum()))
        },
    }  # fmt: skip


def _people(rows: pd.DataFrame) -> dict[str, Any]:
    sex = _column(rows, "sex").str.lower()
    age = _quartiles(rows, "age", (0.25, 0.5, 0.75))
    told = rows["age"].notna().sum() if "age" in rows else 0
    return {
        "n": len(rows),
        "female": int((sex == "female").sum()),
        "male": int((sex == "male").sum()),
        "sex_unknown": int((~sex.isin(["female", "male"])).sum()),
        "age": age,
        "age_unknown": len(rows) - int(told),
        "site_unknown": int((_column(rows, "site") == "").sum()),
    }


def _quartiles(rows: pd.DataFrame, column: str, at: tuple[float, float, float]) -> list[float] | None:
    values = pd.to_numeric(rows[column], errors="coerce").dropna() if column in rows.columns else pd.Series(dtype=float)
    return [float(q) for q in np.quantile(values.to_numpy(dtype=float), at)] if len(values) else None


def _one_source(train: pd.DataFrame, sources: pd.Series) -> dict[str, str]:
    """Return the diagnoses of the training part whose photographs all come from one of its several sources."""
    named = sources.loc[train.index]
    if named.nunique() < 2:
        return {}
    by_class = {code: sorted(set(named[train["diagnosis"] == code])) for code in diagnosis.DIAGNOSES}
    return {code: names[0] for code, names in by_class.items() if len(names) == 1}


def data_section(metrics: Mapping[str, Any], data: Mapping[str, Any] | None) -> list[str]:
    """Return the lines of the sections on data, people, labels and licences."""
    part = metrics["parts"][metrics["headline"]]
    shared = " (**optimistic**: its test shares photographs or lesions with training)"
    optimistic = shared if metrics["optimistic"] else ""
    lines = [
        "## Data",
        "",
        f"Protocol `{metrics['protocol']}`{optimistic}; {'audited' if metrics['audited'] else 'unaudited'}. "
        f"Judged on {plural(part['n_images'], 'photograph')} of {part['n_lesions']['known']:,} known and "
        f"{plural(part['n_lesions']['assumed'], 'assumed lesion')} (assumed: one photograph, one lesion).",
    ]
    if metrics.get("continued_from"):
        lines += ["", metrics["continued_from"]["words"]]
    if metrics.get("limited"):
        used = plural(metrics["limited"], "photograph was", "photographs were")
        lines += ["", f"Only {used} used (`--limit`): a try, not a result."]
    if data:
        lines += ["", f"| source | {' | '.join(PARTS)} | lesions known | assumed |", "|---|---|---|---|---|---|---|"]
        lines += [
            f"| {name} | " + " | ".join(f"{one[part]:,}" for part in PARTS)
            + f" | {one['lesions']['known']:,} | {one['lesions']['assumed']:,} |"
            for name, one in data["sources"].items()
        ]  # fmt: skip
        lines += ["", _kind(data)]
    else:
        lines += ["", "Where the photographs come from was not recorded with this card."]
    lines += ["", "Photographs per diagnosis:", "", *_classes(metrics), ""]
    if metrics.get("flow"):
        lines += ["From photographs found to photographs scored:", "", *_flow(metrics["flow"]), ""]
    lines += ["### People", "", *_people_lines(data), ""]
    lines += ["### Reference standard", "", *_labels(data), ""]
    return [*lines, "### Licences and citations", "", *_licences(data), ""]


def _kind(data: Mapping[str, Any]) -> str:
    kinds = {name: n for name, n in data["modality"].items() if name != UNRECORDED}
    words = ", ".join(f"{n:,} {name}" for name, n in kinds.items())
    told = f"Kind of photograph as recorded: {words}." if kinds else "The kind of photograph was not recorded."
    width, height = data["files"]["width"], data["files"]["height"]
    if width and height:
        told += f" Files are {_span(width)} pixels wide and {_span(height)} high."
    return f"{told} Cameras, dermatoscopes and light were not recorded."


def _span(ends: Sequence[float]) -> str:
    low, median, high = ends
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f} (median {median:,.0f})"


def _classes(metrics: Mapping[str, Any]) -> list[str]:
    parts = [name for name in PARTS if name in metrics["parts"]]
    counts = [metrics["parts"][name]["class_counts"] for name in parts]
    codes = diagnosis.ordered({code for count in counts for code, n in count.items() if n})
    lines = ["| diagnosis | " + " | ".join(parts) + " |", "|---" * (len(parts) + 1) + "|"]
    return lines + [
        f"| {diagnosis.name(code)} ({code}) | " + " | ".join(f"{count.get(code, 0):,}" for count in counts) + " |"
        for code in codes
    ]


def _flow(flow: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for step in flow:
        away = "; ".join(f"{n:,} left out: {reason}" for reason, n in step["excluded"].items() if n)
        lines.append(f"- {step['label']}: {step['photographs']:,}" + (f" ({away})" if away else ""))
    return lines


def _people_lines(data: Mapping[str, Any] | None) -> list[str]:
    if not data or not data["people"]:
        return ["Age, sex and site were not recorded with this card."]
    lines = [
        "Per photograph; ancestry, skin type and medical history were not recorded.",
        "",
        "| part | n | female | male | sex not known | age, median (quartiles) | age not known | site not known |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part, one in data["people"].items():
        age = "" if one["age"] is None else f"{one['age'][1]:.0f} ({one['age'][0]:.0f} to {one['age'][2]:.0f})"
        lines.append(
            f"| {part} | {one['n']:,} | {one['female']:,} | {one['male']:,} | {one['sex_unknown']:,} | {age} | "
            f"{one['age_unknown']:,} | {one['site_unknown']:,} |"
        )
    return lines


def _labels(data: Mapping[str, Any] | None) -> list[str]:
    if not data:
        return ["How the diagnoses were made was not recorded with this card."]
    origin, how = data["labels"]["from"], data["labels"]["confirmed_by"]
    lines = []
    if set(origin) - {UNRECORDED}:
        lines.append(
            f"Labels: {origin.get('authority', 0):,} from the official tables of the data sets, "
            f"{origin.get('filed', 0):,} as the photographs were filed."
        )
    told = ", ".join(f"{_SAID.get(name, name)} {n:,}" for name, n in how.items() if name != UNRECORDED)
    lines.append(
        f"Confirmed by: {told}; not recorded: {how.get(UNRECORDED, 0):,}."
        if told
        else "How each diagnosis was confirmed (histology, follow-up, consensus) was not recorded."
    )
    return [
        *lines,
        "The data sets' makers gave the labels; nobody labelled photographs again for this model. Benign lesions that "
        "were followed up or agreed upon are easier than excised ones, so specificity on unselected lesions need not "
        "hold among those suspicious enough to be excised.",
    ]


def _licences(data: Mapping[str, Any] | None) -> list[str]:
    general = (
        "The weights are subject to the licences of the photographs that they were trained on; weights trained on "
        "HAM10000 or ISIC 2019 are for non-commercial research (CC BY-NC 4.0)."
    )
    if not data:
        return [general]
    learnt = data["learnt"]
    lines = [general]
    if learnt["noncommercial"]:
        lines.append(
            f"**That holds for these weights:** at least {learnt['noncommercial']:,} of the "
            f"{plural(learnt['photographs'], 'photograph')} that they learnt from are for non-commercial use only, by "
            "licence, source or lesion id."
        )
    lines += ["", "| source | licence |", "|---|---|"]
    cited: list[str] = []
    for name, one in data["sources"].items():
        public = known(name)
        stated = ", ".join(f"{licence} ({n:,})" for licence, n in one["licences"].items())
        unnamed = sum(one[part] for part in PARTS) - sum(one["licences"].values())
        if unnamed:
            rest = f"{public.name}: {public.licence}" if public else "not recorded"
            told = "; ".join([rest, *_by_id(one["origins"], public)])
            stated = f"{stated}; others ({unnamed:,}): {told}" if stated else told
        lines.append(f"| {name} | {stated} |")
        named = [public] if public else []
        named += [one_known for origin in one["origins"] if (one_known := known(origin)) is not None]
        cited += [cite for one_known in named for cite in one_known.cite if cite not in cited]
    if cited:
        lines += ["", "Cite, when you use this model:", "", *(f"- {cite}" for cite in dict.fromkeys(cited))]
    return lines


def _by_id(origins: Mapping[str, int], public: Known | None) -> list[str]:
    """Return which photographs are another set's by their lesion id, with its licence."""
    return [
        f"{plural(n, 'is', 'are')} {origin}'s by the lesion id" + (f": {theirs.licence}" if theirs else "")
        for origin, n in origins.items()
        if public is None or origin != public.name
        for theirs in [known(origin)]
    ]


def shift_of_sources(data: Mapping[str, Any] | None) -> list[str]:
    """Return sentences on diagnoses that come from one source only, and so may be told by the source."""
    if not data or not data["one_source"]:
        return []
    by_source: dict[str, list[str]] = {}
    for code, source in data["one_source"].items():
        by_source.setdefault(source, []).append(diagnosis.name(code))
    told = "; ".join(f"{', '.join(names)} from {source}" for source, names in by_source.items())
    return [f"In training, all photographs of some diagnoses are of one source ({told}): it may tell the diagnosis."]
