from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
import report_example as example
from matplotlib.figure import Figure
from PIL import Image

from melascope.reports import figures

STAMP = "audited · protocol clean"
TEST = example.part()
PICTURES = [("MEL", np.zeros((16, 16, 3), np.uint8)), ("NV", np.full((16, 24, 3), 200, np.uint8))]


def everything() -> dict[str, Figure]:
    counts = pd.crosstab(example.table()["diagnosis"], example.table()["part"])
    melanoma = TEST["groups"]["melanoma"]
    return {
        "class_counts": figures.class_counts(counts, stamp=STAMP),
        "image_sizes": figures.image_sizes([32, 32, 64], [32, 32, 48], stamp=STAMP),
        "flow": figures.flow_diagram(example.metrics()["flow"], {"train": 400, "test": 178}, stamp=STAMP),
        "history": figures.history(example.history(), n_train=400, n_classes=4, best_epoch=3, stamp=STAMP),
        "confusion": figures.confusion(TEST["confusion"], TEST["classes"], stamp=STAMP),
        "roc": figures.roc(
            {"melanoma": TEST["curves"]["roc"]["melanoma"]},
            auc={"melanoma": melanoma["auc"]},
            points={"melanoma": melanoma["operating_points"]["screening"]},
            stamp=STAMP,
        ),
        "precision_recall": figures.precision_recall(
            TEST["curves"]["pr"], average_precision={"melanoma": melanoma["average_precision"]}, stamp=STAMP
        ),
        "reliability": figures.reliability(TEST["calibration"]["melanoma"]["reliability"], stamp=STAMP),
        "decision": figures.decision_curve(
            {
                "prevalence": 0.02,
                "threshold": [0.01, 0.1, 0.5],
                "model": [0.01, 0.005, 0],
                "everybody": [0.01, -0.1, -1],
            },
            threshold=0.1,
            stamp=STAMP,
        ),
        "per_class": figures.per_class_intervals(TEST["per_class"], stamp=STAMP),
        "intervals": figures.intervals([("model", example.estimate(0.6))], stamp=STAMP),
        "forest": figures.compare_forest(
            pd.DataFrame({"name": ["AUC"], "value": [0.02], "low": [-0.01], "high": [0.05]}), stamp=STAMP
        ),
        "one_per_class": figures.one_per_class(dict(PICTURES), stamp=STAMP),
        "random_grid": figures.random_grid(PICTURES, stamp=STAMP),
        "augmentation": figures.augmentation_preview({"flip": np.zeros((2, 16, 16, 3), np.uint8)}, stamp=STAMP),
        "examples": figures.examples_grid({"missed": PICTURES}, stamp=STAMP),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    return everything()


def words(svg: str) -> str:
    return " ".join(
        "".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")
    )


def test_every_figure_carries_its_stamp_and_is_well_formed(drawn):
    for name, figure in drawn.items():
        assert isinstance(figure, Figure)
        assert STAMP in words(figures.to_svg(figure, "f1", name)), name


def test_a_figure_without_a_stamp_says_unaudited():
    assert "unaudited" in words(figures.to_svg(figures.confusion([[1, 0], [0, 1]], ["MEL", "NV"]), "f1", ""))


def test_the_same_figure_is_the_same_bytes(drawn):
    again = everything()
    for name, figure in drawn.items():
        assert figures.to_svg(figure, "f1", name) == figures.to_svg(again[name], "f1", name), name


def test_ids_start_with_the_name_so_that_figures_do_not_collide(drawn):
    svg = figures.to_svg(drawn["roc"], "f7", "curve")
    ids, used = set(re.findall(r' id="([^"]+)"', svg)), set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    assert ids
    assert used <= ids
    assert all(identifier.startswith("f7-") for identifier in ids)


def test_figures_show_themselves_in_a_notebook(drawn):
    with Image.open(io.BytesIO(drawn["history"]._repr_png_())) as picture:
        assert picture.format == "PNG"
        assert picture.width > 400


def test_names_are_text_not_mathematics_or_markup():
    svg = figures.to_svg(figures.intervals([("<b>$x_1$ & 🔬", example.estimate(0.5))]), "f1", '"<i>')
    assert "<b>$x_1$ & 🔬" in words(svg)
    assert "<i>" not in svg


def test_confusion_shows_counts_and_row_shares(drawn):
    said = words(figures.to_svg(drawn["confusion"], "f1", ""))
    assert "30" in said
    assert "71 %" in said  # 30 of 42
    assert "n=42" in said


def test_few_cases_get_no_numbers(drawn):
    said = words(figures.to_svg(drawn["per_class"], "f1", ""))
    assert said.count("too few") == 2  # vascular lesions, in both panels


def test_roc_prints_the_area_with_its_interval_and_n(drawn):
    said = words(figures.to_svg(drawn["roc"], "f1", "")).replace("\u00a0", " ")
    assert "AUC 0.87 (0.82 to 0.92)" in said
    assert "n = 142" in said


def test_the_flow_counts_every_exclusion():
    steps = [
        {"label": "found", "photographs": 10, "excluded": {}},
        {"label": "used", "photographs": 7, "excluded": {"unreadable": 1, "copies": 2, "never": 0}},
    ]
    said = words(figures.to_svg(figures.flow_diagram(steps), "f1", ""))
    assert "left out: 3" in said
    assert "1  unreadable" in said
    assert "never" not in said


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.class_counts(pd.DataFrame()),
        lambda: figures.image_sizes([None], [3]),
        lambda: figures.flow_diagram([]),
        lambda: figures.history(pd.DataFrame()),
        lambda: figures.history(pd.DataFrame({"epoch": [1], "loss": [np.nan]})),
        lambda: figures.history(pd.DataFrame({"epoch": [1], "loss": [0.5], "tune_loss": [0.5]})),
        lambda: figures.confusion([[0, 0], [0, 0]], ["MEL", "NV"]),
        lambda: figures.confusion([], []),
        lambda: figures.roc({}),
        lambda: figures.roc({"melanoma": {"fpr": None, "tpr": None}}),
        lambda: figures.roc(
            {"melanoma": {"fpr": [0, 1], "tpr": [0, 1]}}, auc={"melanoma": None}, points={"melanoma": {}}
        ),
        lambda: figures.precision_recall({"melanoma": {"recall": [0, None, 1], "precision": [1, None, 0.2]}}),
        lambda: figures.decision_curve({}),
        lambda: figures.decision_curve({"prevalence": 0.1, "threshold": [0, 1], "model": [None, None]}),
        lambda: figures.reliability([]),
        lambda: figures.reliability([{"predicted": 0.1, "observed": None}]),
        lambda: figures.reliability([{"predicted": 0.1, "observed": {"value": 0.2}}]),
        lambda: figures.per_class_intervals({"MEL": {"sensitivity": None}}),
        lambda: figures.intervals([("a", None)]),
        lambda: figures.compare_forest(pd.DataFrame({"name": [], "value": []})),
        lambda: figures.compare_forest(pd.DataFrame({"name": ["a"], "value": [0.1], "low": [None], "high": [None]})),
        lambda: figures.random_grid([]),
        lambda: figures.augmentation_preview({}),
    ],
)
def test_missing_data_still_give_a_figure(draw):
    assert "unaudited" in words(figures.to_svg(draw(), "f1", ""))


@pytest.mark.parametrize(("diagnoses", "folds"), [(8, 100), (1, 21), (8, 20), (40, 250)])
def test_any_number_of_folds_is_drawn_without_a_warning(diagnoses, folds):
    shares = pd.DataFrame(np.random.default_rng(0).dirichlet(np.ones(folds), diagnoses))
    figure = figures.shares(shares, stamp=STAMP)
    told = words(figures.to_svg(figure, "f1", ""))
    assert STAMP in told
    assert (f"an even share, 1 of {folds}" in told) == (folds > 20)
    assert len(figures.to_png(figure)) > 1000
