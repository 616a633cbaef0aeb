"""From the diagnoses of the ISIC Archive to the house's codes.

The archive files a diagnosis in up to five levels, coarse to fine
(`diagnosis_1` to `diagnosis_5`: Benign, Benign melanocytic proliferations,
Nevus, Nevus, Spitz); before 2024 it had one word, `diagnosis`. The finest
level that has a code counts. Names after the archive's own dictionary
(ImageMarkup/isic-metadata, `diagnosis_hierarchical.py`, Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from melascope import diagnosis
from melascope.errors import DataError

LEVELS = ("diagnosis_1", "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5")
"""The archive's levels, coarse to fine."""

# Groupings follow HAM10000 (Tschandl et al. 2018): solar lentigo and lichenoid keratosis are benign keratosis, and
# vascular lesions take in pyogenic granuloma and haemorrhage. The archive gives HAM10000's vascular lesions their
# second level only, and divides its AKIEC into actinic keratosis and squamous cell carcinoma.
_SPELLINGS: Mapping[str, str] = {
    "malignant melanocytic proliferations melanoma": "MEL",
    "melanoma invasive": "MEL",
    "invasive melanoma": "MEL",
    "melanoma nos": "MEL",
    "melanoma metastasis": "MEL",
    "solar or actinic keratosis": "AK",
    "solar lentigo": "BKL",
    "lichenoid keratosis": "BKL",
    "lichen planus like keratosis": "BKL",
    "squamous cell carcinoma in situ": "SCC",
    "squamous cell carcinoma in situ bowens disease": "SCC",
    "squamous cell carcinoma in situ bowen s disease": "SCC",
    "squamous cell carcinoma invasive": "SCC",
    "squamous cell carcinoma nos": "SCC",
    "benign soft tissue proliferations vascular": "VASC",
    "hemorrhagic lesions": "VASC",
    "angiokeratoma": "VASC",
    "pyogenic granuloma": "VASC",
}


def code_of(fields: Mapping[str, str]) -> str | None:
    """Return the code of a photograph's diagnosis, None where the archive gives none or one without a code.

    Args:
        fields: What the archive says of the photograph, name to text.

    Example:
        >>> code_of({"diagnosis_1": "Malignant", "diagnosis_3": "Melanoma Invasive"})
        'MEL'
    """
    for level in ("diagnosis", *LEVELS)[::-1]:
        code = _code(fields.get(level, ""))
        if code is not None:
            return code
    return None


def path_of(fields: Mapping[str, str]) -> str:
    """Return the diagnosis in the archive's words, all levels, coarse to fine: `Benign > ... > Nevus`."""
    levels = [fields[level] for level in LEVELS if fields.get(level)]
    return " > ".join(levels) or fields.get("diagnosis", "")


@cache
def _code(text: str) -> str | None:
    if not text:
        return None
    try:
        return diagnosis.parse(text, _SPELLINGS)
    except DataError:
        return None
