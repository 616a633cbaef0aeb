from __future__ import annotations

import base64
import dataclasses
import io
import re
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import report_example as example
from PIL import Image

from melascope.errors import ImageError
from melascope.reports import DataReport, Page, RunReport, Section, compare_report, data_report, run_report
from melascope.reports import page as blocks
from melascope.reports.compare_report import side_by_side

TABLE = example.table()


def inputs(**changes) -> RunReport:
    whole = RunReport(
        title="small-cnn on generated lesions",
        metrics=example.metrics(),
        history=example.history(),
        audit=example.AUDIT,
        problems=example.PROBLEMS,
        remarks=[("good", "No leak was found."), SimpleNamespace(level="warning", text="Over-fitting.")],
        table=TABLE,
        predictions=example.predictions(TABLE),
        picture=example.picture,
        augmentation={"flip": np.zeros((2, 24, 24, 3), np.uint8)},
        overlays=[("GEN_1: melanoma", np.zeros((24, 24, 3), np.uint8))],
        recipe={"extends": "small-cnn", "data": {"size": 64}, "schedule": {"epochs": 6, "ema": True}},
        environment={"python": "3.11", "packages": {"numpy": "2.0"}},
        settings={"command": "melascope run DATA --out RUN", "kept_epoch": 4, "steps": {"fit": {"seconds": 12.5}}},
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Leave the figures blank, for tests of the words around them: drawing is most of a report's time."""
    monkeypatch.setattr(blocks, "to_svg", lambda figure, name, alt: "")


@pytest.fixture(scope="module")
def page() -> str:
    return run_report(inputs())


@pytest.fixture(scope="module")
def read(page) -> example.Reader:
    return example.Reader(page)


def test_the_headline_is_the_measured_sensitivity_with_its_interval(read):
    assert "38 of 42 melanomas reached the threshold of melanoma risk (90 %, 95 % interval 78 to 96)" in read.text
    assert "60 of 100 other lesions stayed below it" in read.text
    assert read.text.index("melanomas reached the threshold") < read.text.index("Balanced accuracy over the diagnoses")
    assert "target, not assured" in read.text


def test_predictive_values_come_only_with_their_prevalence(read):
    assert (
        "Where 2 % of lesions are melanomas, 4 % of its alerts would be melanomas (95 % interval 3 to 5)" in read.text
    )
    metrics = example.metrics()
    metrics["parts"]["test"]["groups"]["melanoma"]["operating_points"]["screening"]["prevalence"] = None
    assert "of its alerts would be melanomas" not in example.Reader(run_report(inputs(metrics=metrics))).text


def test_it_is_no_medical_device_and_says_so(read):
    assert "Not a medical device" in read.text
    assert "research" in read.text


def test_the_page_is_well_formed_and_its_ids_are_unique(read):
    assert read.unbalanced == []
    assert read.open == []
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for a in read.all("a")]
    assert targets
    assert all(target is not None and target[0] == "#" and target[1:] in ids for target in targets)


