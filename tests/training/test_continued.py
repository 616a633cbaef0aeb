"""Going on from a run: weights are taken over, parts are kept, and what the weights know judges nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melascope
from melascope.datasets import table as tables
from melascope.datasets.identity import symmetric_hashes
from melascope.datasets.split import PARTS
from melascope.errors import DataError, RunError
from melascope.training import checkpoint, continued
from melascope.training.continued import Before, keep_parts, refuse_known
from melascope.training.known_parts import TELLS, known_parts

RECIPE = """
extends = "small-cnn"
[data]
size = 32
[network]
stem = 0
widths = [8, 16]
convolutions = 1
[schedule]
epochs = 1
warmup_epochs = 0
"""


def _hash(number: int) -> str:
    return np.random.default_rng(number).integers(0, 256, 32, dtype=np.uint8).tobytes().hex()


def _rows(*rows: dict[str, object]) -> pd.DataFrame:
    """Rows of a scanned table: each `n` is a photograph of its own unless it is told otherwise."""
    whole = []
    for row in rows:
        n = int(str(row.pop("n")))
        usual = {
            "image_id": f"ISIC_{n:07d}", "path": f"{n}.jpg", "sha256": f"{n:064x}", "phash": _hash(n),
            "lesion_id": pd.NA, "patient_id": pd.NA, "group": f"group {n}", "split": pd.NA, "diagnosis": "NV",
        }  # fmt: skip
        whole.append({**usual, **row})
    return pd.DataFrame(whole).astype("string")


def _before(*rows: dict[str, object], **changes: object) -> Before:
    known = _rows(*rows)[list(TELLS)]
    return Before(**{"name": "RUN", "known": known, "opened": (), "cross_fitted": False, **changes})  # type: ignore[arg-type]


def _many(start: int, count: int) -> list[dict[str, object]]:
    return [{"n": start + i, "diagnosis": ("MEL", "NV")[i % 2]} for i in range(count)]


def test_known_photographs_keep_their_parts_by_id_bytes_lesion_patient_and_looks() -> None:
    known = _before(
        {"n": 1, "part": "train"}, {"n": 2, "part": "tune"}, {"n": 3, "part": "test", "lesion_id": "L3"},
        {"n": 4, "part": "train", "patient_id": "P4"}, {"n": 5, "part": "calibrate"}, {"n": 6, "part": "train"},
    ).known  # fmt: skip
    rows = _rows(
        {"n": 1, "sha256": "a" * 64},
        {"n": 20, "sha256": f"{2:064x}"},
        {"n": 30, "lesion_id": "L3"},
        {"n": 40, "patient_id": "P4"},
        {"n": 50, "phash": _hash(5)},
        {"n": 60},
        {"n": 61, "group": "both"},
        {"n": 6, "group": "both"},
    )
    found = known_parts(rows, known)
    assert found.fillna("new").tolist() == ["train", "tune", "test", "train", "calibrate", "new", "train", "train"]


def _changed(bits: int, hexadecimal: str) -> str:
    flips = np.zeros(256, dtype=np.uint8)
    flips[:bits] = 1
    return (np.frombuffer(bytes.fromhex(hexadecimal), np.uint8) ^ np.packbits(flips)).tobytes().hex()


def test_looks_count_for_photographs_that_are_known_by_other_things_too() -> None:
    known = _before(
        {"n": 1, "part": "train"}, {"n": 2, "part": "test"}, {"n": 3, "part": "test", "lesion_id": "L"}
    ).known  # fmt: skip
    # By name and lesion these stood in the test part; what they show was learnt from.
    rows = _rows(
        {"n": 2, "phash": _hash(1)}, {"n": 4, "lesion_id": "L", "phash": _hash(1)}, {"n": 5, "lesion_id": "L"},
        {"n": 6, "phash": _changed(31, _hash(1))}, {"n": 7, "phash": _changed(60, _hash(1))},
    )  # fmt: skip
    assert known_parts(rows, known).fillna("new").tolist() == ["train", "train", "train", "train", "new"]


def test_a_photograph_that_was_turned_is_known_again() -> None:
    known = _before({"n": 1, "part": "tune"}).known
    forms = symmetric_hashes(known["phash"])
    rows = _rows(*({"n": 10 + i, "phash": form.tobytes().hex()} for i, form in enumerate(forms)))
    assert known_parts(rows, known).tolist() == ["tune"] * 8


def test_a_group_that_stood_apart_goes_to_training() -> None:
    known = _before({"n": 1, "part": "train"}, {"n": 2, "part": "test"}).known
    # A new photograph shows that both are of one patient.
    rows = _rows({"n": 1, "group": "one"}, {"n": 2, "group": "one"}, {"n": 3, "group": "one"})
    assert known_parts(rows, known).tolist() == ["train"] * 3


def test_new_photographs_are_split_and_the_known_ones_are_not() -> None:
    before = _before(*({"n": i, "part": PARTS[i % 4]} for i in range(40)))
    rows = _rows(*_many(0, 140))
    parts, sentences = keep_parts(rows, before, seed=1, group="group")
    assert parts.part[:40].tolist() == [PARTS[i % 4] for i in range(40)]
    assert set(parts.part[40:]) >= {"train", "calibrate", "test"}
    assert sentences == []
    again, sentences = keep_parts(rows, _before({"n": 0, "part": "train"}, opened=("RUN",)), seed=1, group="group")
    assert "opened before" in sentences[0]
    assert again.part[0] == "train"


def test_a_test_photograph_that_was_trained_on_does_not_judge() -> None:
    before = _before({"n": 1, "part": "train"}, {"n": 2, "part": "test"})
    rows = _rows(
        {"n": 1, "split": "test"}, {"n": 2, "split": "test"}, {"n": 3, "split": "test"}, *_many(10, 60)
    )  # fmt: skip
    rows["split"] = rows["split"].fillna("train")
    parts, sentences = keep_parts(rows, before, seed=0, group="group")
    assert parts.part[:3].tolist() == ["train", "test", "test"]
    assert sentences[0].startswith("1 photograph of the set's Test was known to RUN")
    filed, sentences = keep_parts(rows, before, seed=0, group=None)
    assert filed.part[:3].tolist() == ["test"] * 3
    assert sentences == []


def test_a_copy_made_since_goes_where_its_source_stood() -> None:
    before = _before(*({"n": i, "part": PARTS[i % 4]} for i in range(8)))
    rows = _rows(*_many(0, 60))
    rows["pair"] = [f"photograph {i if i < 40 else i - 40}" for i in range(60)]  # the last twenty are copies
    parts, _ = keep_parts(rows, before, seed=1, group="pair")
    assert parts.part[:8].tolist() == [PARTS[i % 4] for i in range(8)]
    assert parts.part[40:].tolist() == parts.part[:20].tolist()
    assert len(set(parts.part[8:40])) > 1


def test_parts_of_somebody_else_that_would_leak_are_refused() -> None:
    before = _before({"n": 1, "part": "train", "lesion_id": "L"}, {"n": 2, "part": "test"})
    rows = _rows({"n": 3, "lesion_id": "L"}, {"n": 2})
    refuse_known(rows, pd.Series(["train", "test"], dtype="string"), before)
    with pytest.raises(DataError, match=r"1 photograph, such as ISIC_0000003, would judge in test what RUN"):
        refuse_known(rows, pd.Series(["test", "test"], dtype="string"), before)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, melascope.training.run.Run]:  # type: ignore[name-defined]
    from melascope.images.synthetic_set import write_dataset

    folder = tmp_path_factory.mktemp("first")
    drawn = write_dataset(folder / "photographs", photographs=160, seed=3, size=32)
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE)
    run = melascope.train(drawn, folder / "run", authority=[drawn / "metadata.csv"], recipe=recipe, seed=5, limit=120)
    return drawn, run


@pytest.mark.train
def test_a_run_goes_on_from_another_with_more_photographs(first, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    drawn, before = first
    options = {"authority": [drawn / "metadata.csv"], "seed": 6, "epochs": 2}
    run = melascope.run(drawn, tmp_path / "more", from_run=before.path, **options)
    assert run.folder.settings["from"] == str(before.path.resolve())
    assert "widths = [8, 16]" in run.folder.settings["recipe"]  # that of the run before
    told = continued.record(run.folder)
    assert told is not None
    assert (told["anew"], told["backbone"]) == ([], None)
    assert told["photographs"] == int((before.table["part"] != "test").sum())
    # The parts of the first run were kept, by photograph and by group.
    old, new = before.table.set_index("sha256")["part"], run.table.set_index("sha256")["part"]
    both = old.index.intersection(new.index)
    assert len(both) > 60
    stood = old[both].eq(new[both])
    assert stood[old[both] == "train"].all()
    groups = set(run.table.loc[run.table["part"] != "train", "group"])
    trained = run.table["sha256"].isin(old.index[old == "train"])
    assert not groups & set(run.table.loc[trained, "group"])
    # The bundle knows the photographs of both runs, and the page, the card and the summary tell of it.
    bundle = melascope.load_bundle(run.bundle)
    assert bundle.trained_on is not None
    assert bundle.trained_on.contains(old.index[old != "test"].tolist()).all()
    assert "went on from the weights of run" in (bundle.card or "")
    assert "went on from the weights of run" in run.report.read_text(encoding="utf-8")
    assert "went on from the weights of run" in run.summary()
    assert f"--from {before.path.resolve()}" in run.report.read_text(encoding="utf-8")
    # And a third one goes on from the second: what the first knew stays known.
    third = melascope.train(drawn, tmp_path / "third", from_run=run.path, limit=60, **options)
    assert any("was opened before" in warning for warning in third.warnings)
    known = pd.read_parquet(third.path / continued.KNOWN)
    assert set(old.index) <= set(known["sha256"])
    assert continued.words(continued.record(third.folder)).count("went on from") == 2
    assert "was opened before" in third.summary()
    # The one in between was trained only, and its own test part stayed closed: that of the second still counts.
    with pytest.raises(RunError, match="started with other settings"):
        melascope.train(drawn, tmp_path / "third", resume=True, limit=60, recipe="plain-cnn", **options)
    # Gone on with, a run has its own recipe and that which it went on from, without being told again.
    again = melascope.train(drawn, tmp_path / "third", resume=True, limit=60, **options)
    assert again.folder.settings["from"] == str(run.path.resolve())
    fourth = melascope.train(drawn, tmp_path / "fourth", from_run=third.path, limit=60, **options)
    opened = [warning for warning in fourth.warnings if "was opened before" in warning]
    assert [warning.split(",")[0] for warning in opened] == ["The test part of more"]
    assert continued.words(continued.record(fourth.folder)).count("was opened before") == 1


@pytest.mark.train
def test_the_first_weights_are_those_of_the_run_before(first, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    drawn, before = first
    still = tmp_path / "still.toml"
    text = RECIPE.replace("warmup_epochs = 0", 'warmup_epochs = 0\nkind = "constant"')
    still.write_text(text + "\n[optimiser]\nlearning_rate = 1e-9\nema = 0.0\nweight_decay = 0.0\n")
    options = {"authority": [drawn / "metadata.csv"], "limit": 120, "seed": 5}
    run = melascope.train(drawn, tmp_path / "still", from_run=before.path, recipe=still, **options)
    ours, theirs = (checkpoint.read(r.path / "weights.npz") for r in (run, before))
    for name in ours:
        if "moving" not in name:
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)
    tables.load(run.path / "table.parquet")


@pytest.mark.train
def test_layers_of_another_shape_start_anew_and_are_named(first, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    drawn, before = first
    options = {"authority": [drawn / "metadata.csv"], "limit": 120, "seed": 5}
    wider = tmp_path / "wider.toml"
    wider.write_text(RECIPE.replace("[8, 16]", "[8, 24]"))
    run = melascope.train(drawn, tmp_path / "wider", from_run=before.path, recipe=wider, **options)
    sentence = run.warnings[-1]
    assert "started anew" in sentence
    assert "stage2_conv1" in sentence
    assert "stage1_conv1" not in sentence
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("[8, 16]", "[12, 24]").replace("stem = 0", "stem = 4\nkernel = 5"))
    with pytest.raises(RunError, match="No layer"):
        melascope.train(drawn, tmp_path / "other", from_run=before.path, recipe=other, **options)
    # Of another backbone what fits would fit by chance; told before the photographs are read.
    built = tmp_path / "built.toml"
    built.write_text('extends = "mobilenetv2-finetuned"\n[data]\nsize = 32\n')
    with pytest.raises(RunError, match=r"built on mobilenetv2-onnx, fits the weights of .* without a backbone"):
        melascope.train(drawn, tmp_path / "built", from_run=before.path, recipe=built, **options)
    assert not (tmp_path / "built").exists()


@pytest.mark.train
def test_what_is_not_trained_is_refused_before_any_work(first, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    drawn, _ = first
    with pytest.raises(RunError, match="holds no run"):
        melascope.run(drawn, tmp_path / "a", from_run=tmp_path / "nothing")
    from melascope.training.run_folder import RunFolder

    RunFolder.start(tmp_path / "begun", {}, resume=False)
    with pytest.raises(RunError, match="not trained yet"):
        melascope.run(drawn, tmp_path / "a", from_run=tmp_path / "begun")
    assert not (tmp_path / "a").exists()


@pytest.mark.train
def test_a_grown_table_with_the_parts_of_before_says_that_they_are_kept_without_the_column(  # type: ignore[no-untyped-def]
    first, tmp_path: Path
) -> None:
    drawn, before = first
    rows = melascope.datasets.read(drawn, authority=[drawn / "metadata.csv"])[["image_id", "path", "diagnosis"]]
    rows = rows.drop_duplicates("image_id").merge(before.table[["image_id", "part"]], on="image_id", how="left")
    assert 0 < rows["part"].isna().sum() < len(rows)
    rows.to_csv(tmp_path / "grown.csv", index=False)
    options = {"from_run": before.path, "unaudited": True, "until": "data"}
    with pytest.raises(DataError, match=r"drop the column so that those of .*run keep the parts that they have there"):
        melascope.run(tmp_path / "grown.csv", tmp_path / "a", **options)
    rows.drop(columns="part").to_csv(tmp_path / "dropped.csv", index=False)
    run = melascope.run(tmp_path / "dropped.csv", tmp_path / "a", **options)
    both = run.table.merge(before.table[["image_id", "part"]], on="image_id", suffixes=("", "_before"))
    assert (both["part"] == both["part_before"]).all()
