from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests import tiny_bundle as tiny

from melascope.bundle.decision import Decider
from melascope.bundle.doubts import ADULT, CONTRAINDICATED_SITES, THE_YOUNG, doubts

QUIET, LOUD = np.array([0.01, 0.99, 0, 0]), np.array([0.6, 0.4, 0, 0])
PLENTY: dict[str, dict[str, int]] = {
    "age_band": {"under 10": 500, "10 to 19": 500, "40 to 49": 500},
    "site": {"posterior torso": 500, "lower extremity": 500, "oral/genital": 500, "palms/soles": 500},
}
MALIGNANT = {
    "malignant_age_band": {"under 10": 0, "10 to 19": 9, "40 to 49": 80},
    "malignant_site": {"posterior torso": 80, "lower extremity": 1, "oral/genital": 0, "palms/soles": 20},
}


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        ({"age": 6}, "The model was not made for children and adolescents (age 6)."),
        ({"age": "17.5"}, "The model was not made for children and adolescents (age 17.5)."),
        ({"site": "Acral"}, 'The model was not made for palms and soles (site "Acral").'),
        ({"site": "palms/soles"}, 'The model was not made for palms and soles (site "palms/soles").'),
        ({"site": " PALMS_SOLES "}, 'The model was not made for palms and soles (site "PALMS_SOLES").'),
        ({"site": "toenail"}, 'The model was not made for nails (site "toenail").'),
        ({"site": "Mucosa"}, 'The model was not made for mucosa (site "Mucosa").'),
        ({"site": "oral/genital"}, 'The model was not made for mucosa and genitals (site "oral/genital").'),
        ({"site": "genital"}, 'The model was not made for genitals (site "genital").'),
        ({"site": "eye"}, 'The model was not made for eyes (site "eye").'),
    ],
)
@pytest.mark.parametrize("known", [None, {}, PLENTY, {**PLENTY, **MALIGNANT}])
def test_what_the_card_lists_is_referred_whatever_the_counts(
    context: dict[str, Any], sentence: str, known: Any
) -> None:
    decider = Decider.of(tiny.decision(known_context=known))
    assert decider.doubts(context=context) == (sentence,)
    quiet, loud = decider.judge(QUIET, context=context), decider.judge(LOUD, context=context)
    assert (quiet.decision, quiet.reasons[0]) == ("refer", sentence)
    # An alert stays an alert, and says the doubt.
    assert (loud.decision, loud.doubts) == ("alert", (sentence,))
    assert sentence in loud.reasons


@pytest.mark.parametrize("site", ["foot", "hand", "temporal region", "eyelid", "back", "trunk", "", None, float("nan")])
def test_other_sites_are_not_contraindicated(site: Any) -> None:
    assert doubts(context={"age": ADULT, "site": site}) == ()


def test_the_card_names_the_same(judged_card: str) -> None:
    against = judged_card.split("## Contraindications")[1].split("\n\n")[2]
    for words in (THE_YOUNG, *CONTRAINDICATED_SITES):
        assert words in against
    places = next(line for line in against.splitlines() if "nails" in line).removeprefix("- ").removesuffix(";")
    left = places.replace("(acral skin)", "").replace(" and ", ",").split(",")
    named = {word for place in CONTRAINDICATED_SITES for word in place.split(" and ")}
    assert {word.strip() for word in left} == named


@pytest.fixture
def judged_card() -> str:
    from melascope.evaluation.card import _use

    return "\n".join(_use({}))


def test_few_malignant_lesions_are_a_doubt_of_their_own() -> None:
    known = {**PLENTY, **MALIGNANT}
    assert doubts(context={"age": 18, "site": "foot"}, known=known) == (
        "The model was trained on 9 malignant lesions of patients aged 10 to 19: too few to be relied on.",
        'The model was trained on 1 malignant lesion at the site "lower extremity": too few to be relied on.',
    )
    none = {**known, "malignant_site": {"posterior torso": 0, "lower extremity": 80}}
    assert doubts(context={"site": "Back"}, known=none) == (
        'The model was trained on no malignant lesion at the site "posterior torso": too few to be relied on.',
    )
    assert doubts(context={"age": 45, "site": "back"}, known=known) == ()
    # Where there are few of any kind, that is said once, and not of the malignant ones as well.
    assert doubts(context={"age": 95}, known=known) == (
        "The model was trained on no lesion of patients aged 80 and over: too few to be relied on.",
    )


def test_bundles_that_do_not_count_malignant_lesions_are_judged_as_before() -> None:
    for without in (PLENTY, {**PLENTY, "malignant_age_band": None, "malignant_site": None}):
        decider = Decider.of(tiny.decision(known_context=without))
        assert decider.judge(QUIET, context={"age": 19, "site": "foot"}).decision == "no_alert"
        assert decider.judge(QUIET, context={"age": 95}).decision == "refer"
