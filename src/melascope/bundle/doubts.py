"""Why a photograph is referred rather than judged: what the model was not made for, in sentences.

Inputs are as in a finding: novelty `{"score", "outside"}`, quality `{"score",
"problems"}`, modality `dermoscopic` or another word, context `{"age", "site"}`.
What is None, or says nothing, raises no doubt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from melascope.counted import plural

DERMOSCOPIC = "dermoscopic"
FEW = 10
"""Fewer training lesions, or malignant ones, than this of an age band or a site are too few to know it."""
ADULT = 18
"""The age in years below which patients are `THE_YOUNG`."""
THE_YOUNG = "children and adolescents"
"""Whom the model was not made for, however many of them were in training; as its card says (Contraindications)."""
CONTRAINDICATED_SITES: Mapping[str, str] = {
    "palms and soles": r"\b(acral|palms?|palmar|soles?|plantar)\b",
    "nails": r"nails?\b|\bsubungual\b",
    "mucosa": r"mucos|\b(oral|mouth)\b",
    "eyes": r"\b(eyes?|conjunctival?)\b",
    "genitals": r"genital|\b(penis|scrotum|vulva)\b",
}
"""Where the model was not made for, in the words of its card (Contraindications), and how tables name these sites.

They are referred whatever the counts: three dozen lesions of which hardly one is
malignant teach nothing about melanoma. HAM10000's `foot` and `hand` are extremities.
"""
_OLDEST = 80
_MOST = 3  # problems of a photograph that are told, the one that costs most first


def doubts(
    novelty: Mapping[str, Any] | None = None,
    quality: Mapping[str, Any] | None = None,
    modality: str | Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    known: Mapping[str, Mapping[str, int]] | None = None,
) -> tuple[str, ...]:
    """Return a sentence for each reason not to trust a missing alert.

    Args:
        novelty: `outside` True raises a doubt.
        quality: A `score` below `melascope.images.quality.TOO_POOR` does; `problems` have a `sentence` each.
        modality: Anything but `dermoscopic`; a word, or a mapping that has it as `modality`.
        context: `age` in years and `site` of the lesion; either may be missing.
        known: `known_context` of the decision: lesions of the training part, and the malignant ones of these, per age
            band and site. Of age and site each raises one doubt at most.
    """
    found = []
    if novelty is not None and novelty.get("outside"):
        found.append(_outside(novelty.get("score")))
    if quality is not None and _too_poor(quality.get("score")):
        found.append(_poor(quality.get("problems") or ()))
    kind = modality.get("modality") if isinstance(modality, Mapping) else modality
    if kind is not None and kind != DERMOSCOPIC:
        named = {
            "neither": "a photograph of a lesion at all",
            "clinical": "a dermoscopic photograph but a clinical one",
        }
        found.append(f"It does not look like {named.get(str(kind), 'a dermoscopic photograph')}.")
    return (*found, *_unfamiliar(context or {}, known or {}))


def age_band(age: Any) -> str | None:
    """Return the decade of an age in years, such as `40 to 49`; None where there is no age.

    Decades, since a wider youngest band would hide that there were no children.
    """
    try:
        years = float(age)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(years) or years < 0:
        return None
    if years >= _OLDEST:
        return f"{_OLDEST} and over"
    decade = 10 * int(years // 10)
    return f"{decade} to {decade + 9}" if decade else "under 10"


def context_of(about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `{"age", "site"}`, as far as a table's row tells them; None where it tells neither."""
    age, site = about.get("age"), about.get("site")
    found: dict[str, Any] = {}
    if age_band(age) is not None:
        found["age"] = float(age)  # type: ignore[arg-type]
    if site_name(site) is not None:
        found["site"] = str(site).strip()
    return found or None


_GENERAL = {
    "abdomen": "anterior torso", "chest": "anterior torso", "back": "posterior torso", "acral": "palms/soles",
    "ear": "head/neck", "face": "head/neck", "neck": "head/neck", "scalp": "head/neck",
    "foot": "lower extremity", "hand": "upper extremity", "genital": "oral/genital",
}  # fmt: skip
"""HAM10000's names of sites in those of the ISIC archive."""
_NO_SITE = ("", "unknown", "trunk")  # of the trunk nobody can say which side


def site_name(site: Any) -> str | None:
    """Return a site as it is counted: in lower case, in the ISIC archive's names; None where none is told."""
    plain = site.strip().casefold() if isinstance(site, str) else ""
    return None if plain in _NO_SITE else _GENERAL.get(plain, plain)


def _unfamiliar(context: Mapping[str, Any], known: Mapping[str, Mapping[str, int]]) -> list[str]:
    age, site = context.get("age"), context.get("site")
    about_age = _not_for_age(age) or _barely_known(known, "age_band", age_band(age), "of patients aged {}")
    about_site = _not_for_site(site) or _barely_known(known, "site", site_name(site), 'at the site "{}"')
    return [sentence for sentence in (about_age, about_site) if sentence is not None]


def _not_for_age(age: Any) -> str | None:
    if age_band(age) is None or float(age) >= ADULT:
        return None
    return f"The model was not made for {THE_YOUNG} (age {float(age):g})."


def _not_for_site(site: Any) -> str | None:
    given = " ".join(site.split()) if isinstance(site, str) else ""
    plain = given.casefold().replace("_", " ")
    places = [place for place, pattern in CONTRAINDICATED_SITES.items() if re.search(pattern, plain)]
    return f'The model was not made for {" and ".join(places)} (site "{given}").' if places else None


def _barely_known(known: Mapping[str, Mapping[str, int]], column: str, name: str | None, words: str) -> str | None:
    """Return that too few lesions of an age band or a site were in training, or too few malignant ones."""
    for kind, counts in (("lesion", known.get(column)), ("malignant lesion", known.get(f"malignant_{column}"))):
        # A set that never says the age or the site cannot tell which it lacked.
        if name is None or not counts:
            continue
        seen = sum(count for key, count in counts.items() if name in (key, site_name(key)))
        if seen < FEW:
            number = plural(seen, kind) if seen else f"no {kind}"
            return f"The model was trained on {number} {words.format(name)}: too few to be relied on."
    return None


def _outside(score: Any) -> str:
    if not isinstance(score, (int, float)) or not 0 <= score <= 1:
        return "It looks unlike the photographs that the model knows."
    share = "fewer than 0.1 %" if score < 0.001 else f"{100 * score:.1f} %"
    return f"It looks unlike the photographs that the model knows: {share} of those look as unusual."


def _too_poor(score: Any) -> bool:
    from melascope.images.quality import TOO_POOR

    return isinstance(score, (int, float)) and score < TOO_POOR


def _poor(problems: Sequence[Mapping[str, Any]]) -> str:
    told = [str(problem["sentence"]) for problem in problems if problem.get("sentence")]
    return " ".join(["The photograph is too poor to be judged.", *told[:_MOST]])
