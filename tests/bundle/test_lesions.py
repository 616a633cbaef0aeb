from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests import tiny_bundle as tiny

from melascope.bundle.decision import Decider
from melascope.bundle.lesions import lesion_columns, lesion_findings, lesion_row, ugly_duckling
from melascope.errors import DataError
from melascope.finding import Finding, LesionFinding, Model, Refusal

MODEL = Model("tiny", "1", "0" * 64)
BLURRED = {"score": 0.1, "problems": [{"kind": "blur", "severity": 1.0, "sentence": "The photograph is blurred."}]}


def decider(**changes: Any) -> Decider:
    return Decider.of(tiny.decision(**changes))


def photograph(
    name: str, mel: float | None, lesion: str | None = "L1", rule: Decider | None = None, **more: Any
) -> Finding:
    """The finding for a photograph of a melanoma risk; None: it was refused."""
    about = {key: more.pop(key) for key in ("patient_id", "embedding") if key in more}
    if mel is None:
        refusal = Refusal("truncated", "The file is cut short.")
        return Finding(name, None, name, "refused", MODEL, lesion_id=lesion, error=refusal, **about)
    p = np.array([mel, 1 - mel, 0.0, 0.0])
    verdict = (rule or decider()).judge(p, **more)
    return Finding(
        name,
        None,
        name,
        "ok",
        MODEL,
        lesion_id=lesion,
        decision=verdict.decision,
        reasons=verdict.reasons,
        diagnosis=verdict.diagnosis,
        probabilities=dict(zip(tiny.CLASSES, p.tolist(), strict=True)),
        melanoma_risk=verdict.melanoma_risk,
        malignancy_risk=verdict.malignancy_risk,
        operating_point=verdict.operating_point,
        doubts=verdict.doubts,
        **{key: more.get(key) for key in ("novelty", "quality", "modality", "context")},
        **about,
    )


def one(*photographs: Finding, **changes: Any) -> LesionFinding:
    (found,) = lesion_findings(photographs, decider(**changes))
    return found


def test_a_lesion_is_the_mean_of_its_photographs() -> None:
    found = one(photograph("a", 0.5), photograph("b", 0.2))
    assert found.melanoma_risk == pytest.approx(0.35)
    assert found.probabilities["NV"] == pytest.approx(0.65)
    assert (found.decision, found.lesion_id, found.judged) == ("alert", "L1", ("a", "b"))
    assert "Risks are the mean of 2 photographs." in found.reasons
    assert "made without thresholds for lesions" in found.reasons[-1]
    assert found.operating_point is not None
    assert found.operating_point.chosen_on == "photographs"


def test_no_photograph_has_a_veto() -> None:
    assert one(photograph("a", 0.9), photograph("b", 0.9), photograph("c", 1e-9)).decision == "alert"


def test_lesions_have_thresholds_of_their_own() -> None:
    point = {**tiny.decision()["operating_points"]["melanoma"]["screening"], "threshold": 0.4, "assured": True}
    own = {"points": {"melanoma": {"screening": point}}, "reason": None}
    photographs = photograph("a", 0.5), photograph("b", 0.2)
    found = one(*photographs, lesion_operating_points=own)
    assert found.decision == "no_alert"
    assert found.operating_point is not None
    assert (found.operating_point.threshold, found.operating_point.chosen_on) == (0.4, "lesions")
    assert not any("single photographs" in reason for reason in found.reasons)


def test_without_thresholds_for_lesions_a_photograph_that_alerts_is_not_averaged_away() -> None:
    found = one(photograph("a", 0.9), photograph("b", 1e-9), photograph("c", 1e-9), photograph("d", 1e-9))
    assert found.melanoma_risk == pytest.approx(0.225)
    assert found.decision == "alert"
    assert found.reasons[0] == "One of its photographs alerts on its own."
    point = {**tiny.decision()["operating_points"]["melanoma"]["screening"], "threshold": 0.4, "assured": True}
    own = {"points": {"melanoma": {"screening": point}}, "reason": None}
    assert one(*found.findings, lesion_operating_points=own).decision == "no_alert"


def test_a_refused_photograph_silences_no_other() -> None:
    found = one(photograph("a", None), photograph("b", 0.8))
    assert (found.status, found.decision, found.judged) == ("ok", "alert", ("b",))
    assert "1 of 2 photographs could not be read." in found.reasons
    assert len(found.findings) == 2
    nothing = one(photograph("a", None), photograph("b", None))
    assert (nothing.status, nothing.decision, nothing.probabilities) == ("refused", None, {})


def test_a_photograph_that_is_not_fit_does_not_dilute_those_that_are() -> None:
    found = one(photograph("a", 0.4), photograph("b", 0.01, quality=BLURRED))
    assert (found.decision, found.judged) == ("alert", ("a",))
    assert any(reason.startswith("1 of 2 photographs was left out: ") for reason in found.reasons)
    assert any("blurred" in reason for reason in found.reasons)
    # Nor is it silenced: an alert stays an alert.
    alone = one(photograph("a", 0.01), photograph("b", 0.9, quality=BLURRED))
    assert alone.decision == "alert"
    assert "not fit to be judged alerts on its own" in alone.reasons[0]
    assert alone.melanoma_risk == pytest.approx(0.01)
    assert ["blurred" in doubt for doubt in alone.doubts] == [True]
    assert found.doubts == ()


