from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests import tiny_bundle as tiny

from melascope.bundle import Bundle, Predictor
from melascope.bundle.neighbours import make
from melascope.bundle.trained_on import TrainedOn
from melascope.cli.main import main
from melascope.cli.outputs import safe_cell, whole
from melascope.cli.tables import codes, findings_table, first_choices, of_quality, possible, rule
from melascope.finding import Finding, LesionFinding, Measured, Model, OperatingPointUsed


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny.melascope")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    tiny.folder(tmp_path / "photos", 3)
    return tmp_path / "photos"


class Said:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def predict(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
    def call(*arguments: object, model: Path | None = bundle.path) -> Said:
        chosen = [] if model is None else ["--bundle", str(model)]
        monkeypatch.setattr(sys, "argv", ["melascope", "predict", *map(str, arguments), *chosen])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfdbinary.readouterr()
        return Said(int(stop.value.code or 0), out.decode(), err.decode())

    return call


def test_a_table_for_people(predict, photos: Path) -> None:
    said = predict(photos)
    assert said.code == 0
    for words in ("ISIC_0000000.jpg", "Melanoma", "Malignant", "Most probable", " %"):
        assert words in said.out
    assert "Alert: melanoma risk of at least 30 % or malignancy risk of at least 60 %." in said.out
    assert "sensitivity 95 % (80 to 99, n = 40)" in said.out
    assert "optimistic" in said.out
    assert "not a medical device" in said.out
    assert "predicting" in said.err
    assert "predicting" not in said.out


def test_json_lines_and_their_short_form(predict, photos: Path) -> None:
    said = predict(photos, "--json")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 0
    assert [line["image_id"] for line in lines] == ["ISIC_0000000", "ISIC_0000001", "ISIC_0000002"]
    assert set(lines[0]["probabilities"]) == set(tiny.CLASSES)
    assert predict(photos, "--format", "jsonl").out == said.out


def test_a_bad_file_is_refused_and_the_rest_goes_on(predict, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    said = predict(photos, photos / "gone.jpg", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert said.code == 1
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "refused", "refused"]
    assert rows[3]["error"]
    assert rows[3]["p_MEL"] == ""
    assert rows[4]["error_kind"] == "missing"
    assert "2 of 5 photographs were refused" in said.err
    assert "refused" in predict(photos).out


def test_nothing_usable(predict, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"x")
    said = predict(tmp_path / "bad.jpg", "--json")
    assert said.code == 2
    assert json.loads(said.out)["status"] == "refused"


@pytest.mark.parametrize("what", ["gone.jpg", "empty", "*.bmp"])
def test_bad_input_is_one_sentence(predict, tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    said = predict(tmp_path / what)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err


def test_part_of_what_was_asked_gave_nothing(predict, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = predict(photos, tmp_path / "empty")
    assert said.code == 1
    assert "holds no photographs" in said.err


def test_a_pattern_in_quotes(predict, photos: Path) -> None:
    said = predict(f"{photos}/*1.jpg", "--json")
    assert said.code == 0
    assert len(said.out.splitlines()) == 1


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "txt"])
def test_the_file_decides_the_format(predict, photos: Path, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"findings.{ending}"
    said = predict(photos, "--out", target)
    assert said.code == 0
    assert said.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([target.name, "photos"])
    if ending == "parquet":
        import pandas as pd

        frame = pd.read_parquet(target)
        assert frame["melanoma_risk"].between(0, 1).all()
        assert frame["assured"].dtype == bool
        assert frame["sensitivity_n"].tolist() == [40, 40, 40]
    elif ending == "txt":
        assert "not a medical device" in target.read_text()
    else:
        assert len(target.read_text().splitlines()) == 3 + (ending == "csv")


def test_parquet_of_refused_photographs_keeps_its_types(predict, photos: Path, tmp_path: Path) -> None:
    (photos / "a.jpg").write_bytes(b"x")
    predict(photos / "a.jpg", photos, "--out", tmp_path / "a.parquet")
    import pandas as pd

    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert frame["melanoma_risk"].dtype == float
    assert frame["melanoma_risk"].isna().tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "parquet"], "--out"),
        (["--json", "--format", "csv"], "contradict"),
        (["--format", "xml"], "xml"),
        (["--threads", "0"], "threads"),
        (["--precision", "fp8"], "fp8"),
        (["--out", "/nowhere/at/all.csv"], "does not exist"),
        (["--out", "."], "is a folder"),
        (["--neighbours", "-1"], "neighbours"),
        (["--neighbour-images", "."], "needs --strips or --heatmaps"),
        (["--strips", "strips"], "needs --neighbour-images"),
        (["--neighbour-images", ".", "--strips", "strips", "--neighbours", "0"], "contradict"),
    ],
)
def test_bad_usage(predict, photos: Path, options: list[str], words: str) -> None:
    said = predict(photos, *options)
    assert said.code == 2
    assert words in said.err
    assert said.out == ""