def test_the_page_asks_for_nothing_outside_itself(page, read):
    for tag, attributes in read.elements:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), (tag, key, value)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert "@import" not in style[1]
    assert "url(" not in style[1]
    policy = next(a["content"] for a in read.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy


def test_it_can_be_read_without_seeing_it(read):
    assert all(image.get("alt") for image in read.all("img"))
    figures = [a for a in read.all("svg") if a.get("role") == "img"]
    assert len(figures) >= 8
    assert all(len(a.get("aria-label") or "") > 30 for a in figures)
    assert all(header.get("scope") in ("row", "col") for header in read.all("th"))
    assert len(read.all("caption")) == len(read.all("table"))
    assert read.all("html")[0]["lang"] == "en"


def test_every_figure_and_gallery_is_stamped(page, read):
    figures = re.findall(r'<svg role="img".*?</svg>', page, re.DOTALL)
    assert all("audited · protocol clean" in figure for figure in figures)
    assert page.count('class="gallery') // 2 <= page.count('class="stamp-line"') * 2


def test_unaudited_and_optimistic_results_are_stamped_in_every_figure():
    metrics = example.metrics() | {"audited": False, "protocol": "as-filed", "optimistic": True}
    leaks = {"test_photographs": 118, "share_photograph": 94, "share_lesion": 0, "share_any": 94}
    page = run_report(inputs(metrics=metrics | {"leaks": leaks}))
    figures = re.findall(r'<svg role="img".*?</svg>', page, re.DOTALL)
    assert all("UNAUDITED · protocol as-filed · OPTIMISTIC" in figure for figure in figures)
    text = example.Reader(page).text
    assert "optimistic protocol" in text
    assert text.count("Leak: ") == 1
    assert "Leak: 94 of 118 test photographs share a photograph with the other parts." in text


@pytest.mark.usefixtures("undrawn")
def test_a_test_part_that_shares_nothing_is_no_leak():
    leaks = {"test_photographs": 113, "share_photograph": 0, "share_lesion": 0, "share_any": 0}
    text = example.Reader(run_report(inputs(metrics=example.metrics() | {"leaks": leaks}))).text
    assert "Leak: " not in text


@pytest.mark.usefixtures("undrawn")
def test_audited_data_whose_flaws_are_kept_do_not_look_clean():
    metrics = example.metrics() | {"audited": True, "optimistic": True}
    text = example.Reader(run_report(inputs(metrics=metrics))).text
    assert "audited, flaws kept" in text
    assert "audited data" not in text
    assert "kept apart until the model was finished" not in text


@pytest.mark.usefixtures("undrawn")
def test_benign_lesions_that_alert_on_malignancy_are_not_called_quiet():
    metrics = example.metrics()
    metrics["parts"]["test"]["alerts"]["benign_specificity"] = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 80}
    text = example.Reader(run_report(inputs(metrics=metrics))).text
    assert "Benign lesions without any alert, on malignancy risk neither: 20 of 80 (25 %" in text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("benign", "level"), [(0.9, "note"), (0.0, "good")])
def test_missing_no_melanoma_is_good_only_where_others_are_spared(benign, level):
    predictions = example.predictions(TABLE)
    melanoma = predictions["diagnosis"] == "MEL"
    predictions.loc[melanoma, "p_MEL"] = 0.9
    predictions.loc[~melanoma, "p_MEL"] = benign
    page = run_report(inputs(predictions=pd.concat([predictions] * 3)))
    assert re.search(rf'class="text {level}">.{{0,200}}None of the 15 melanoma photographs', page, re.DOTALL)


@pytest.mark.usefixtures("undrawn")
def test_a_ranking_of_too_few_has_no_number():
    metrics = example.metrics()
    group = metrics["parts"]["test"]["groups"]["melanoma"]
    group |= {"n_positive": 4, "auc": example.estimate(0.8765, 104)}
    text = example.Reader(run_report(inputs(metrics=metrics))).text
    assert "Melanoma against the rest: area under the ROC curve too few to judge" in text.replace(
        "curvetoo", "curve too"
    )
    assert "4 / 100too few to judge" in text.replace("100 too", "100too")


@pytest.mark.usefixtures("undrawn")
def test_a_baseline_stands_beside_its_paired_difference():
    metrics = example.metrics()
    colour = {"balanced_accuracy": example.estimate(0.4, 142), "melanoma_auc": example.estimate(0.5, 142)}
    colour["difference"] = {"balanced_accuracy": {"value": 0.2, "low": 0.11, "high": 0.29, "n": 142}}
    metrics["baselines"] = {"colour_histogram": colour}
    text = example.Reader(run_report(inputs(metrics=metrics))).text
    assert "0.20 (0.11 to 0.29)" in text
    assert "an interval that holds 0 shows no difference" in text


@pytest.mark.usefixtures("undrawn")
def test_shuffled_labels_above_chance_mean_less_where_copies_were_divided():
    metrics = example.metrics()
    metrics["baselines"]["shuffled_labels"]["at_chance"] = False
    assert (
        "something other than the lesions tells the class" in example.Reader(run_report(inputs(metrics=metrics))).text
    )
    text = example.Reader(run_report(inputs(metrics={**metrics, "protocol": "as-published"}))).text
    assert "copies of one photograph stand on both sides" in text
    assert "something other than the lesions" not in text


