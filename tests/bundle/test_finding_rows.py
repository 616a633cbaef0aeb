from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests import tiny_bundle as tiny

from melascope.bundle.decision import Decider
from melascope.bundle.lesions import lesion_columns, lesion_finding, lesion_row
from melascope.bundle.rows import columns, kind, row
from melascope.finding import Finding, Model, OperatingPointUsed

MODEL = Model("tiny", "1", "0" * 64)
RULE = Decider.of(tiny.decision(), prevalence=0.02)
POOR = {"score": 0.2, "problems": [{"kind": "blur", "severity": 1.0, "sentence": "It is blurred."}]}
HAIRY = {"score": 0.8, "problems": [{"kind": "hair", "severity": 0.3, "sentence": "Hair covers the skin."}]}


def neighbour(name: str, diagnosis: str, distance: float) -> dict[str, Any]:
    return {"image_id": name, "diagnosis": diagnosis, "distance": distance, "source": None, "licence": "CC-0"}


FINDING = Finding(
    "a.jpg",
    "1" * 64,
    "a",
    "ok",
    MODEL,
    lesion_id="L1",
    patient_id="P1",
    decision="no_alert",
    reasons=("One.", "Two."),
    diagnosis="NV",
    probabilities=dict(zip(tiny.CLASSES, (0.1, 0.8, 0.1, 0.0), strict=True)),
    melanoma_risk=0.1,
    malignancy_risk=0.2,
    operating_point=RULE.points["melanoma"],
    prediction_set=("NV", "BCC"),
    coverage=0.9,
    novelty={"score": 0.4, "outside": False, "method": "knn"},
    quality=HAIRY,
    modality="dermoscopic",
    neighbours=(neighbour("n1", "NV", 0.125), neighbour("n2", "MEL", 0.25)),
    context={"age": 45.0, "site": "back"},
)

# What a finding's JSON says, by the columns that say it; where there are none, why.
SAME: dict[str, tuple[str, ...] | str] = {
    "schema": "a row's columns are its schema",
    "coverage_note": "docs/bundle.md says it at the column coverage",
    "error": ("error_kind", "error"),
    "probabilities": tuple(f"p_{code}" for code in tiny.CLASSES),
    "operating_point": (
        "operating_point", "group", "threshold", "assured", "measured_on", "aim", "target", "threshold_chosen_on",
        "prevalence",
        *(
            f"{score}{end}"
            for score in ("sensitivity", "specificity", "ppv", "npv")
            for end in ("", "_low", "_high", "_n")
        ),
    ),
    "novelty": ("novelty", "novelty_outside"),
    "quality": ("quality", "quality_problems"),
    "neighbours": ("neighbours", "neighbour_diagnoses", "neighbour_distances"),
    "context": ("age", "site"),
    "model": ("model", "model_version", "model_sha256"),
}  # fmt: skip
SAME_OF_A_LESION = {
    **SAME,
    "judged": ("judged",),
    "findings": (
        "photographs", "refused", "paths", "error_kind", "error", *SAME["novelty"], *SAME["quality"], "modality",
        *SAME["neighbours"], *SAME["context"],
    ),
}  # fmt: skip


def covered(told: dict[str, Any], same: dict[str, tuple[str, ...] | str]) -> set[str]:
    found: set[str] = set()
    for key in told:
        names = same.get(key, (key,))
        found |= set() if isinstance(names, str) else set(names)
    return found


def test_a_row_answers_what_the_json_answers() -> None:
    assert covered(FINDING.to_dict(), SAME) == set(columns(tiny.CLASSES))
    point = FINDING.to_dict()["operating_point"]
    plain = {"name": "operating_point", "chosen_on": "threshold_chosen_on"}
    assert {plain.get(key, key) for key in point} <= set(SAME["operating_point"])
    told = row(FINDING, tiny.CLASSES)
    assert list(told) == columns(tiny.CLASSES)
    assert [name for name, cell in told.items() if cell is None] == ["error_kind", "error"]
    for name, cell in told.items():
        assert cell is None or type(cell) is kind(name), name
    assert (told["patient_id"], told["age"], told["site"], told["modality"]) == ("P1", 45.0, "back", "dermoscopic")
    assert (told["novelty"], told["novelty_outside"], told["quality_problems"]) == (0.4, False, "hair")
    assert (told["neighbours"], told["neighbour_distances"]) == ("n1 n2", "0.125 0.25")


