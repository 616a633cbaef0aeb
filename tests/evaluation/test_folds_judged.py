from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melascope.evaluation import cross_validated, learning_curve
from melascope.statistics import repeated_cv_difference, wilson


def rows(offset: float = 0.0, repeats: int = 2, folds: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    found = [
        {"seed": s, "fold": f, "n": 30, **{k: 0.6 + offset + rng.normal(0, 0.03) for k in cross_validated.SCORES}}
        for s in range(repeats)
        for f in range(folds)
    ]
    return pd.DataFrame(found)


def test_scores_have_corrected_intervals_within_what_a_score_can_be() -> None:
    table = rows().sample(frac=1, random_state=1)
    found = cross_validated.fold_scores(table)["balanced_accuracy"]
    expected = repeated_cv_difference(rows()["balanced_accuracy"].to_numpy().reshape(2, 3))
    assert found["value"] == pytest.approx(expected.value)
    assert found["low"] == pytest.approx(expected.low)
    assert found["n"] == 6
    assert cross_validated.fold_scores(rows(0.39))["accuracy"]["high"] <= 1.0
    table.loc[table.index[0], "melanoma_auc"] = np.nan
    undefined = cross_validated.fold_scores(table)["melanoma_auc"]
    assert undefined == {"value": None, "low": None, "high": None, "n": 6}


def test_differences_are_paired_by_fold() -> None:
    noisy = rows(0.1)
    noisy["balanced_accuracy"] += np.linspace(-0.001, 0.001, len(noisy))
    found = cross_validated.differences({"a": noisy, "b": rows(), "c": noisy})
    assert len(found) == 9
    by_name = {entry["name"]: entry for entry in found}
    clear = by_name["a − b: balanced accuracy"]
    # The same noise in both: every fold differs by a tenth, give or take a thousandth.
    assert (clear["value"], clear["low"], clear["high"]) == pytest.approx((0.1, 0.1, 0.1), abs=0.002)
    assert 0.0 < clear["low"] < 0.1 < clear["high"]
    # Equal in every fold: no interval, rather than one of no width.
    assert by_name["a − c: melanoma AUC"] | {"value": 0.0, "low": None, "high": None} == by_name["a − c: melanoma AUC"]


def test_a_pair_differs_only_when_it_does_for_the_number_of_pairs() -> None:
    base = rows(repeats=2, folds=5)
    noise = np.random.default_rng(3).normal(0, 0.02, (6, 10))
    some = {f"r{i}": base.assign(accuracy=base["accuracy"] + 0.05 * (i == 0) + noise[i]) for i in range(6)}
    found = [d for d in cross_validated.differences(some) if d["score"] == "accuracy"]
    assert len(found) == 15
    for row in found:
        assert (row["p"] < 0.05) == (row["low"] > 0 or row["high"] < 0)
        assert row["p"] <= row["p_corrected"]
        assert row["differs"] == (row["p_corrected"] < 0.05)
    assert sum(row["p"] < 0.05 for row in found) > sum(row["differs"] for row in found)
    (alone,) = (d for d in cross_validated.differences({k: some[k] for k in ("r0", "r1")}) if d["score"] == "accuracy")
    assert alone["p"] == alone["p_corrected"]


def test_what_too_little_stands_behind_has_no_interval_and_decides_nothing() -> None:
    few = ["melanoma_auc"]
    scores = cross_validated.fold_scores(rows(), few)
    assert (scores["melanoma_auc"]["low"], scores["melanoma_auc"]["high"]) == (None, None)
    assert scores["balanced_accuracy"]["low"] is not None
    found = cross_validated.differences({"a": rows(0.2), "b": rows()}, few)
    (auc,) = (d for d in found if d["score"] == "melanoma_auc")
    assert (auc["low"], auc["p"], auc["too_few"], auc["differs"]) == (None, None, True, False)
    assert (
        "fewer than ten"
        in learning_curve.laws(curve(), 3, few={"melanoma_auc": "fewer than ten"})["melanoma_auc"]["words"]
    )


def test_an_accuracy_that_no_fold_differs_in_is_no_certainty() -> None:
    table = rows().assign(accuracy=0.25)
    assert cross_validated.fold_scores(table)["accuracy"]["low"] is None
    bounded = cross_validated.fold_scores(table, groups=60)["accuracy"]
    assert bounded["low"] == pytest.approx(wilson(15, 60).low)
    assert bounded["high"] == pytest.approx(wilson(15, 60).high)
    wide = cross_validated.fold_scores(rows(), groups=10**6)["accuracy"]
    assert wide == cross_validated.fold_scores(rows())["accuracy"]


def test_two_trainings_that_disagree_give_no_impossible_interval() -> None:
    wild = rows(folds=2, repeats=1).assign(accuracy=[0.1, 0.9])
    one = cross_validated.fold_scores(wild)["accuracy"]
    assert (one["low"], one["high"]) == (0.0, 1.0)
    (found,) = (
        entry
        for entry in cross_validated.differences({"a": wild, "b": wild.assign(accuracy=[0.5, 0.2])})
        if entry["score"] == "accuracy"
    )
    assert (found["low"], found["high"]) == (-1.0, 1.0)


def test_the_auc_within_sources_owes_nothing_to_the_source() -> None:
    rng = np.random.default_rng(0)
    n = 600
    source = np.where(rng.random(n) < 0.5, "clinic", "archive").astype(object)
    # Most melanomas come from the clinic, and the network sees nothing but the source.
    melanoma = rng.random(n) < np.where(source == "clinic", 0.8, 0.1)
    risk = (np.where(source == "clinic", 0.9, 0.1) + rng.normal(0, 0.01, n))[None]
    folds = (np.arange(n) % 3)[None]
    found = cross_validated.within_source(risk, melanoma, folds, source)
    assert found is not None
    assert found["auc"]["low"] < 0.5 < found["auc"]["high"]
    assert abs(found["auc"]["value"] - 0.5) < 0.1
    assert (found["sources"], found["left_out"]) == (["archive", "clinic"], 0)
    assert not found["too_few"]
    few = cross_validated.within_source(
        risk, melanoma, folds, source, np.where(melanoma, np.arange(n) % 9, 9 + np.arange(n))
    )
    assert few is not None
    assert few["too_few"]
    assert (few["auc"]["value"], few["auc"]["low"]) == (found["auc"]["value"], None)
    source[:50] = None
    source[50:60] = "elsewhere"
    melanoma[50:60] = False  # nothing can be compared within it
    again = cross_validated.within_source(risk, melanoma, folds, source)
    assert again is not None
    assert (again["sources"], again["left_out"]) == (["archive", "clinic"], 60)
    assert cross_validated.within_source(risk, melanoma, folds, np.full(n, "one")) is None
    assert cross_validated.within_source(risk, melanoma, folds, np.full(n, None)) is None


def test_all_folds_together_tell_each_diagnosis() -> None:
    labels = np.repeat([0, 1], 20)
    p = np.zeros((2, 40, 2))
    p[0, np.arange(40), labels] = 1
    p[1, :, 1] = 1
    found = cross_validated.pooled(p, labels, np.arange(40) // 2, ("MEL", "NV"))
    assert found["confusion"] == [[20, 20], [0, 40]]
    assert found["per_class"]["MEL"]["sensitivity"]["value"] == 0.5
    assert found["per_class"]["NV"]["sensitivity"]["value"] == 1
    assert "precision" not in found["per_class"]["NV"]  # it would depend on how frequent each is in the set
    assert found["per_class"]["MEL"]["n"] == 20
    assert (found["per_class"]["MEL"]["groups"], found["per_class"]["MEL"]["too_few"]) == (10, False)
    of_two = cross_validated.pooled(p, labels, np.arange(40) // 10, ("MEL", "NV"))["per_class"]["MEL"]
    assert (of_two["n"], of_two["groups"], of_two["too_few"]) == (20, 2, True)


def test_a_recipe_that_needs_no_network_to_beat_it_is_named() -> None:
    by_colour = {"by_fold": rows(0.02).to_dict("records")}
    guess = {"by_fold": rows().assign(balanced_accuracy=0.125).to_dict("records")}
    both = {cross_validated.LARGEST: guess, cross_validated.COLOURS: by_colour}
    over = cross_validated.over_baselines(rows().sample(frac=1, random_state=2), both, ["melanoma_auc"])
    assert set(over[cross_validated.COLOURS]) == {"balanced_accuracy", "accuracy"}
    assert over[cross_validated.COLOURS]["balanced_accuracy"]["value"] == pytest.approx(-0.02)
    told = cross_validated.not_above("mine", over)
    said = "mine is not shown to be better than colours alone, without a network: balanced accuracy -0.020"
    assert told == f"{said}, paired by fold."
    better = rows(0.3)
    better["balanced_accuracy"] += np.linspace(-0.01, 0.01, len(better))
    assert cross_validated.not_above("mine", cross_validated.over_baselines(better, both)) is None
    worse = rows(-0.6)
    worse["balanced_accuracy"] += np.linspace(-0.01, 0.01, len(worse))
    told = cross_validated.not_above("mine", cross_validated.over_baselines(worse, both))
    assert told is not None
    assert told.startswith("mine is worse than saying the largest class always")


def test_baselines_are_fitted_without_the_fold_that_they_judge() -> None:
    labels = np.array([0] * 12 + [1] * 8)
    images = np.where(labels == 0, 40, 200).astype(np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    folds = np.stack([np.arange(20) % 2, np.arange(20) % 4 // 2])
    found = cross_validated.baselines(labels, folds, 3, images)
    largest, colour = found[cross_validated.LARGEST], found[cross_validated.COLOURS]
    np.testing.assert_allclose(largest[0, 0], [0.6, 0.4, 0])
    assert (largest.argmax(axis=2) == 0).all()
    np.testing.assert_array_equal(colour.argmax(axis=2), [labels, labels])
    alone = cross_validated.baselines(labels, (labels == 0)[None].astype(int), 3, images)
    assert set(alone) == {cross_validated.LARGEST}
    np.testing.assert_array_equal(alone[cross_validated.LARGEST][0, :12], [[0, 1, 0]] * 12)


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({}, "and copies of one photograph, stand in one fold", "assumed"),
        (
            {"audited": False},
            "copies of one photograph may not have been searched for",
            "and copies of one photograph,",
        ),
        ({"grouped": False, "torn": 3}, "3 photographs, lesions or patients stand in several", "in one fold"),
        ({"grouped": False, "by_group": False}, "divides single photographs", "in one fold"),
        ({"lesions": {"known": 1, "assumed": 30}}, "1 lesion is known by id, 30 assumed", "All lesions"),
        ({"fixed_folds": "mine.csv"}, "those of mine.csv", "assumed"),
    ],
)
def test_no_more_is_claimed_of_the_folds_than_holds(changes: dict[str, object], said: str, unsaid: str) -> None:
    told = {"protocol": "clean", "grouped": True, "by_group": True, "audited": True, "closed": 0, "torn": 0}
    told |= {"lesions": {"known": 31, "assumed": 0}, **changes}
    for text in (
        " ".join(cross_validated.notes(["a"], 5, 2, told)),
        " ".join(learning_curve.notes(told, 3, 1, tuned=False)),
    ):
        assert said in text
        assert unsaid not in text


def test_a_curve_counts_lesions_only_where_all_are_known() -> None:
    known = {"grouped": True, "by_group": True, "lesions": {"known": 31, "assumed": 0}}
    assert learning_curve.unit(known) == "lesions"
    assert learning_curve.unit({**known, "lesions": {"known": 1, "assumed": 2}}) == "known or assumed lesions"
    assert learning_curve.unit({**known, "grouped": False, "by_group": False}) == "photographs"
    assert learning_curve.unit({**known, "grouped": False, "by_group": True}) == "lesions"  # torn by fixed folds
    words = learning_curve.laws(curve(), folds=3, unit="photographs")["balanced_accuracy"]["words"]
    assert "with 480 photographs in training" in words
    assert "lesions" not in words


def test_the_notes_say_what_flatters() -> None:
    told = {"optimistic": True, "protocol": "as-filed", "grouped": False, "closed": 118, "limited": 200}
    text = " ".join(cross_validated.notes(["a", "b"], 3, 1, told))
    for words in ("optimistic", "118 photographs", "2 recipes were tried", "a try", "3 trainings are few"):
        assert words in text


def curve(shares: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0), rise: float = 1.2) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    found = []
    for fold in range(3):
        for share in shares:
            score = 0.8 - rise * (480 * share) ** -0.5 + rng.normal(0, 0.004)
            sizes = {"groups": int(480 * share), "photographs": int(600 * share), "n": 90}
            scores = dict.fromkeys(cross_validated.SCORES, score)
            found.append({"seed": 0, "fold": fold, "share": share, **sizes, **scores})
    return pd.DataFrame(found)


def test_a_learning_curve_says_what_twice_the_lesions_would_give() -> None:
    points = learning_curve.points(curve())
    assert [point["groups"] for point in points] == [60, 120, 240, 480]
    fit = learning_curve.laws(curve(), folds=3)["balanced_accuracy"]
    assert fit["score"]["value"] == pytest.approx(0.8 - 1.2 * 960**-0.5, abs=0.01)
    assert fit["score"]["low"] < fit["score"]["value"] < fit["score"]["high"]
    assert fit["backtest"]["said"] == pytest.approx(fit["backtest"]["measured"], abs=0.03)
    for words in ("with 480 lesions", "(960)", "extrapolation", "Put to the test"):
        assert words in fit["words"]


def test_a_curve_that_does_not_rise_promises_nothing() -> None:
    fit = learning_curve.laws(curve(rise=-0.5), folds=3)["melanoma_auc"]
    assert "No rise" in fit["words"]
    flat = learning_curve.laws(curve(rise=-0.5), folds=3)["melanoma_auc"]
    assert flat["b"] <= 0 < flat["gain"]["high"]
    assert "may not help" not in flat["words"]
    assert "cannot be told" in flat["words"]
    steep = learning_curve.laws(curve(rise=-5.0), folds=3)["melanoma_auc"]
    assert "No rise with the number of lesions is seen. More of the same may not help this recipe." in steep["words"]
    two = learning_curve.laws(curve(shares=(0.5, 1.0)), folds=3)["melanoma_auc"]
    assert two["words"] == "No curve was fitted to melanoma AUC: 2 sizes are too few."
    assert "a" not in two
    three = learning_curve.laws(curve(shares=(0.25, 0.5, 1.0)), folds=3)["melanoma_auc"]
    assert three["backtest"] is None
    undefined = curve()
    undefined.loc[0, "melanoma_auc"] = np.nan
    assert "not defined" in learning_curve.laws(undefined, folds=3)["melanoma_auc"]["words"]