@pytest.mark.usefixtures("undrawn")
def test_missed_melanomas_are_shown_with_their_risk():
    predictions = example.predictions(TABLE)
    test = predictions["part"] == "test"
    melanomas = predictions[test & (predictions["diagnosis"] == "MEL")].index
    predictions.loc[melanomas, [f"p_{code}" for code in example.CLASSES]] = [0.9, 0.1, 0.0, 0.0]
    predictions.loc[melanomas[0], [f"p_{code}" for code in example.CLASSES]] = [0.05, 0.95, 0.0, 0.0]
    predictions.loc[melanomas[1], [f"p_{code}" for code in example.CLASSES]] = [0.10, 0.10, 0.8, 0.0]
    text = example.Reader(run_report(inputs(predictions=predictions))).text
    missed = text[text.index("Melanomas that it missed") : text.index("Melanomas that it alerted")]
    assert f"2 of {len(melanomas)} melanoma photographs stayed below the threshold" in missed
    assert "1 of them still alerted on malignancy risk" in missed
    assert f"{predictions.loc[melanomas[0], 'image_id']} · melanoma · melanoma risk 5.0 %" in missed
    assert "alert: malignant" in missed


def test_remarks_come_with_warnings_first(read):
    assert read.text.index("Over-fitting.") < read.text.index("No leak was found.")


def test_a_run_can_be_done_again_from_its_report(read):
    assert "melascope run DATA --out RUN" in read.text
    assert "epochs = 6" in read.text
    assert "ema = true" in read.text
    assert "numpy 2.0" in read.text
    assert "fit 12.5 s" in read.text
    assert "kept: epoch 4" in read.text


def test_the_same_inputs_give_the_same_bytes(page):
    assert run_report(inputs()) == page


@pytest.mark.usefixtures("undrawn")
def test_untrusted_names_are_escaped_and_broken_names_do_not_break_the_page():
    table = TABLE.copy()
    names = [f"<script>alert({i})</script>\udcff\x00&\"'" for i in range(len(table))]
    table["image_id"] = pd.Series(names, dtype=object)
    table["path"] = pd.Series([f"{name}.jpg" for name in names], dtype=object)
    page = run_report(
        inputs(
            title="<img src=x onerror=alert(1)>",
            table=table,
            predictions=example.predictions(table),
            remarks=[("warning", "<b>bold</b>")],
            recipe='name = "</code></pre><script>"',
            settings={"command": "melascope run '<x>'", "<k>": "<v>"},
        )
    )
    page.encode("utf-8")
    read = example.Reader(page)
    assert len(read.all("script")) == 1
    assert not read.all("b") or "bold" not in "".join(re.findall(r"<b>(.*?)</b>", page))
    assert all("onerror" not in attributes for attributes in read.all("img"))
    assert "\x00" not in page
    assert read.unbalanced == []


@pytest.mark.usefixtures("undrawn")
def test_photographs_that_cannot_be_read_are_blanks():
    def broken(path: str) -> np.ndarray:
        raise ImageError("truncated", f"{path} ends too early.")

    read = example.Reader(run_report(inputs(picture=broken)))
    assert "cannot be shown" in read.text
    assert read.all("img")  # the augmentation and the heat map are still there


@pytest.mark.usefixtures("undrawn")
def test_pictures_are_small():
    large = np.random.default_rng(0).integers(0, 256, (900, 1600, 3), dtype=np.uint8)
    page = data_report(DataReport(title="x", table=TABLE, picture=lambda path: large))
    source = re.search(r"data:image/jpeg;base64,([^\"]+)", page)
    assert source is not None
    with Image.open(io.BytesIO(base64.b64decode(source[1]))) as picture:
        assert picture.size == (160, 90)