def test_where_no_photograph_is_fit_the_lesion_is_referred() -> None:
    outside = {"score": 0.001, "outside": True}
    found = one(photograph("a", 0.02, novelty=outside), photograph("b", 0.04, quality=BLURRED))
    assert found.decision == "refer"
    assert found.melanoma_risk == pytest.approx(0.03)
    assert "unlike the photographs" in found.reasons[0]
    assert "blurred" in found.reasons[1]
    assert found.doubts == found.reasons[:2]


def test_a_site_that_the_model_hardly_knows_refers_the_lesion() -> None:
    known = {"site": {"back": 100, "lateral torso": 2}}
    rule = decider(known_context=known)
    photographs = [photograph(name, 0.02, rule=rule, context={"site": "lateral torso"}) for name in "ab"]
    (found,) = lesion_findings(photographs, rule)
    assert found.decision == "refer"
    assert sum("2 lesions at the site" in reason for reason in found.reasons) == 1
    assert found.judged == ("a", "b")


def test_lesions_come_in_order_and_photographs_without_one_stand_alone() -> None:
    given = [photograph("a", 0.1, "L2"), photograph("b", 0.1, None), photograph("c", 0.1), photograph("d", 0.1, "L2"),
             photograph("e", 0.1, None)]  # fmt: skip
    found = lesion_findings(given, decider())
    assert [lesion.lesion_id for lesion in found] == ["L2", None, "L1", None]
    assert [lesion.judged for lesion in found] == [("a", "d"), ("b",), ("c",), ("e",)]
    assert found[1].decision == given[1].decision


def test_one_photograph_says_what_its_lesion_says() -> None:
    for mel in (0.1, 0.29999, 0.3, 0.9):
        single = photograph("a", mel)
        found = one(single)
        assert (found.decision, found.melanoma_risk) == (single.decision, single.melanoma_risk)
        assert found.reasons == single.reasons


def test_a_lesion_has_one_patient() -> None:
    with pytest.raises(DataError, match="Lesion L1 is given to two patients, P1 and P2"):
        one(photograph("a", 0.1, patient_id="P1"), photograph("b", 0.1, patient_id="P2"))
    assert one(photograph("a", 0.1, patient_id="P1"), photograph("b", 0.1)).patient_id == "P1"


def test_json_and_rows() -> None:
    found = one(photograph("a", None), photograph("b", 0.8))
    told = json.loads(found.to_json())
    assert [each["path"] for each in told["findings"]] == ["a", "b"]
    assert told["ugly_duckling"] is None
    assert told["operating_point"]["chosen_on"] == "photographs"
    row = lesion_row(found, tiny.CLASSES)
    assert list(row) == list(lesion_columns(tiny.CLASSES))
    assert (row["photographs"], row["judged"], row["refused"], row["paths"]) == (2, 1, 1, "a b")
    for name, value in row.items():
        assert value is None or isinstance(value, lesion_columns(tiny.CLASSES)[name])


def patients(sizes: list[int], spreads: list[float], seed: int = 0) -> tuple[list[LesionFinding], list[str]]:
    """Lesions of patients, each around a centre of the patient's own."""
    generator = np.random.default_rng(seed)
    findings, whose = [], []
    for number, (size, spread) in enumerate(zip(sizes, spreads, strict=True)):
        centre = generator.normal(0, 1, 64)
        for k in range(size):
            embedding = centre + spread * generator.normal(0, 1, 64)
            name = f"P{number}L{k}"
            findings.append(
                photograph(name, 0.1, name, patient_id=f"P{number}", embedding=embedding.astype(np.float32))
            )
            whose.append(f"P{number}")
    return lesion_findings(findings, decider()), whose


def test_the_ugly_duckling_is_unlike_its_patients_others() -> None:
    lesions, whose = patients([8] * 12, [0.3] * 12)
    usual = np.array([lesion.ugly_duckling for lesion in lesions], float)
    assert np.median(usual) == pytest.approx(0, abs=0.3)
    assert (usual > 4).mean() < 0.03
    # One lesion of the third patient is replaced by one of another kind.
    odd = 8 * 2 + 5
    stranger = photograph("odd", 0.1, "odd", patient_id="P2", embedding=np.random.default_rng(9).normal(0, 1, 64))
    changed = [*lesions[:odd], lesion_findings([stranger], decider())[0], *lesions[odd + 1 :]]
    scores = np.array(ugly_duckling(changed, whose), float)
    assert scores.argmax() == odd
    assert scores[odd] > 5


def test_who_has_moles_of_all_kinds_has_no_ugly_duckling() -> None:
    lesions, _ = patients([8] * 12 + [8], [0.3] * 12 + [1.5])
    motley = np.array([lesion.ugly_duckling for lesion in lesions[-8:]], float)
    assert np.median(motley) == pytest.approx(0, abs=1.0)


def test_fewer_than_three_others_say_nothing() -> None:
    lesions, whose = patients([3, 4, 6], [0.3] * 3)
    scores = [lesion.ugly_duckling for lesion in lesions]
    assert scores[:3] == [None] * 3
    assert all(score is not None for score in scores[3:])
    assert ugly_duckling(lesions, [None] * 13) == [None] * 13
    assert ugly_duckling([], []) == []
    alike = [photograph(str(i), 0.1, str(i), patient_id="P", embedding=np.ones(4)) for i in range(5)]
    assert [lesion.ugly_duckling for lesion in lesion_findings(alike, decider())] == [None] * 5
    blind = [photograph(str(i), 0.1, str(i), patient_id="P") for i in range(5)]
    assert [lesion.ugly_duckling for lesion in lesion_findings(blind, decider())] == [None] * 5
    assert whose[0] == "P0"
