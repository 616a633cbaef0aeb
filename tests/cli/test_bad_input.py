"""Bad input through the command line: one clear sentence, the right exit code, and nothing half-written used later."""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melascope.cli.main import _run

TINY = """
extends = "small-cnn"
[data]
size = 32
[network]
stem = 0
widths = [8, 16]
convolutions = 1
[schedule]
epochs = 2
warmup_epochs = 0
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    for name in ("DEBUG", "THREADS"):
        monkeypatch.delenv(f"MELASCOPE_{name}", raising=False)
    monkeypatch.setenv("MELASCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)


@pytest.fixture
def refused(capsys):
    """Return what a command says that ends with an exit code, 2 by default."""

    def say(*words: object, code: int = 2) -> str:
        assert _run([str(word) for word in words]) == code
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert "Unexpected" not in said
        return " ".join(said.split())

    return say


def _photograph(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def _folders(root: str, **counts: int) -> Path:
    number = 0
    for name, count in counts.items():
        folder = Path(root, *name.split("__"))
        folder.mkdir(parents=True)
        for _ in range(count):
            number += 1
            (folder / f"photo {number:03d}.JpG").write_bytes(_photograph(number))
    return Path(root)


def _csv(text: str, encoding: str = "utf-8") -> Path:
    Path("labels.csv").write_text(text, encoding=encoding, newline="")
    return Path("labels.csv")


def _labels(count: int, separator: str = ",", ending: str = "\n", more: str = "") -> str:
    names = ("melanoma", "nevus")
    lines = [f"photo {n:03d}{separator}{names[n % 2]}{more}" for n in range(1, count + 1)]
    return ending.join([f"image_id{separator}diagnosis", *lines, ""])


def _huge_png() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def test_files_that_are_no_photographs_are_listed_and_the_rest_goes_on(refused):
    _folders("set", melanoma=4, nevus=4)
    whole = _photograph(99)
    for name, data in {
        "text.jpg": b"hello, this is a note",
        "empty.jpg": b"",
        "cut.jpg": whole[: len(whole) // 2],
        "huge.png": _huge_png(),
    }.items():
        Path("set/nevus", name).write_bytes(data)
    Path("set/nevus/loop").symlink_to("..")
    Path("set/nevus/circle.jpg").symlink_to("circle.jpg")
    refused("data", "audit", "set", "--out", "audit", code=1)
    kinds = json.loads(Path("audit/audit.json").read_text())["kinds"]
    assert kinds["unreadable"]["images"] == 5
    problems = Path("audit/problems.csv").read_text()
    for reason in ("60,000 x 60,000", "0 bytes", "text file", "symbolic links"):
        assert reason in problems
    assert "JPEG" in problems


def test_a_folder_that_may_not_be_read(refused, monkeypatch):
    _folders("set", melanoma=2, nevus=2)
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "nevus":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", guarded)
    assert "nevus may not be read" in refused("data", "audit", "set", "--out", "audit")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("image_id,diagnosis\n", "has a header but no rows"),
        ("image_id,Diagnosis,diagnosis\nphoto 001,nevus,melanoma\n", 'has two columns "diagnosis"'),
        ("image_id,diagnosis,diagnosis\nphoto 001,nevus,melanoma\n", 'has two columns "diagnosis"'),
        (_labels(4, more=",extra"), "more cells than its header has names"),
        (_labels(4) + "a,b,c\n", "Expected 2 fields in line 6, saw 3"),
        (_labels(4, separator="|"), "needs a column image_id"),
        (_labels(4).replace("nevus", "nevs"), 'nearest known name is "nevus"'),
        (_labels(4).replace("nevus", "z" * 3000), "zzz..."),
        (_labels(4).replace("photo", "picture"), "point --images at the folder"),
        ("image_id,diagnosis\nphoto 001,n\u00e6vus\n", "not text in UTF-8"),
    ],
)
def test_tables_that_cannot_be_used(text, said, refused):
    _folders("photos", **{"a": 4})
    table = _csv(text, encoding="latin-1")
    message = refused("data", "audit", table, "--images", "photos", "--out", "audit")
    assert said in message
    assert "labels.csv" in message
    assert len(message) < 600
    assert not Path("audit").exists()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + _labels(4),
        _labels(4, ending="\r\n"),
        _labels(4, separator=";"),
        _labels(4).replace("\n", ",,\n"),
    ],
    ids=["byte-order mark", "CRLF", "semicolons", "trailing commas"],
)
def test_tables_as_spreadsheets_save_them_are_read(text, refused):
    _folders("photos", **{"a": 4})
    refused("data", "audit", _csv(text), "--images", "photos", "--out", "audit", code=0)


def test_a_missing_file_of_a_table_is_listed_and_the_rest_is_used(refused):
    _folders("photos", **{"a": 4})
    table = _csv(_labels(5))
    refused("data", "audit", table, "--images", "photos", "--out", "audit", code=1)
    assert "PHOTO 005" in Path("audit/problems.csv").read_text()


def test_parquet_tables(refused):
    import pandas as pd

    _folders("photos", **{"a": 4})
    ids = [f"photo {n:03d}" for n in range(1, 5)]
    labels = ["nevus", "melanoma"] * 2
    pd.DataFrame({"image_id": ids, "diagnosis": labels}).set_index("image_id").to_parquet("indexed.parquet")
    refused("data", "audit", "indexed.parquet", "--images", "photos", "--out", "audit", code=0)
    pd.DataFrame({"image_id": [b"\xff"] * 4, "diagnosis": labels}).to_parquet("bytes.parquet")
    assert "not text" in refused("data", "audit", "bytes.parquet", "--images", "photos", "--out", "audit")
    pd.DataFrame({"image_id": [], "diagnosis": []}).to_parquet("none.parquet")
    assert "no rows" in refused("data", "audit", "none.parquet", "--images", "photos", "--out", "audit")


def test_photographs_without_a_diagnosis_are_shown_and_not_trained_on(refused, capsys):
    _folders("photos", **{"a": 3})
    table = _csv("path,note\n" + "".join(f"a/photo {n:03d}.JpG,x\n" for n in range(1, 4)))
    assert _run(["data", "show", str(table), "--images", "photos"]) == 0
    assert "none of which has a diagnosis" in capsys.readouterr().out
    assert "no diagnosis: 3" in refused("run", table, "--images", "photos", "--recipe", "tiny.toml", "--out", "RUN")


def test_an_authority_that_is_no_table_of_labels(refused):
    _folders("set", melanoma=2, nevus=2)
    Path("other.csv").write_text("foo,bar\n1,2\n")
    for authority, said in (
        ("nothing.csv", "does not exist"),
        ("set", "is a folder where a table is needed"),
        ("other.csv", "does not name its photographs"),
        ("set/nevus/photo 003.JpG", "not text in UTF-8"),
    ):
        assert said in refused("data", "audit", "set", "--authority", authority, "--out", "audit")


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"melanoma": 6}, "have one diagnosis, melanoma"),
        ({"melanoma": 1, "nevus": 1}, "none is left for the part calibrate"),
        ({"Test__melanoma": 4, "Test__nevus": 4}, "none is left for the part train"),
        ({"Train__melanoma": 12, "Test__nevus": 4}, "left to train on have one diagnosis"),
    ],
)
def test_too_little_to_train_on_is_said_before_the_training(counts, said, refused):
    _folders("set", **counts)
    assert said in refused("run", "set", "--recipe", "tiny.toml", "--out", "RUN")
    assert not Path("cache").exists()


def test_a_command_that_was_refused_is_repeated_with_the_mistake_mended(refused):
    _folders("set", melanoma=6)
    assert "does not exist" in refused("run", "sett", "--recipe", "tiny.toml", "--out", "RUN")
    assert "one diagnosis" in refused("run", "set", "--recipe", "tiny.toml", "--out", "RUN")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[data]\nsise = 32", 'did you mean "size"'),
        ("[schedule]\nepochs = 0", "schedule.epochs = 0 is impossible"),
        ("[optimiser]\nlearning_rate = nan", "finite number"),
        ('[network]\nweights = "nothing.npz"', "nothing.npz, which is not a file"),
        ('[network]\nweights = "junk.npz"', "junk.npz is damaged or no weights file"),
        ('name = ""', "name"),
        ("not toml [", "not valid TOML"),
    ],
)
def test_a_recipe_is_refused_before_any_work(body, said, refused):
    _folders("set", melanoma=2, nevus=2)
    Path("junk.npz").write_bytes(b"junk")
    Path("mine.toml").write_text(f'extends = "small-cnn"\n{body}\n')
    assert said in refused("run", "set", "--recipe", "mine.toml", "--out", "RUN")
    assert not Path("RUN").exists()


@pytest.mark.parametrize("command", ["run", "train", "cross-validate", "learning-curve", "tune"])
def test_weights_of_a_training_in_a_recipe_are_refused_by_every_command_that_trains(command, refused):
    _folders("set", melanoma=2, nevus=2)
    np.savez("weights.npz", **{"stage1_conv1/kernel": np.zeros((3, 3, 3, 4))})
    search = '[search]\n"network.dropout" = [0.0, 0.1]'
    Path("mine.toml").write_text(f'extends = "small-cnn"\n[network]\nweights = "weights.npz"\n{search}\n')
    assert "--from RUN" in refused(command, "set", "--recipe", "mine.toml", "--out", "OUT")
    assert not Path("OUT").exists()


def test_weights_of_a_training_among_the_choices_of_a_search_are_refused(refused):
    _folders("set", melanoma=2, nevus=2)
    np.savez("weights.npz", **{"stage1_conv1/kernel": np.zeros((3, 3, 3, 4))})
    Path("mine.toml").write_text('extends = "small-cnn"\n[search]\n"network.weights" = ["none", "weights.npz"]\n')
    assert "--from RUN" in refused("tune", "set", "--recipe", "mine.toml", "--out", "OUT")
    assert not Path("OUT").exists()


def test_impossible_options(refused):
    _folders("set", melanoma=2, nevus=2)
    for words in (["--limit", 0], ["--epochs", 0], ["--threads", 0], ["--seed", -1], ["--spelling", "mole=XX"]):
        refused("run", "set", "--recipe", "tiny.toml", "--out", "RUN", *words)
    assert not Path("RUN").exists()


def test_outputs_that_cannot_be_written_are_refused_before_the_work(refused, monkeypatch):
    _folders("set", melanoma=2, nevus=2)
    Path("file").write_text("mine")

    def worked(*_args, **_options):
        raise AssertionError("the work began")

    monkeypatch.setattr("melascope.audit.survey.survey", worked)
    for words in (
        ("data", "audit", "set", "--out", "file"),
        ("data", "show", "set", "--out", "nowhere/page.html"),
        ("data", "show", "set", "--out", "set"),
        ("data", "split", "set", "--out", "nowhere/parts.csv"),
        ("data", "split", "set", "--out", "parts.xlsx"),
        ("evaluate", "set", "--out", "file"),
        ("compare", "a", "b", "--out", "nowhere/page.html"),
        ("run", "set", "--recipe", "tiny.toml", "--out", "file"),
        ("run", "set", "--recipe", "tiny.toml", "--out", "file/RUN"),
        ("predict", "set", "--heatmaps", "file"),
    ):
        assert "file" in refused(*words) or "nowhere" in words[-1] or "set" in words
    assert Path("file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is Linux's")
def test_a_folder_that_cannot_be_made_is_refused_before_the_work(refused, monkeypatch):
    _folders("set", melanoma=2, nevus=2)

    def worked(*_args, **_options):
        raise AssertionError("the work began")

    with monkeypatch.context() as moment:
        moment.setattr("melascope.audit.survey.survey", worked)
        for folder in ("/proc/x", "/proc/x/y"):
            said = refused("data", "audit", "set", "--out", folder)
            assert f"--out {folder} cannot be written (no such file or directory); name another folder." in said
    assert "none can be made there" in refused("data", "split", "set", "--out", "/proc/x.csv")


@pytest.mark.skipif(os.name == "nt", reason="Windows names files in Unicode only")
def test_a_file_whose_name_is_not_utf8_is_listed_and_the_rest_is_audited(refused):
    _folders("set", melanoma=4, nevus=4)
    try:
        Path("set", "nevus", os.fsdecode(b"caf\xe9.jpg")).write_bytes(_photograph(99))
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    refused("data", "audit", "set", "--no-suspects", "--out", "audit", code=1)
    told = json.loads(Path("audit/audit.json").read_text())
    assert told["kinds"]["unreadable"]["images"] == 1
    assert told["used"] == 8
    excluded = Path("audit/excluded.csv").read_text(encoding="utf-8")
    assert "caf\ufffd.jpg" in excluded
    assert "not text in UTF-8" in Path("audit/problems.csv").read_text(encoding="utf-8")


def test_one_photograph_is_counted_as_one(refused, capsys):
    _folders("set", melanoma=1)
    assert _run(["data", "show", "set"]) == 0
    assert "1 photograph of 1 diagnosis." in " ".join(capsys.readouterr().out.split())
    assert "The only photograph has one diagnosis, melanoma" in refused(
        "run", "set", "--recipe", "tiny.toml", "--out", "RUN"
    )


def test_parts_that_name_other_photographs(refused):
    _folders("set", melanoma=2, nevus=2)
    Path("parts.csv").write_text("image_id,part\nGONE_1,train\n")
    said = refused("run", "set", "--recipe", "tiny.toml", "--parts", "parts.csv", "--out", "RUN")
    assert "parts.csv names none of the photographs of these data" in said
    assert "Give the file that was made of them" in said


def test_a_full_disk_while_packing_and_going_on_afterwards(refused, monkeypatch):
    _folders("set", melanoma=4, nevus=4)

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as scarce:
        scarce.setattr("os.posix_fallocate", full, raising=False)
        said = refused("data", "pack", "set", "--size", 16)
    assert "is full" in said
    assert "--cache" in said
    refused("data", "pack", "set", "--size", 16, code=0)


def test_ctrl_c_while_packing_and_going_on_afterwards(refused, monkeypatch):
    packing = importlib.import_module("melascope.datasets.pack")  # the room has a function of that name
    prepare = packing._prepare
    _folders("set", melanoma=20, nevus=20)
    prepared = []

    def interrupted(path, key, geometry):
        prepared.append(path)
        if len(prepared) > 20:
            raise KeyboardInterrupt
        return prepare(path, key, geometry)

    with monkeypatch.context() as moment:
        moment.setattr(packing, "_prepare", interrupted)
        assert "Stopped" in refused("data", "pack", "set", "--size", 16, "--threads", 1, code=130)
    assert list(Path("cache").glob("*.partial"))
    refused("data", "pack", "set", "--size", 16, "--threads", 1, code=0)
    assert not list(Path("cache").glob("*.partial"))


def test_a_cache_that_cannot_be_written(refused):
    _folders("set", melanoma=2, nevus=2)
    Path("file").write_text("mine")
    assert "another folder with --cache" in refused("data", "pack", "set", "--size", 16, "--cache", "file")
