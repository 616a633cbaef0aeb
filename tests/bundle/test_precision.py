from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests import tiny_bundle as tiny

from melascope.bundle import Bundle, PrecisionCheck, Predictor


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny.melascope")


def test_equal_findings_change_nothing(bundle: Bundle, tmp_path: Path) -> None:
    exact = Predictor(bundle)
    check = PrecisionCheck(exact.decider)
    for finding in exact.predict(tiny.folder(tmp_path, 5)):
        check.add(finding)
    told: list[tuple[str, int, int]] = []
    change = check.compare(exact, lambda *step: told.append(step))
    assert (change.photographs, change.compared, change.largest, change.flipped) == (5, 5, 0.0, ())
    assert "all photographs" in change.sentence()
    assert "no decision differs" in change.sentence()
    assert told[-1] == ("checking bf16", 5, 5)


def test_the_largest_change_and_the_flips_are_found(bundle: Bundle, tmp_path: Path) -> None:
    exact = Predictor(bundle)
    check = PrecisionCheck(exact.decider)
    for i, finding in enumerate(exact.predict(tiny.folder(tmp_path, 4))):
        if i == 2:
            p = finding.probabilities["NV"]
            other = "alert" if finding.decision == "no_alert" else "no_alert"
            changed = {**finding.probabilities, "NV": p - 0.125}
            finding = replace(finding, probabilities=changed, decision=other)  # type: ignore[arg-type]
        check.add(finding)
    change = check.compare(exact)
    assert change.largest == pytest.approx(0.125)
    assert change.where.endswith("ISIC_0000002.jpg")
    assert len(change.flipped) == 1
    assert "1 decision differs" in change.sentence()


def test_of_many_a_sample_and_all_near_a_threshold_are_compared(bundle: Bundle, tmp_path: Path) -> None:
    exact = Predictor(bundle)
    check = PrecisionCheck(exact.decider)
    (finding,) = exact.predict(tiny.folder(tmp_path, 1))
    for i in range(200):
        near = i == 101
        check.add(replace(finding, melanoma_risk=0.31 if near else 0.01, malignancy_risk=0.02))
    check.add(replace(finding, status="refused"))
    change = check.compare(exact)
    # The first 64, then numbers 64, 80, ..., 192, and the one near the threshold.
    assert (change.photographs, change.compared) == (200, 64 + 9 + 1)
    assert "74 of 200 photographs" in change.sentence()


def test_files_that_vanished_are_not_compared(bundle: Bundle, tmp_path: Path) -> None:
    exact = Predictor(bundle)
    check = PrecisionCheck(exact.decider)
    files = tiny.folder(tmp_path, 1)
    for finding in exact.predict(files):
        check.add(finding)
    files[0].unlink()
    assert "was not compared" in check.compare(exact).sentence()
