"""`melascope data audit`, `split` and `show` as a person calls them, on generated photographs with planted problems."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from melascope.cli.main import _run
from melascope.images import synthetic

KINDS = {
    "unreadable",
    "byte_identical",
    "same_photograph",
    "id_conflict",
    "authority_conflict",
    "photograph_leak",
    "lesion_leak",
    "lesion_repeat",
    "other_set_leak",
    "shortcut",
    "outlier",
    "imbalance",
    "label_suspect",
    "personal_data",
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    root = synthetic.write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=140, seed=4, size=64)
    first = min((root / "Train" / "melanoma").glob("*.jpg"))
    turned = Image.open(first).transpose(Image.Transpose.ROTATE_90).resize((90, 80))
    turned.save(root / "Train" / "melanoma" / "SYN_9000001.png")
    exif = Image.Exif()
    exif[0x013B] = "Jane Doe"
    Image.open(first).save(root / "Train" / "melanoma" / "SYN_9000002.jpg", exif=exif, quality=50)
    return root


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MELASCOPE_CACHE", str(tmp_path / "cache"))

    def run(*words: object) -> tuple[int, str, str]:
        code = _run([str(word) for word in words])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        assert "Unexpected" not in told.err
        return code, told.out, told.err

    return run


def _state(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_an_audit_writes_all_that_it_found_and_changes_no_image(call, photographs, tmp_path):
    before = _state(photographs)
    code, out, _ = call("data", "audit", photographs, "--authority", photographs / "metadata.csv", "--out", "AUDIT")
    assert code == 1  # two planted files cannot be read
    assert out.startswith("usable with exclusions")
    assert _state(photographs) == before
    folder = tmp_path / "AUDIT"
    told = json.loads((folder / "audit.json").read_text())
    assert set(told["kinds"]) == KINDS
    assert all({"groups", "images", "by_class"} <= set(found) for found in told["kinds"].values())
    problems = pd.read_csv(folder / "problems.csv")
    assert problems.columns.tolist() == ["kind", "group", "image_id", "path", "diagnosis", "split", "evidence"]
    for kind, found in told["kinds"].items():
        rows = problems[problems["kind"] == kind]
        assert (found["groups"], found["images"]) == (rows["group"].nunique(), rows["path"].nunique()), kind
    same = problems[problems["kind"] == "same_photograph"]
    assert {"SYN_9000001", "SYN_9000002"} <= set(same["image_id"])
    carried = problems[problems["kind"] == "personal_data"].set_index("image_id")["evidence"]
    assert "artist's name" in carried["SYN_9000002"]
    assert "Jane" not in (folder / "audit.json").read_text() + (folder / "problems.csv").read_text()
    clean, whole = pd.read_csv(folder / "clean.csv"), pd.read_parquet(folder / "clean.parquet")
    assert clean["image_id"].tolist() == whole["image_id"].tolist()
    assert {"image_id", "path", "diagnosis", "group"} <= set(clean)
    excluded = pd.read_csv(folder / "excluded.csv")
    assert len(clean) + len(excluded) == told["images"]
    assert excluded["reason"].notna().all()
    page = (folder / "report.html").read_text()
    assert "The same photograph in different files" in page
    assert len(page) < 20e6


def test_fail_on_and_policy(call, photographs):
    quick = ("data", "audit", photographs, "--no-suspects", "--out")
    code, _, said = call(*quick, "A", "--fail-on", "same_photograph")
    assert code == 1
    assert "not wanted: same_photograph (--fail-on)" in " ".join(said.split())
    Path("policy.toml").write_text('[problems]\npersonal_data = "exclude"\nsame_photograph = "warn"\n')
    call(*quick, "B", "--policy", "policy.toml")
    strict, lenient = (pd.read_csv(f"{name}/excluded.csv") for name in "AB")
    assert (strict["reason"] == "the same photograph, resized or changed, is kept").sum() == 2
    assert set(lenient["reason"]) - set(strict["reason"]) == {"carries personal data"}
    assert json.loads(Path("B/audit.json").read_text())["kinds"]["personal_data"]["action"] == "exclude"
    assert json.loads(Path("B/audit.json").read_text())["kinds"]["label_suspect"]["looked_for"] is False
    Path("policy.toml").write_text('[problems]\npersonal_dta = "exclude"\n')
    code, _, said = call(*quick, "C", "--policy", "policy.toml")
    assert code == 2
    assert 'did you mean "personal_data"?' in " ".join(said.split())


def test_against_another_set(call, photographs, tmp_path):
    other = synthetic.write_dataset(tmp_path / "other", photographs=60, seed=99, size=64)
    mine = min((photographs / "Train" / "nevus").glob("*.jpg"))
    flipped = Image.open(mine).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    flipped.save(other / "Train" / "nevus" / "SYN_8000001.jpg", quality=70)
    call("data", "audit", photographs, "--no-suspects", "--against", other, "--out", "A", "--json")
    problems = pd.read_csv("A/problems.csv")
    leaks = problems[problems["kind"] == "other_set_leak"]
    assert mine.stem in set(leaks["image_id"])
    assert leaks.set_index("image_id").loc[mine.stem, "evidence"].startswith("other: SYN_8000001")


def test_a_set_that_is_not_usable_is_audited_all_the_same(call):
    for name in ("nevus", "melanoma"):
        Path("set", name).mkdir(parents=True)
        for number in range(4):
            Path("set", name, f"{number}.jpg").write_bytes(b"")
    code, out, _ = call("data", "audit", "set", "--out", "A")
    assert code == 1
    assert out.startswith("not usable")
    assert len(pd.read_csv("A/excluded.csv")) == 8
    assert pd.read_csv("A/clean.csv").empty


def test_split_by_shares_folds_and_over_two_sets(call, photographs, tmp_path):
    code, out, _ = call(
        "data", "split", photographs, "--fraction", "train=0.8", "--fraction", "calibrate=0.2", "--out", "p.csv"
    )
    assert code == 1
    assert "groups of photograph, lesion and patient are torn apart" in " ".join(out.split())
    first = pd.read_csv("p.csv")
    assert set(first["part"]) == {"train", "calibrate", "test"}
    assert Path("p.html").exists()
    other = synthetic.write_dataset(tmp_path / "other", photographs=60, seed=99, size=64)
    for path in list(other.rglob("SYN_*.jpg")):
        path.rename(path.with_name(path.name.replace("SYN_", "NEW_")))
    code, out, _ = call(
        "data", "split", photographs, other, "--folds", "3", "--out", "f.csv", "--ids", "i.csv", "--json"
    )
    both = pd.read_csv("f.csv")
    assert set(both["source"]) == {"photographs", "other"}
    assert json.loads(out)["counts"]["melanoma"].keys() == {"fold 0", "fold 1", "fold 2"}
    call("data", "split", photographs, other, "--keep", "p.csv", "--out", "q.csv")
    second = pd.read_csv("q.csv").set_index("image_id")["part"]
    kept = first[first["image_id"].isin(second.index)]
    assert (second[kept["image_id"]].to_numpy() == kept["part"].to_numpy()).all()
    assert call("data", "split", photographs, "--folds", "3", "--fraction", "train=1", "--out", "x.csv")[0] == 2
    assert call("data", "split", photographs, "--fraction", "train", "--out", "x.csv")[0] == 2


def test_show_draws_grids_by_class_and_source(call, photographs):
    call("data", "show", photographs, "--out", "data.html")
    page = Path("data.html").read_text()
    assert "By class: 8 photographs of each" in page


def test_an_audit_that_leaves_nothing_is_written_all_the_same(call, photographs):
    code, out, _ = call("data", "audit", photographs, "--no-suspects", "--against", photographs, "--out", "A")
    assert code == 1
    assert out.startswith("not usable")
    assert "stands in another set too" in " ".join(out.split())
    told = json.loads(Path("A/audit.json").read_text())
    assert told["verdict"] == "not usable"
    assert len(pd.read_csv("A/excluded.csv")) == told["images"]
    assert Path("A/report.html").exists()


def test_files_without_a_single_diagnosis(call):
    Path("set").mkdir()
    for number in range(3):
        Image.fromarray(synthetic.lesion(number, "NV", size=32)).save(f"set/a{number}.jpg")
    Path("labels.csv").write_text("image_id,diagnosis\na0,\na1,\na2,\n")
    code, out, _ = call("data", "audit", "labels.csv", "--images", "set", "--no-suspects", "--out", "A")
    assert code == 0
    assert out.startswith("not usable")
    assert "3 photographs have no diagnosis." in out
    assert pd.read_csv("A/excluded.csv")["reason"].str.startswith("Not usable").all()


def test_a_gate_that_cannot_shut_is_refused(call, photographs):
    for kind, more in (("label_suspect", ["--no-suspects"]), ("other_set_leak", []), ("authority_conflict", [])):
        code, _, said = call("data", "audit", photographs, "--out", "A", "--fail-on", kind, *more)
        assert code == 2
        assert f"--fail-on {kind}" in " ".join(said.split())


def test_what_is_read_is_not_overwritten(call, photographs):
    table = photographs / "metadata.csv"
    before = table.read_bytes()
    assert call("data", "split", photographs, "--authority", table, "--out", table)[0] == 2
    assert call("data", "audit", photographs, "--out", photographs)[0] == 2
    assert call("data", "split", photographs, "--out", "f.csv", "--ids", "f.csv")[0] == 2
    assert call("data", "show", photographs, "--out", "s.csv")[0] == 2
    assert table.read_bytes() == before


def test_a_split_by_an_audit_has_the_rows_that_the_audit_left(call, photographs):
    Path("policy.toml").write_text('[problems]\nlabel_suspect = "exclude"\noutlier = "exclude"\n')
    authority = photographs / "metadata.csv"
    call("data", "audit", photographs, "--authority", authority, "--policy", "policy.toml", "--out", "A")
    assert "the diagnosis may be wrong" in set(pd.read_csv("A/excluded.csv")["reason"])
    call("data", "split", photographs, "--authority", authority, "--audit", "A", "--out", "s.csv")
    assert set(pd.read_csv("s.csv")["path"]) == set(pd.read_csv("A/clean.csv")["path"])
    # An authority that was not there then is another state of the data.
    code, _, said = call("data", "split", photographs, "--audit", "A", "--out", "t.csv")
    assert code == 2
    assert "as they are now" in " ".join(said.split())


def test_names_that_stand_for_several_photographs_are_not_written_as_ids(call, photographs, tmp_path):
    other = synthetic.write_dataset(tmp_path / "other", photographs=60, seed=99, size=64)
    code, _, said = call("data", "split", photographs, other, "--out", "f.csv", "--ids", "i.csv")
    assert code == 2
    assert "stand for photographs in several parts" in " ".join(said.split())


def test_photographs_of_another_set_without_a_table_are_refused(call, photographs, tmp_path):
    quick = ("data", "audit", photographs, "--no-suspects", "--out", "A")
    code, _, said = call(*quick, "--against", photographs, "--against-images", tmp_path)
    assert code == 2
    assert "no table is given" in " ".join(said.split())
    code, _, said = call(*quick, "--against-images", tmp_path)
    assert code == 2
    assert "name one with --against" in " ".join(said.split())
    assert not Path("A").exists()


def test_ids_that_the_data_do_not_have_are_told_and_none_known_is_refused(call, photographs):
    names = sorted(path.stem for path in (photographs / "Train" / "nevus").glob("*.jpg"))[:3]
    Path("keep.csv").write_text("image_id,part\nGONE_1,train\nGONE_2,train\n" + "".join(f"{n},tune\n" for n in names))
    code, out, _ = call("data", "split", photographs, "--keep", "keep.csv", "--out", "s.csv")
    assert code == 1
    assert "keep.csv names 2 photographs that are not among these data, such as GONE_1." in " ".join(out.split())
    Path("keep.csv").write_text("image_id,part\nGONE_1,train\n")
    code, _, said = call("data", "split", photographs, "--keep", "keep.csv", "--out", "t.csv")
    assert code == 2
    assert "keep.csv names none of the photographs of these data" in " ".join(said.split())


def test_a_hundred_folds_are_shown_in_few_words(call, photographs):
    code, out, _ = call("data", "split", photographs, "--folds", "30", "--out", "f.csv")
    assert code == 1
    told = " ".join(out.split())
    assert "in each of 30 folds." in told
    assert "fold 29" in told
    page = Path("f.html").read_text()
    assert "smallest to largest share" in page
    assert page.count("<th") < 60


def test_an_audit_is_not_written_over_the_table_that_it_reads(call, photographs):
    call("data", "audit", photographs, "--no-suspects", "--out", "A")
    before = Path("A/clean.csv").read_bytes()
    code, _, said = call("data", "audit", "A/clean.csv", "--no-suspects", "--out", "A")
    assert code == 2
    assert "is read by this command" in " ".join(said.split())
    assert Path("A/clean.csv").read_bytes() == before