def test_without_a_model(predict, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [])  # as where no model is installed
    said = predict(photos, model=None)
    assert said.code == 2
    assert "--bundle" in said.err
    assert predict(photos, model=tmp_path / "none.melascope").code == 2


def test_no_cell_becomes_a_formula(predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = tmp_path / "=HYPERLINK(1).jpg"
    evil.write_bytes(tiny.jpeg(0))
    monkeypatch.chdir(tmp_path)
    said = predict("=HYPERLINK(1).jpg", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert row["path"] == "'=HYPERLINK(1).jpg"
    assert row["image_id"] == "'=HYPERLINK(1)"
    assert float(row["p_MEL"]) > 0


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_cells_that_look_like_formulas(start: str) -> None:
    assert safe_cell(f"{start}1") == f"'{start}1"


@pytest.mark.parametrize("value", ["ISIC_1", "", "a=b", -0.5, None, 3])
def test_other_cells_stay(value: object) -> None:
    assert safe_cell(value) == value


def test_heat_maps(predict, photos: Path, tmp_path: Path) -> None:
    near = tiny.bundle(tmp_path / "near.melascope", onnx=tiny.network(seed=1, gain=20.0)).path  # risks near the alert's
    said = predict(photos, "--heatmaps", tmp_path / "maps", model=near)
    assert said.code == 0
    assert len(list((tmp_path / "maps").glob("*.heatmap.jpg"))) == 3
    assert f"Heat maps in {tmp_path / 'maps'}: what speaks for melanoma, and for no other cancer" in said.out
    assert "Heat maps in" not in predict(photos, model=near).out
    assert "heat map" not in said.err
    # A second time into the photographs' own folder: no overlay of an overlay.
    predict(photos, "--heatmaps", photos)
    assert len(predict(photos, "--json").out.splitlines()) == 3


def test_heat_maps_that_show_no_place_are_told_once(predict, photos: Path, tmp_path: Path) -> None:
    blind = tiny.bundle(tmp_path / "blind.melascope", onnx=tiny.network(gain=0.0)).path
    said = predict(photos, "--heatmaps", tmp_path / "maps", model=blind)
    assert said.code == 0
    assert said.err.count("3 of 3 heat maps are empty or faint: the melanoma risk is below") == 1
    one = predict(next(photos.glob("*.jpg")), "--heatmaps", tmp_path / "maps", model=blind)
    assert "The heat map is empty or faint: the melanoma risk is below" in one.err
    assert "empty" not in predict(photos, model=blind).err


def test_a_model_without_heat_maps_says_so_once(predict, photos: Path, tmp_path: Path) -> None:
    flat = tiny.bundle(tmp_path / "flat.melascope", onnx=tiny.network(heatmap=False))
    said = predict(photos, "--heatmaps", tmp_path / "maps", model=flat.path)
    assert said.code == 0
    assert said.err.count("no heat maps") == 1
    assert not (tmp_path / "maps").exists()


def test_lesions_are_named_from_a_table(predict, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "lesions.csv"
    table.write_text(
        "image_id,lesion_id,age\nisic_0000001.jpg,IL_7,50\nISIC_0000002_downsampled,IL_8,\nISIC_9,IL_9,1\n"
    )
    said = predict(photos, "--table", table, "--json")
    assert [json.loads(line)["lesion_id"] for line in said.out.splitlines()] == [None, "IL_7", "IL_8"]
    assert "IL_7" in predict(photos, "--table", table).out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,age\nA,1\n", "no column lesion_id"),
        ("", "no column image_id"),
        ("image_id,lesion_id\nA,1\nA.jpg,2\n", "two lesions"),
    ],
)
def test_a_table_that_does_not_fit(predict, photos: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "lesions.csv").write_text(text)
    said = predict(photos, "--table", tmp_path / "lesions.csv")
    assert said.code == 2
    assert words in said.err


def test_a_table_that_is_missing_no_text_or_of_other_photographs(predict, photos: Path, tmp_path: Path) -> None:
    assert "does not exist" in predict(photos, "--table", tmp_path / "none.csv").err
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    assert "not text in UTF-8" in predict(photos, "--table", tmp_path / "binary.csv").err
    (tmp_path / "other.csv").write_text("image_id,lesion_id\nX,1\n")
    assert "No photograph's image id" in predict(photos, "--table", tmp_path / "other.csv").err


def test_bf16_reports_what_it_changes(predict, photos: Path) -> None:
    said = predict(photos, "--precision", "bf16", "--json")
    assert said.code == 0
    assert len(said.out.splitlines()) == 3
    assert "bf16 against float32 on all photographs: the largest change of a probability is 0." in said.err


def test_a_failure_while_writing_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("before")

    def interrupted() -> None:
        with whole(target) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode there")
def test_a_file_name_that_is_no_text(predict, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / os.fsdecode(b"a\xff.jpg")).write_bytes(tiny.jpeg(0))
    for form in ("jsonl", "csv", "table"):
        assert r"a\xff" in predict(tmp_path / "p", "--format", form).out.replace("\\\\", "\\")
    assert predict(tmp_path / "p", "--out", tmp_path / "a.parquet").code == 0


def test_many_photographs_show_the_most_urgent() -> None:
    model = Model("m", "1", "0" * 64)
    findings = [
        Finding(f"/a/b/{i}.jpg", None, str(i), "ok", model, decision="no_alert", melanoma_risk=i / 1000)
        for i in range(300)
    ]
    findings[7] = Finding("/a/b/7.jpg", None, "7", "ok", model, decision="alert", melanoma_risk=0.5)
    table = findings_table(findings)
    assert table.row_count == 200
    assert "200 most urgent of 300" in str(table.caption)
    assert next(table.columns[0].cells).plain == "7.jpg"  # type: ignore[union-attr]
    assert findings_table([]).row_count == 0


def test_a_first_choice_that_is_not_the_most_probable_is_told_as_such() -> None:
    told = {"probabilities": {"MEL": 0.3, "NV": 0.67, "DF": 0.03}, "decision": "alert"}
    model = Model("m", "1", "0" * 64)
    findings = [
        Finding(f"{code}.jpg", None, code, "ok", model, diagnosis=code, **told)  # type: ignore[arg-type]
        for code in ("NV", "DF")
    ]
    findings.append(Finding("bad.jpg", None, None, "refused", model))
    cells = [str(cell) for cell in findings_table(findings).columns[-1].cells]
    assert cells == ["nevus (67 %)", "nevus (67 %), or dermatofibroma (3.0 %)", ""]
    assert "first choice" in first_choices(findings)[0]
    assert first_choices([findings[0], findings[2]]) == []


def test_predict_does_not_import_the_training_framework_or_plotting(bundle: Bundle, photos: Path) -> None:
    code = (
        "import sys; from melascope.cli.main import main; sys.argv = ['melascope', 'predict', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('keras', 'tensorflow', 'matplotlib', 'sklearn', 'tf2onnx')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, str(photos), "--bundle", str(bundle.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def lesions_csv(tmp_path: Path, extra: str = "") -> Path:
    table = tmp_path / "lesions.csv"
    table.write_text(
        "image_id,lesion_id,patient_id,age,site\n"
        f"ISIC_0000000,IL_7,IP_1,50,back\nISIC_0000001,IL_7,IP_1,50,back\nISIC_0000002,IL_8,IP_1,,\n{extra}"
    )
    return table


def test_a_finding_for_each_lesion(predict, photos: Path, tmp_path: Path, bundle: Bundle) -> None:
    table = lesions_csv(tmp_path)
    (photos / "ISIC_0000003.jpg").write_bytes(b"\xff\xd8\xff broken")
    table = lesions_csv(tmp_path, "ISIC_0000003,IL_7,IP_1,,\n")
    said = predict(photos, "--table", table, "--by", "lesion", "--json")
    assert said.code == 1
    lesions = [json.loads(line) for line in said.out.splitlines()]
    assert [lesion["lesion_id"] for lesion in lesions] == ["IL_7", "IL_8"]
    assert [finding["status"] for finding in lesions[0]["findings"]] == ["ok", "ok", "refused"]
    assert "1 of 3 photographs could not be read." in lesions[0]["reasons"]
    risks = [finding["melanoma_risk"] for finding in lesions[0]["findings"][:2]]
    assert lesions[0]["melanoma_risk"] == pytest.approx(sum(risks) / 2)
    rows = list(csv.DictReader(io.StringIO(predict(photos, "--table", table, "--by", "lesion", "--format", "csv").out)))
    assert [(row["photographs"], row["judged"], row["patient_id"]) for row in rows] == [
        ("3", "2", "IP_1"),
        ("1", "1", "IP_1"),
    ]
    predict(photos, "--table", table, "--by", "lesion", "--out", tmp_path / "found.parquet")
    parquet = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "found.parquet").to_pylist()
    assert parquet[0]["melanoma_risk"] == pytest.approx(lesions[0]["melanoma_risk"])
    shown = predict(photos, "--table", table, "--by", "lesion").out
    for words in ("IL_7", "2 of 3", "Patient", "made without thresholds for lesions"):
        assert words in shown
    # Python says the same.
    about = {name: {"lesion_id": "IL_7"} for name in ("ISIC_0000000", "ISIC_0000001", "ISIC_0000003")}
    files = sorted(photos.iterdir())
    same = Predictor(bundle, 1).predict_lesions(files, about)
    assert same[0].melanoma_risk == pytest.approx(lesions[0]["melanoma_risk"], abs=1e-3)
    assert same[0].decision == lesions[0]["decision"]


def test_lesions_need_a_table_that_makes_sense(predict, photos: Path, tmp_path: Path) -> None:
    said = predict(photos, "--by", "lesion")
    assert said.code == 2
    assert "--by lesion needs --table" in said.err
    said = predict(photos, "--table", lesions_csv(tmp_path, "X1,IL_7,IP_2,,\n"))
    assert (said.code, "gives lesion IL_7 to two patients, IP_1 and IP_2" in said.err) == (2, True)
    said = predict(photos, "--table", lesions_csv(tmp_path, "ISIC_0000000,IL_7,IP_1,60,\n"))
    assert "two values of age, 50 and 60" in said.err


def test_the_command_and_python_say_the_same(predict, photos: Path, bundle: Bundle) -> None:
    files = sorted(photos.iterdir())
    expected = [finding.to_dict() for finding in Predictor(bundle, 1).predict(files)]
    for options in (("--threads", 2, "--batch-size", 7), ("--threads", 1, "--batch-size", 64)):
        said = [json.loads(line) for line in predict(photos, "--json", *options).out.splitlines()]
        for one, other in zip(expected, said, strict=True):
            assert one.keys() == other.keys()
            assert (one["decision"], one["diagnosis"], one["reasons"]) == (
                other["decision"],
                other["diagnosis"],
                other["reasons"],
            )
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)