def nulled(value):
    if isinstance(value, dict):
        return {key: nulled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [nulled(inner) for inner in value]
    return value if isinstance(value, (bool, str)) else None


def without(value, key):
    if isinstance(value, dict):
        return {name: without(inner, key) for name, inner in value.items() if name != key}
    return value


def keys(value) -> set[str]:
    if not isinstance(value, dict):
        return set()
    return set(value) | {key for inner in value.values() for key in keys(inner)}


@pytest.mark.usefixtures("undrawn")
def test_every_key_of_the_metrics_may_be_null():
    assert "In short" in run_report(RunReport(title="x", metrics={}))
    assert "In short" in run_report(RunReport(title="x", metrics=nulled(example.metrics())))
    top = dict.fromkeys(example.metrics())
    assert "In short" in run_report(RunReport(title="x", metrics=top))
    for key in example.part():
        test = example.part() | {key: None}
        assert "In short" in run_report(RunReport(title="x", metrics={"parts": {"test": test}}))


@pytest.mark.parametrize("key", sorted(keys({"parts": {"test": example.part()}}) - {"parts", "test"}))
@pytest.mark.usefixtures("undrawn")
def test_any_key_may_be_missing(key):
    metrics = {"classes": list(example.CLASSES), "parts": {"test": without(example.part(), key)}}
    assert "In short" in run_report(RunReport(title="x", metrics=metrics))


@pytest.mark.usefixtures("undrawn")
def test_too_few_melanomas_get_no_number():
    metrics = example.metrics()
    point = metrics["parts"]["test"]["groups"]["melanoma"]["operating_points"]["screening"]
    point["sensitivity"] = {"value": 0.8, "low": 0.4, "high": 0.97, "n": 5}
    text = example.Reader(run_report(inputs(metrics=metrics))).text
    assert "4 of 5 melanomas reached the threshold of melanoma risk" in text
    assert "Fewer than 10 are too few to judge" in text


@pytest.mark.usefixtures("undrawn")
def test_what_was_trained_on_is_stamped():
    metrics = example.metrics() | {"trained_on": {"images": 12, "of": 142}}
    text = example.Reader(run_report(inputs(metrics=metrics))).text
    assert "12 of 142 were trained on" in text


def test_a_large_report_is_small_and_quick():
    table = example.table(2000)
    began = time.perf_counter()
    page = run_report(
        inputs(
            table=table,
            predictions=example.predictions(table),
            picture=lambda path: np.random.default_rng(len(path)).integers(0, 256, (180, 180, 3), dtype=np.uint8),
        )
    )
    assert len(page.encode()) < 5_000_000
    assert time.perf_counter() - began < 30  # seconds; 10 on an idle machine


def test_the_data_report_counts_shows_and_audits():
    table = TABLE.rename(columns={"part": "split"})
    page = data_report(
        DataReport(
            title="my set",
            table=table,
            audit=example.AUDIT,
            problems=example.PROBLEMS,
            flow=example.metrics()["flow"],
            picture=example.picture,
        )
    )
    read = example.Reader(page)
    assert read.unbalanced == []
    assert "80 photographs of 4 classes" in read.text
    assert "ratio 1.0 to 1" in read.text
    assert "One photograph of each class" in read.text
    assert "Byte-identical files: what they look like" in read.text
    assert "has problems" in read.text
    assert "unreadable: 2; copies: 20" in read.text


@pytest.mark.parametrize(("parts", "branches"), [({"train": 5, "test": 2}, True), ({"train": 9, "test": 2}, False)])
def test_the_flow_branches_into_parts_only_where_they_are_all_of_it(parts, branches):
    metrics = {"parts": {name: {"n_images": n} for name, n in parts.items()}}
    flow = [{"label": "found", "photographs": 7, "excluded": {}}]
    page = run_report(RunReport(title="x", metrics=metrics, flow=flow))
    assert ("In the end: train 5, test 2" in page) == branches


@pytest.mark.usefixtures("undrawn")
def test_a_data_report_without_labels_or_audit_says_so():
    page = data_report(DataReport(title="bare", table=TABLE[["image_id", "path"]]))
    text = example.Reader(page).text
    assert "None of the photographs has a diagnosis" in text
    assert "These data were not audited" in text
    empty = data_report(DataReport(title="empty", table=TABLE.iloc[:0]))
    assert "None of the photographs" in empty


@pytest.mark.usefixtures("undrawn")
def test_exclusions_are_read_alike_whichever_step_notes_them():
    arriving = [
        {"label": "found", "photographs": 10, "excluded": {}},
        {"label": "used", "photographs": 7, "excluded": {"copies": 3}},
    ]
    leaving = [
        {"label": "found", "photographs": 10, "excluded": {"copies": 3}},
        {"label": "used", "photographs": 7, "excluded": {}},
    ]
    headless = [{"label": "used", "photographs": 7, "excluded": {"copies": 3}}]
    for steps in (arriving, leaving, headless):
        text = example.Reader(data_report(DataReport(title="x", table=TABLE, flow=steps))).text
        assert re.search(r"used\s?7\s?copies: 3", text), text


def test_the_comparison_shows_differences_and_what_limits_them():
    comparison = SimpleNamespace(
        runs=pd.DataFrame(
            {
                "run": ["a", "b<b>"],
                "protocol": ["clean", "as-filed"],
                "audited": [True, True],
                "auc": [example.estimate(0.8), None],
            }
        ),
        differences=pd.DataFrame(
            {
                "name": ["a − b<b>: AUC", "a − b<b>: accuracy"],
                "value": [0.05, 0.01],
                "low": [0.02, -0.02],
                "high": [0.08, 0.04],
                "p": [0.0004, None],
                "n": [118, 118],
            }
        ),
        notes=("The protocols differ.",),
    )
    read = example.Reader(compare_report(comparison))
    assert read.unbalanced == []
    assert "+0.050 (+0.020 to +0.080)" in read.text
    assert "<0.001" in read.text
    assert read.text.count("no difference shown") == 1
    assert "the protocols differ" in read.text
    assert "b<b>" in read.text


def test_a_comparison_of_nothing_says_so():
    nothing = SimpleNamespace(runs=pd.DataFrame(), differences=pd.DataFrame(), notes=())
    assert "nothing that can be compared" in compare_report(nothing)


def test_a_page_of_ones_own_is_made_of_blocks():
    sections = [
        Section("one", "One", [blocks.Text("Words."), blocks.Row([blocks.Details("More", [blocks.Code("x < 1")])])]),
        Section("two", "Empty", []),
    ]
    page = Page(title="Mine", sections=sections).render()
    assert "x &lt; 1" in page
    assert "Empty" not in page


def test_runs_stand_beside_each_other_in_words() -> None:
    score = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 40}
    few = {**score, "groups": 9}
    runs = pd.DataFrame({"run": ["A", "B"], "audited": [True, False], "melanoma_auc": [score, few]})
    head, audited, auc = side_by_side(runs)
    assert head == ["run", "A", "B"]
    assert audited == ["audited", "yes", "no"]
    assert [cell.replace("\xa0", " ") for cell in auc] == [
        "melanoma AUC",
        "0.500 (0.250 to 0.750), n = 40",
        "too few to judge, n = 40",
    ]


def test_a_gap_is_shown_only_where_its_interval_leaves_zero_out(read, undrawn):
    assert "Gaps between subgroups" in read.text
    assert "no gap shown" in read.text
    assert "none: all alike" in read.text
    assert "No gap shown by sex" in read.text
    metrics = example.metrics()
    metrics["parts"]["test"]["gaps"]["sex"]["auc"] = example.gap(0.1, 0.002)
    metrics["parts"]["test"]["gaps"]["skin_tone"] = {"auc": example.gap(0.1, -0.1)}
    text = example.Reader(run_report(RunReport(title="gaps", metrics=metrics))).text
    assert "in 1 of 3 comparisons" in text
    assert "female above male by 0.100 (0.002 to 0.300)" in text.replace("\u00a0", " ")
    assert "measures nobody's skin" in text


@pytest.mark.parametrize("told", [True, False])
def test_whether_the_embedding_tells_the_source_is_said(told, undrawn):
    metrics = example.metrics()
    metrics["source_told"] = {"balanced_accuracy": example.estimate(0.8), "told": told, "text": "It tells."}
    text = example.Reader(run_report(RunReport(title="sources", metrics=metrics))).text
    assert "It tells. (n = 42" in text
    assert ("in place of the lesion" in text) is told
