"""The diagnoses: names, codes, groups, each data set's spellings, and coarsening.

Codes are those of the ISIC challenges. Three vocabularies are known:

- `ISIC_FOLDERS`: the nine classes of the public folder set;
- `ISIC_2019`: eight classes (the ISIC 2019 training set);
- `ISIC_2018`: seven classes (HAM10000 and ISIC 2018 task 3).

Going from a finer vocabulary to a coarser one is *coarsening*: pigmented
benign keratosis and seborrheic keratosis are both benign keratosis (BKL);
HAM10000 files actinic keratosis together with intraepithelial carcinoma
(AKIEC), which the coarsening of AK and SCC follows.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from melascope.errors import DataError


@dataclass(frozen=True)
class Diagnosis:
    """One diagnosis.

    Attributes:
        code: The ISIC challenge's code, such as `MEL`.
        name: The name for pages and tables.
        malignant: Whether it counts as malignant. Actinic keratosis, a
            precursor, does not; AKIEC does, as in ISIC 2018, because it
            contains carcinoma in situ.
        spellings: Other ways in which data sets write it, lower case.
    """

    code: str
    name: str
    malignant: bool
    spellings: tuple[str, ...] = ()

    @property
    def melanoma(self) -> bool:
        """Whether it is melanoma."""
        return self.code == "MEL"


DIAGNOSES: Mapping[str, Diagnosis] = {
    d.code: d
    for d in (
        Diagnosis("MEL", "melanoma", True, ("malignant melanoma", "melanoma in situ", "mel", "mm")),
        Diagnosis("NV", "nevus", False, ("nevi", "naevus", "melanocytic nevus", "melanocytic nevi", "mole")),
        Diagnosis("BCC", "basal cell carcinoma", True, ("basalioma",)),
        Diagnosis("AK", "actinic keratosis", False, ("actinic keratoses", "solar keratosis")),
        Diagnosis("BKL", "benign keratosis", False, ("benign keratosis like lesion", "benign keratosis like lesions")),
        Diagnosis("DF", "dermatofibroma", False, ("dermatofibromas",)),
        Diagnosis("VASC", "vascular lesion", False, ("vascular lesions", "vascular", "angioma", "hemangioma")),
        Diagnosis("SCC", "squamous cell carcinoma", True, ("squamous cell carcinomas",)),
        Diagnosis("PBK", "pigmented benign keratosis", False, ("pigmented benign keratoses",)),
        Diagnosis("SK", "seborrheic keratosis", False, ("seborrhoeic keratosis", "seborrheic keratoses")),
        Diagnosis(
            "AKIEC",
            "actinic keratosis or intraepithelial carcinoma",
            True,
            ("actinic keratoses and intraepithelial carcinoma", "bowen s disease", "bowens disease"),
        ),
    )
}

ISIC_FOLDERS = ("MEL", "NV", "BCC", "AK", "PBK", "SK", "DF", "VASC", "SCC")
ISIC_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
ISIC_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
ORDER = ("MEL", "NV", "BCC", "AK", "AKIEC", "BKL", "PBK", "SK", "DF", "VASC", "SCC")
"""The order in which classes stand in tables and figures."""

GROUPS: Mapping[str, frozenset[str]] = {
    "melanoma": frozenset(code for code, d in DIAGNOSES.items() if d.melanoma),
    "malignant": frozenset(code for code, d in DIAGNOSES.items() if d.malignant),
}
"""The two groups on which a finding can alert, as sets of codes."""

_COARSER: Mapping[str, str] = {"PBK": "BKL", "SK": "BKL", "AK": "AKIEC", "SCC": "AKIEC"}


_LONGEST_QUOTED = 60


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


_BY_SPELLING: Mapping[str, str] = {
    _plain(spelling): d.code for d in DIAGNOSES.values() for spelling in (d.code, d.name, *d.spellings)
}


def parse(text: str, spellings: Mapping[str, str] | None = None) -> str:
    """Return the code that a data set's label means.

    Case, hyphens and underscores do not matter: `Melanoma`, `melanocytic-nevi`
    and `akiec` are understood.

    Args:
        text: The label as the data set writes it.
        spellings: Further spellings, label to code.

    Raises:
        DataError: When the label is unknown; the message names the nearest.

    Example:
        >>> parse("Pigmented benign keratosis")
        'PBK'
    """
    plain = _plain(text)
    extra = {_plain(label): code for label, code in (spellings or {}).items()}
    code = extra.get(plain) or _BY_SPELLING.get(plain)
    if code is not None:
        if code not in DIAGNOSES:
            raise DataError(f'"{text}" was mapped to "{code}", which is not one of {", ".join(DIAGNOSES)}.')
        return code
    if len(text) > _LONGEST_QUOTED:
        text, plain = f"{text[:_LONGEST_QUOTED]}...", plain[:_LONGEST_QUOTED]
    near = difflib.get_close_matches(plain, _BY_SPELLING, n=1, cutoff=0.6)
    hint = f'; the nearest known name is "{near[0]}"' if near else ""
    raise DataError(
        f'"{text}" is not a diagnosis that Melascope knows{hint}. '
        f'Rename it, or say what it means with --spelling "{text}=CODE" (codes: {", ".join(DIAGNOSES)}).'
    )


def name(code: str) -> str:
    """Return the full name of a code, such as `melanoma` for `MEL`."""
    return DIAGNOSES[code].name


def ordered(codes: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct codes in the order used everywhere."""
    return tuple(sorted(set(codes), key=ORDER.index))


def coarsen_label(code: str, classes: Sequence[str]) -> str | None:
    """Return the class of `classes` that contains `code`, or None where none does.

    Example:
        >>> coarsen_label("SK", ISIC_2019)
        'BKL'
    """
    if code in classes:
        return code
    coarser = _COARSER.get(code)
    return coarser if coarser in classes else None


def agree(first: str, second: str) -> bool:
    """Return whether two labels say the same, where one may be finer: PBK agrees with BKL."""
    return coarsen_label(first, (second,)) is not None or coarsen_label(second, (first,)) is not None


def coarsen_probabilities(probabilities: np.ndarray, classes: Sequence[str], to: Sequence[str]) -> np.ndarray:
    """Sum the probabilities of finer classes into coarser ones.

    Args:
        probabilities: `(n, len(classes))` floats.
        classes: The codes of the columns.
        to: The codes wanted.

    Returns:
        `(n, len(to))` floats. A class without a counterpart in `to` loses its
        mass; rows are not rescaled.
    """
    result = np.zeros((len(probabilities), len(to)), dtype=np.asarray(probabilities).dtype)
    for column, code in enumerate(classes):
        target = coarsen_label(code, to)
        if target is not None:
            result[:, list(to).index(target)] += probabilities[:, column]
    return result


def group_risk(probabilities: np.ndarray, classes: Sequence[str], group: str) -> np.ndarray:
    """Return the summed probability `(n,)` of the classes in a group (`melanoma`, `malignant`)."""
    members = [i for i, code in enumerate(classes) if code in GROUPS[group]]
    risk: np.ndarray = np.asarray(probabilities)[:, members].sum(axis=1)
    return risk