def test_a_stated_prevalence_says_what_an_alert_means(predict, photos: Path, tmp_path: Path) -> None:
    assert "Where" not in predict(photos).out
    out = predict(photos, "--prevalence", "0.02").out
    assert re.search(
        r"Where 2.0 % of the lesions are melanomas, [\d.]+ % of those that alert on melanoma risk are", out
    )
    point = json.loads(predict(photos, "--prevalence", "0.02", "--json").out.splitlines()[0])["operating_point"]
    assert (point["prevalence"] == 0.02) == (point["group"] == "melanoma")
    for impossible in ("0", "1", "2"):
        assert predict(photos, "--prevalence", impossible).code == 2


def test_what_was_measured_on_fewer_than_ten_is_too_few_to_judge() -> None:
    known, few = Measured(0.9, 0.8, 0.95, 10), Measured(1.0, 0.7, 1.0, 9)
    asked = OperatingPointUsed("screening", "melanoma", 0.1, True, few, known, "test")
    asked = replace(asked, prevalence=0.02, ppv=few, npv=few)
    said = " ".join(rule([asked]))
    assert "sensitivity too few to judge (n = 9), specificity 90 % (80 to 95, n = 10), on test photographs" in said
    assert "are melanomas, it is not known what an alert means: it was measured on too few." in said
    assert "100 %" not in said
    assert "sensitivity 90 % (80 to 95, n = 10)" in " ".join(rule([replace(asked, sensitivity=known)]))


