"""What every command has in common: exit codes, one sentence for each error, never a traceback."""

from __future__ import annotations

import errno
import json
import warnings

import pytest

from melascope.cli import console
from melascope.cli.main import COMMANDS, _os_error, _run, cli
from melascope.cli.run import spellings
from melascope.errors import DataError, MelascopeWarning


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.delenv("MELASCOPE_DEBUG", raising=False)
    for name in ("THREADS", "CACHE"):
        monkeypatch.delenv(f"MELASCOPE_{name}", raising=False)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    from melascope.images.synthetic_set import write_dataset

    return write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=60, seed=1, size=32)


def test_help_and_version(capsys):
    assert _run(["--version"]) == 0
    assert "0.1.0" in capsys.readouterr().out
    assert _run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ["runn"],
        ["run"],
        ["run", "nowhere", "--out", "RUN", "--epochs", "0"],
        ["predict"],
        ["run", "nowhere", "--out", "RUN", "--spelling", "mole"],
        ["compare", "nowhere", "nowhere"],
        ["compare", "nowhere"],
        ["export", "nowhere"],
        ["evaluate", "nowhere", "--bundle", "nothing.melascope", "--out", "OUT"],
        ["data", "audit", "nowhere", "--out", "OUT"],
        ["data", "show", "nowhere"],
        ["run", "nowhere", "--out", "RUN"],
        ["run", "nowhere", "--out", "RUN", "--recipe", "nothing"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_told_in_a_sentence(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip()
    assert "Traceback" not in said.err
    assert "Unexpected" not in said.err


def test_an_unexpected_fault_is_told_without_a_traceback(monkeypatch, capsys):
    def broken(*_args, **_options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("melascope.environment.describe", broken)
    assert _run(["doctor"]) == 2
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "Traceback" not in said
    monkeypatch.setenv("MELASCOPE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        _run(["doctor"])


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("melascope.environment.describe", interrupted)
    assert _run(["doctor"]) == 130
    assert "Stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "way_on"),
    [
        (["run", "DATA", "--out", "RUN"], " Go on with the same command and --resume."),
        (["train", "DATA", "--out", "RUN", "--resume"], " Repeat the same command to go on."),
        (["cross-validate", "DATA"], " Repeat the same command to go on."),
        (["tune", "DATA"], " Repeat the same command to go on."),
        (["data", "balance", "DATA"], " Repeat the same command to go on."),
        (["data", "audit", "DATA"], ""),
        (["predict", "run"], ""),
        ([], ""),
    ],
)
def test_what_was_stopped_says_how_to_go_on(words, way_on, monkeypatch, capsys):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert _run(words) == 130
    assert capsys.readouterr().err == f"Stopped.{way_on}\n"


def _row(epoch: float, **changes: float) -> dict[str, float]:
    told = {"epoch": epoch, "epochs": 30, "seconds": 6.04, "loss": 1.2134, "accuracy": 0.5512}
    return told | {"tune_balanced_accuracy": 0.48, "tune_melanoma_auc": 0.812} | changes


def test_an_epoch_is_told_in_a_line():
    nan = float("nan")
    assert console.epoch_told(_row(3)) == (
        "epoch 3 of 30: loss 1.213, accuracy 0.551; tune: balanced accuracy 0.480, melanoma AUC 0.812 (6.0 s)"
    )
    untuned = _row(3, tune_balanced_accuracy=nan, tune_melanoma_auc=nan, seconds=61.2)
    assert console.epoch_told(untuned) == "epoch 3 of 30: loss 1.213, accuracy 0.551 (61 s)"
    without_melanoma = console.epoch_told(_row(3, tune_melanoma_auc=nan))
    assert without_melanoma.endswith("; tune: balanced accuracy 0.480 (6.0 s)")


def test_short_epochs_are_told_once_a_second_and_the_last_always(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    told = console.Epochs()
    for epoch in range(1, 31):
        now[0] += 0.125
        told(_row(epoch))
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["1", "9", "17", "25", "30"]
    told = console.Epochs()
    for epoch in range(1, 5):
        now[0] += 6
        told(_row(epoch))
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_full_disk_is_told():
    assert "disk is full" in _os_error(OSError(errno.ENOSPC, "No space left on device", "RUN/weights.npz"))
    assert "RUN/weights.npz" in _os_error(OSError(errno.ENOSPC, "No space left on device", "RUN/weights.npz"))
    assert "disk is full" in _os_error(OSError("786432 requested and 98176 written"))
    assert "Permission denied" in _os_error(PermissionError(errno.EACCES, "Permission denied", "RUN"))


def test_doctor(capsys):
    assert _run(["doctor"]) == 0
    assert "OpenVINO" in capsys.readouterr().out
    assert _run(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["missing_for_training"] == []
    assert facts["packages"]["numpy"]


def test_spellings():
    assert spellings(("mole=nv", "a=b=MEL")) == {"mole": "NV", "a=b": "MEL"}
    with pytest.raises(DataError, match="LABEL=CODE"):
        spellings(("mole",))


def test_data_audit(photographs, tmp_path, capsys):
    words = ["data", "audit", str(photographs), "--authority", str(photographs / "metadata.csv")]
    assert _run([*words, "--out", str(tmp_path / "audit")]) == 1  # two planted files cannot be read
    assert "usable with exclusions" in capsys.readouterr().out
    for name in ("audit.json", "problems.csv", "excluded.csv", "clean.csv", "clean.parquet", "report.html"):
        assert (tmp_path / "audit" / name).stat().st_size > 0
    assert _run([*words, "--out", str(tmp_path / "audit"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["kinds"]["unreadable"]["images"] == 2


def test_data_show(photographs, tmp_path, capsys):
    assert _run(["data", "show", str(photographs), "--out", str(tmp_path / "page.html")]) == 1
    assert "ratio" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert _run(["data", "show", str(photographs), "--json"]) == 1
    counts = json.loads(capsys.readouterr().out)
    assert sum(row["all"] for row in counts["rows"]) == 63
    assert sum(row["share"] for row in counts["rows"]) == pytest.approx(1)


def test_data_split(photographs, tmp_path, capsys):
    import pandas as pd

    for more, column in (([], "part"), (["--folds", "3"], "fold"), (["--protocol", "as-filed"], "part")):
        out = tmp_path / "parts.csv"
        assert _run(["data", "split", str(photographs), "--out", str(out), *more]) == 1
        table = pd.read_csv(out)
        assert table[column].notna().all()
    assert "nevus" in capsys.readouterr().out


def test_data_pack(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MELASCOPE_CACHE", str(tmp_path / "cache"))
    assert _run(["data", "pack", str(photographs), "--size", "24"]) == 1
    assert "24 x 24" in capsys.readouterr().out


def test_progress_on_a_pipe_is_a_line_per_stage(capsys):
    with console.progress() as progress:
        for done in range(4):
            progress("packing", done, 3)
        progress("training", 0, 2)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "packing (3) ..."
    assert said[1].startswith("packing: done")
    assert said[2] == "training (2) ..."
    assert len(said) == 3


def test_what_a_user_should_know_is_a_note_and_other_warnings_stay_as_they_are(monkeypatch, capsys):
    def told(*args, **kwargs):
        warnings.warn("Ten times slower.", MelascopeWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="of another"):
            warnings.warn("of another", stacklevel=1)
        return 0

    monkeypatch.setattr(cli, "main", told)
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always", MelascopeWarning)
        assert _run([]) == 0
        assert capsys.readouterr().err == "Note: Ten times slower.\n"
    assert warnings.showwarning is before
