from __future__ import annotations

import math

import pytest

from melascope.reports import wording


def said(text: str) -> str:
    return text.replace(wording.NBSP, " ")


def test_a_proportion_is_told_with_its_interval():
    estimate = {"value": 38 / 42, "low": 0.78, "high": 0.96, "n": 42}
    assert said(wording.percent(estimate)) == "90 % (78 to 96)"
    assert said(wording.interval(estimate)) == "90 %, 95 % interval 78 to 96"
    assert wording.counted(estimate) == "38 of 42"


def test_a_score_that_is_no_count_is_not_counted():
    assert wording.counted({"value": 0.5051, "low": 0.4, "high": 0.6, "n": 10}) is None


@pytest.mark.parametrize(
    ("fraction", "n", "text"),
    [(1.0, 50, "100"), (0.996, 500, "99.6"), (0.9996, 500, ">99.9"), (0.0004, 500, "<0.1"), (0.0, 9, "0"),
     (0.125, 8, "13"), (0.9063, 1000, "90.6"), (math.nan, 3, "–")],
)  # fmt: skip
def test_rounding_never_makes_a_certainty(fraction, n, text):
    assert wording.percentage(fraction, n) == text


@pytest.mark.parametrize("nothing", [None, {}, {"value": None, "low": None, "high": None, "n": 3}])
def test_what_is_missing_stays_missing(nothing):
    assert wording.percent(nothing) == "–"
    assert wording.score(nothing) == "–"
    assert wording.counted(nothing) is None
    assert wording.interval(nothing) == "not measured"


def test_a_minus_is_a_minus():
    assert said(wording.score({"value": -0.2, "low": -0.7, "high": 0.4, "n": 9})) == "−0.20 (−0.70 to 0.40)"


def test_fewer_than_ten_are_too_few():
    assert wording.too_few({"value": 1.0, "n": 9})
    assert not wording.too_few({"value": 1.0, "n": 10})
    assert not wording.too_few(None)


def test_the_stamp_says_what_limits_the_numbers():
    assert wording.stamp(True, "clean") == "audited · protocol clean"
    assert wording.stamp(False, "as-filed", True) == "UNAUDITED · protocol as-filed · OPTIMISTIC"
    assert wording.stamp(None, None) == "UNAUDITED"


def test_lists_and_counts_read_as_words():
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.listed([]) == ""
    assert wording.plural(1, "class", "classes") == "1 class"
    assert wording.plural(2357, "photograph") == "2,357 photographs"


def test_what_excluding_does_is_said_of_each_kind():
    from melascope.audit.verdict import KINDS
    from melascope.reports.data_sections import EXCLUDED, leads_to

    assert set(EXCLUDED) <= set(KINDS)
    assert leads_to("lesion_repeat", "exclude") == "one photograph of each lesion is kept"
    assert leads_to("lesion_repeat", "warn") == "a warning"
    assert leads_to("outlier", "exclude") == "left out"
    assert leads_to("authority_conflict", "correct") == "the official label"