def test_what_could_be_better_is_told_once(predict, photos: Path) -> None:
    model = Model("m", "1", "0" * 64)
    sentence = "Hair covers the skin."
    hairy = {"score": 0.8, "problems": [{"kind": "hair", "severity": 0.3, "sentence": sentence}]}
    good = Finding("good.jpg", None, "good", "ok", model, quality={"score": 1.0, "problems": []})
    findings = [good, *(Finding(f"{i}.jpg", None, str(i), "ok", model, quality=hairy) for i in range(7))]
    assert of_quality([good]) == of_quality([]) == []
    *lines, last = of_quality(findings)
    assert lines == [f"{i}.jpg: {sentence}" for i in range(5)]
    assert last == "2 more photographs could be better; --format jsonl says how."
    # Not what is a doubt already.
    assert of_quality([replace(findings[1], doubts=(f"The photograph is too poor to be judged. {sentence}",))]) == []
    lesion = LesionFinding("L1", tuple(findings[:2]), "ok", model)
    assert of_quality([lesion]) == [f"0.jpg: {sentence}"]


def test_codes_are_spelt_out_where_they_are_shown(predict, photos: Path) -> None:
    model = Model("m", "1", "0" * 64)
    found = Finding("a.jpg", None, "a", "ok", model, prediction_set=("NV", "MEL"), coverage=0.9)
    assert codes([found]) == ["Codes: MEL melanoma, NV nevus."]
    assert codes([found], 80) == []  # no room for sets
    similar = replace(found, neighbours=({"diagnosis": "BCC"},))
    assert codes([similar], 80) == ["Codes: BCC basal cell carcinoma."]
    assert "Codes: " in predict(photos).out