def test_the_columns_that_were_there_keep_their_order() -> None:
    before = [
        "path", "image_id", "lesion_id", "sha256", "status", "error_kind", "error", "decision", "reasons", "diagnosis",
        "melanoma_risk", "malignancy_risk", "p_MEL", "operating_point", "group", "threshold", "assured", "sensitivity",
        "sensitivity_low", "sensitivity_high", "sensitivity_n", "specificity", "specificity_low", "specificity_high",
        "specificity_n", "measured_on", "prediction_set", "coverage", "quality", "quality_problems", "neighbours",
        "neighbour_diagnoses", "model", "model_version", "model_sha256",
    ]  # fmt: skip
    assert [name for name in columns(["MEL"]) if name in before] == before
    of_lesions = [
        "lesion_id", "patient_id", "photographs", "judged", "refused", "status", "decision", "reasons", "diagnosis",
        "melanoma_risk", "malignancy_risk", "p_MEL", "ugly_duckling", "operating_point", "group", "threshold",
        "assured", "threshold_chosen_on", "prediction_set", "coverage", "paths", "model", "model_version",
        "model_sha256",
    ]  # fmt: skip
    assert [name for name in lesion_columns(["MEL"]) if name in of_lesions] == of_lesions


def test_a_lesions_row_answers_what_its_json_answers() -> None:
    lesion = lesion_finding([FINDING], RULE)
    assert covered(lesion.to_dict(), SAME_OF_A_LESION) == set(lesion_columns(tiny.CLASSES))
    told = lesion_row(lesion, tiny.CLASSES)
    assert list(told) == list(lesion_columns(tiny.CLASSES))
    assert [name for name, cell in told.items() if cell is None] == ["error_kind", "error", "ugly_duckling"]
    for name, cell in told.items():
        assert cell is None or type(cell) is lesion_columns(tiny.CLASSES)[name], name
    alone = row(FINDING, tiny.CLASSES)
    point = lesion.operating_point
    assert isinstance(point, OperatingPointUsed)
    assert (told["sensitivity"], told["sensitivity_n"], told["measured_on"]) == (0.95, 40, "calibrate")
    for name in ("quality", "neighbours", "neighbour_distances", "novelty", "novelty_outside", "age", "site"):
        assert told[name] == alone[name]


def test_a_lesion_looks_like_the_photographs_that_were_judged() -> None:
    other = replace(
        FINDING,
        path="b.jpg",
        quality={"score": 0.7, "problems": []},
        novelty={"score": 0.1, "outside": False, "method": "knn"},
        neighbours=(neighbour("n3", "BCC", 0.01), neighbour("n1", "NV", 0.5)),
        context=None,
    )
    poor = replace(FINDING, path="c.jpg", quality=POOR, neighbours=(neighbour("n4", "MEL", 0.001),))
    told = lesion_row(lesion_finding([FINDING, other, poor], RULE), tiny.CLASSES)
    assert (told["photographs"], told["judged"]) == (3, 2)
    assert (told["quality"], told["quality_problems"], told["novelty"]) == (0.7, "hair", 0.1)
    assert (told["neighbours"], told["neighbour_diagnoses"]) == ("n3 n1", "BCC NV")
    assert told["neighbour_distances"] == "0.01 0.125"
    assert told["age"] == 45.0
    bare = replace(FINDING, quality=None, novelty=None, modality=None, neighbours=None, context=None)
    nothing = lesion_row(lesion_finding([bare], RULE), tiny.CLASSES)
    for name in ("quality", "novelty", "novelty_outside", "modality", "neighbours", "neighbour_distances", "age"):
        assert nothing[name] is None


def test_the_json_says_what_a_coverage_promises() -> None:
    for told in (FINDING.to_dict(), lesion_finding([FINDING], RULE).to_dict()):
        assert told["coverage"] == 0.9
        assert "on average and if photographs are exchangeable with the calibration ones" in told["coverage_note"]
    assert "single photographs" in lesion_finding([FINDING], RULE).to_dict()["coverage_note"]
    assert replace(FINDING, prediction_set=None, coverage=None).to_dict()["coverage_note"] is None