def test_photographs_that_the_model_learnt_from_are_told(predict, photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.glob("*.jpg"))
    known = TrainedOn.of([hashlib.sha256(file.read_bytes()).hexdigest() for file in files[:2]])
    model = tiny.bundle(tmp_path / "taught.melascope", trained_on=known).path
    said = predict(photos, model=model)
    assert "2 photographs are some that the model learnt from" in said.err
    assert "learnt from" not in predict(files[2], model=model).err
    assert "1 photograph is one that the model learnt from" in predict(files[0], model=model).err


def test_another_operating_point(predict, photos: Path, tmp_path: Path) -> None:
    points = tiny.decision()["operating_points"]
    named = {
        group: {**own, "rule-in": {**own["screening"], "threshold": 0.99, "aim": "specificity", "assured": True}}
        for group, own in points.items()
    }
    model = tiny.bundle(tmp_path / "three.melascope", decision=tiny.decision(operating_points=named)).path
    said = predict(photos, "--operating-point", "rule-in", model=model)
    assert said.code == 0
    assert "Operating point: rule-in." in said.out
    assert "chosen for a specificity of 95 %, assured" in said.out
    said = predict(photos, "--operating-point", "best", model=model)
    assert said.code == 2
    assert "it has screening, rule-in" in said.err


def test_quality_and_its_switch(predict, photos: Path) -> None:
    said = predict(photos, "--json")
    assert all(json.loads(line)["quality"]["problems"] for line in said.out.splitlines())
    assert all(
        json.loads(line)["quality"] is None for line in predict(photos, "--json", "--no-quality").out.splitlines()
    )
    table = predict(photos).out
    poor = "The photograph is too poor to be judged. The photograph is blurred: hold the dermatoscope still"
    assert table.count(poor) == 3
    assert "too poor" not in predict(photos, "--no-quality").out
    for i in range(3, 8):
        (photos / f"ISIC_{i:07d}.jpg").write_bytes(tiny.jpeg(i))
    many = predict(photos).out
    assert many.count(poor) == 5
    assert "3 more photographs are referred or in doubt; --format jsonl says why." in many


def test_below_the_table_stands_why_photographs_are_referred(predict, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "lesions.csv"
    table.write_text(
        "image_id,lesion_id,age,site\nISIC_0000000,A,6,back\nISIC_0000001,B,50,genital\nISIC_0000002,C,50,back\n"
    )
    points = tiny.decision()["operating_points"]
    for quiet in (False, True):
        for named in points.values():
            named["screening"]["threshold"] = 1.0 if quiet else 0.0
        model = tiny.bundle(tmp_path / f"{quiet}.melascope", decision=tiny.decision(operating_points=points)).path
        stands = "" if quiet else "The alert stands, though there is doubt. "
        for by, names in (("photograph", ("ISIC_0000000.jpg", "ISIC_0000001.jpg")), ("lesion", ("A", "B"))):
            lines = predict(photos, "--table", table, "--no-quality", "--by", by, model=model).out.splitlines()
            told = [line for line in lines if "was not made for" in line]
            assert told == [
                f"{names[0]}: {stands}The model was not made for children and adolescents (age 6).",
                f'{names[1]}: {stands}The model was not made for genitals (site "genital").',
            ]
            assert sum("refer" in line or "ALERT" in line for line in lines[:4]) == (2 if quiet else 3)
            assert not any("in doubt" in line for line in lines)


def test_the_prediction_set_is_shown_where_there_is_room(predict, photos: Path, tmp_path: Path) -> None:
    model = Model("m", "1", "0" * 64)
    probable = {"MEL": 0.3, "NV": 0.7}
    told = {"decision": "alert", "probabilities": probable, "diagnosis": "NV", "coverage": 0.9}
    findings = [
        Finding(f"{'a' * 30}{i}.jpg", None, str(i), "ok", model, lesion_id=f"L{i}", prediction_set=codes, **told)  # type: ignore[arg-type]
        for i, codes in enumerate([("MEL", "NV"), (), None])
    ]
    cells = next(column.cells for column in findings_table(findings).columns if column.header == "Possible")
    assert [str(cell) for cell in cells] == ["MEL NV", "none", ""]
    assert "Possible" in [column.header for column in findings_table(findings, 120).columns]
    assert "Possible" not in [column.header for column in findings_table(findings, 80).columns]
    assert possible(findings, 80) == possible(findings[2:]) == []
    (line,) = possible(findings)
    assert "the diagnosis of 90 % of the photographs of each diagnosis" in line
    assert "on average and if photographs are like the calibration ones" in line
    # Neither a long name nor the codes of neighbours push a column over the edge.
    similar = tuple({"diagnosis": "NV"} for _ in range(5))
    page = Console(width=80, file=io.StringIO())
    page.print(findings_table([replace(f, neighbours=similar, lesion_id=None) for f in findings], 80))
    assert page.file.getvalue().count("NV") >= 3 * 5  # type: ignore[attr-defined]
    assert "always named" not in line
    assert possible(findings, always=["DF"])[0] == f"{line} DF is always named: too few calibrated it."
    assert possible(findings, always=["DF", "AK"])[0].endswith("DF, AK are always named: too few calibrated them.")
    assert line in predict(photos).out
    assert (
        "It was set on single photographs." in predict(photos, "--table", lesions_csv(tmp_path), "--by", "lesion").out
    )
    without = tiny.bundle(tmp_path / "none.melascope", decision=tiny.decision(prediction_set=None)).path
    assert "Possible" not in predict(photos, model=without).out


@pytest.fixture
def knowing(photos: Path, tmp_path: Path, bundle: Bundle) -> Path:
    raws = [raw for _, raw in Predictor(bundle, 1).stream(tiny.folder(tmp_path / "known", 12))]
    ids = [f"ISIC_{i:07d}" for i in range(12)]
    known = make(np.stack([raw.embedding for raw in raws]), ids, ids, ["NV", "MEL", "BKL"] * 4, [None] * 12)
    return tiny.bundle(tmp_path / "knowing.melascope", arrays={"neighbours.npz": known}).path


def test_neighbours(predict, photos: Path, knowing: Path) -> None:
    found = [json.loads(line)["neighbours"] for line in predict(photos, "--json", model=knowing).out.splitlines()]
    assert [len(one) for one in found] == [5, 5, 5]
    assert "ISIC_0000001" not in {one["image_id"] for one in found[1]}
    table = predict(photos, "--neighbours", 7, model=knowing).out
    assert "Neighbours" in table
    codes = " ".join(one["diagnosis"] for one in found[0])
    assert f"{codes} ..." in " ".join(table.split())
    assert "Neighbours" not in predict(photos, "--neighbours", 0, model=knowing).out
    (row, *_) = csv.DictReader(io.StringIO(predict(photos, "--format", "csv", model=knowing).out))
    assert row["neighbour_diagnoses"] == codes


def test_strips(predict, photos: Path, tmp_path: Path, knowing: Path) -> None:
    def drawn(folder: Path) -> list[str]:
        return sorted(path.name for path in folder.glob("*.neighbours.png"))

    expected = [f"ISIC_000000{i}.neighbours.png" for i in range(3)]
    said = predict(photos, "--neighbour-images", tmp_path / "known", "--strips", tmp_path / "strips", model=knowing)
    assert said.code == 0
    assert drawn(tmp_path / "strips") == expected
    assert "empty frames" not in said.err
    # Beside the overlays, from a folder that lacks most of the neighbours, and none of them is taken for a photograph.
    said = predict(photos, "--neighbour-images", photos, "--heatmaps", photos, "--by", "photograph", model=knowing)
    assert drawn(photos) == expected
    assert len(list(photos.glob("*.heatmap.jpg"))) == 3
    assert "of 15 neighbours could not be shown from" in said.err
    assert len(predict(photos, "--json").out.splitlines()) == 3
    said = predict(photos, "--neighbour-images", photos, "--strips", tmp_path / "none")
    assert "names no neighbours" in said.err
    assert not (tmp_path / "none").exists()
    said = predict(photos, "--neighbour-images", tmp_path / "gone", "--strips", tmp_path / "none", model=knowing)
    assert (said.code, "does not exist" in said.err) == (2, True)


def test_ages_that_are_no_number_are_told_once(predict, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "lesions.csv"
    rows = ["ISIC_0000000,A,forty", "ISIC_0000001,B,unknown", "ISIC_0000002,C,50", f"ISIC_9,D,{'x' * 99}", "ISIC_8,E,"]
    table.write_text("\n".join(["image_id,lesion_id,age", *rows]))
    said = predict(photos, "--table", table, "--json")
    assert said.code == 0
    assert said.err.count("cannot be read as a number of years") == 1
    assert (
        f'In the column age of {table}, 2 values cannot be read as a number of years ("forty"); they are not'
        in said.err
    )
    assert [json.loads(line)["context"] for line in said.out.splitlines()] == [None, None, {"age": 50.0}]
    table.write_text("image_id,lesion_id,age\nISIC_0000000,A,-3\n")
    assert (
        '1 value cannot be read as a number of years ("-3"); it is not used.' in predict(photos, "--table", table).err
    )
    table.write_text("image_id,lesion_id,age\nISIC_0000000,A,40.0\n")
    assert "number of years" not in predict(photos, "--table", table).err
