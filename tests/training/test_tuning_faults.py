"""A trial is not blamed for disk, photographs or files of weights: it is handed back, and the tuning ends."""

from __future__ import annotations

import errno
import io
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from melascope.errors import BundleError, DataError, MelascopeError, RecipeError, RunError, WeightsError
from melascope.progress import silent
from melascope.training import search_section

pytest.importorskip("optuna")
from melascope.training import tuning_data, tuning_storage, tuning_study, tuning_worker
from melascope.training.tuning_storage import RETRIES
from melascope.training.tuning_worker import FAULT, Job, work

TINY = """
extends = "plain-cnn"
[data]
size = 16
[search]
"network.dropout" = { low = 0.0, high = 0.5, step = 0.1 }
"""
BACKBONE = """
extends = "mobilenetv2-finetuned"
[network]
weights = "w.npz"
[search]
"network.dropout" = { low = 0.0, high = 0.5, step = 0.1 }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, a file of weights, and two tunings of which nothing is tried."""
    from melascope.images.synthetic_set import write_dataset

    home = tmp_path_factory.mktemp("home")
    write_dataset(home / "photographs", photographs=80, seed=3, size=32)
    weights(home / "w.npz")
    for name, text in (("tiny", TINY), ("backbone", BACKBONE)):
        file = home / f"{name}.toml"
        file.write_text(text)
        space = search_section.load(file)
        asked = {
            "data": str(home / "photographs"), "images": None, "authority": [], "spellings": {}, "limit": None,
            "seed": 0, "audit": None, "unaudited": False, "protocol": "clean", "parts": None, "folds": 2,
            "score": "balanced_accuracy", "recipe": space.base.replace().dumps(), "search": dict(space.spec),
        }  # fmt: skip
        tuning_data.start(home / f"T {name}", asked, silent)
    return home


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELASCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MELASCOPE_THREADS", "1")


@pytest.fixture
def begun(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "T tiny", tmp_path / "T"))


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Cross-validation that takes no time; returns what was tried."""
    tried: list[float] = []

    def quick(recipe: Any, *rest: Any, folds: int, on_fold: Any, **options: Any) -> None:
        tried.append(recipe.network.dropout)
        for _ in range(folds):
            on_fold(dict.fromkeys(("balanced_accuracy", "melanoma_auc", "log_loss", "accuracy"), 0.5))

    monkeypatch.setattr("melascope.training.cross_validation.cross_validate", quick)
    return tried


def weights(path: Path, value: float = 1.0) -> None:
    np.savez(path, mobilenetv20_features_conv0_weight=np.full(2, value))


def job(folder: Path, trials: int = 2) -> Job:
    return Job(str(folder), tuning_storage.storage_url(None, folder), trials)


def stands(folder: Path) -> tuple[int, int, int, int]:
    """Return how many trials ended, failed, run and wait."""
    task = tuning_data.open_task(folder)
    url = tuning_storage.storage_url(None, folder)
    shared = tuning_storage.connect(url, task.name, task.settings["score"], task.settings["seed"])
    census = tuning_study.Census(shared.study)
    shared.close()
    return census.ended, census.failed, census.running, census.waiting


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, then: Any = None) -> None:
    """Have each training fail, after something else befell."""

    def broken(*rest: Any, **options: Any) -> None:
        if then is not None:
            then()
        raise error

    monkeypatch.setattr("melascope.training.cross_validation.cross_validate", broken)


def test_a_full_cache_counts_no_trial(begun: Path, scored: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(total=40_000, used=40_000, free=0)
    with monkeypatch.context() as disk:
        disk.setattr("melascope.datasets.packfile.shutil.disk_usage", lambda _: full)
        for _ in range(2):
            with pytest.raises(RunError, match=r"^Packing needs 17 MB in .*, where 0 MB are free; make space"):
                work(job(begun))
    assert not scored
    assert stands(begun) == (0, 0, 0, 1)
    assert work(job(begun)) is False
    assert stands(begun) == (2, 0, 0, 0)


def test_photographs_too_large_for_the_disk_fail_the_trial_where_the_recipe_as_it_stood_fits(
    home: Path, tmp_path: Path, scored: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sizes.toml"
    file.write_text(TINY + '"data.size" = [16, 512]\n')
    space = search_section.load(file)
    told = tuning_data.open_task(home / "T tiny").settings
    asked = {**told, "recipe": space.base.replace().dumps(), "search": dict(space.spec)}
    tuning_data.start(tmp_path / "T", asked, silent)
    room = SimpleNamespace(total=60_000_000, used=0, free=60_000_000)
    monkeypatch.setattr("melascope.datasets.packfile.shutil.disk_usage", lambda _: room)
    assert work(job(tmp_path / "T", 8)) is False
    ended, failed, running, waiting = stands(tmp_path / "T")
    assert (ended, running, waiting) == (8, 0, 0)
    assert 0 < failed == 8 - len(scored) < 8


def test_a_damaged_trial_says_which_folder_to_delete(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = begun / "trials" / "one" / "seed-0" / "fold-0" / "logits.npz"
    failing(monkeypatch, RunError(f"{file} is damaged or no weights file: not a zip file."))
    with pytest.raises(RunError, match=r"trials.one.*damaged, delete its folder: it begins anew\.$"):
        work(job(begun))
    assert stands(begun) == (0, 0, 0, 1)


def test_photographs_that_are_gone_count_no_trial(begun: Path, home: Path, scored: list[float]) -> None:
    (home / "photographs").rename(home / "moved")
    try:
        with pytest.raises(RunError, match="was readable when it was scanned, and is no longer"):
            work(job(begun))
    finally:
        (home / "moved").rename(home / "photographs")
    assert stands(begun) == (0, 0, 0, 1)
    assert work(job(begun)) is False
    assert stands(begun) == (2, 0, 0, 0)


def test_a_trial_is_handed_back_as_often_as_need_be(
    begun: Path, scored: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        failing(broken, OSError(errno.ENOSPC, "No space left on device"))
        for _ in range(RETRIES + 2):
            with pytest.raises(OSError, match="No space left"):
                work(job(begun))
    assert stands(begun) == (0, 0, 0, 1)
    work(job(begun))
    assert stands(begun) == (2, 0, 0, 0)


@pytest.mark.parametrize(
    "error",
    [
        WeightsError("The ImageNet weights of Xception could not be fetched (no network)."),
        BundleError("Something else is missing."),
        OSError(errno.EACCES, "Permission denied"),
    ],
)
def test_what_is_missing_around_a_trial_is_not_its_fault(
    begun: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(type(error)):
        work(job(begun))
    assert stands(begun) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    "error",
    [
        RunError("The loss stopped being a number in epoch 1. Lower optimiser.learning_rate."),
        RecipeError("The backbone X cannot take photographs of 16x16 pixels."),
        DataError("2 groups are too few for 2 folds: fold 1 is too small to decide by tune_melanoma_auc on."),
        ValueError("Negative dimension size"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_what_the_values_bring_about_is_their_fault(
    begun: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    assert work(job(begun)) is False
    assert stands(begun) == (2, 2, 0, 0)


@pytest.mark.parametrize(
    ("befalls", "told"),
    [
        (lambda file: file.unlink(), r"w\.npz cannot be read \(No such file"),
        (lambda file: weights(file, 2.0), r"w\.npz holds other weights than when"),
        (lambda file: file.write_bytes(b"nothing"), r"w\.npz is damaged"),
        (lambda file: None, None),
    ],
)
def test_weights_that_are_gone_or_others_end_the_tuning_and_those_that_do_not_fit_fail_the_trial(
    home: Path, tmp_path: Path, befalls: Any, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "w.npz"
    begun = Path(shutil.copytree(home / "T backbone", tmp_path / "T"))
    monkeypatch.setattr("melascope.datasets.pack", lambda *_, **__: SimpleNamespace(images=None))
    failing(monkeypatch, RecipeError("network.weights: it is not of the backbone."), lambda: befalls(file))
    if told is None:
        assert work(job(begun)) is False
        assert stands(begun) == (2, 2, 0, 0)
        return
    with pytest.raises(MelascopeError, match=told):
        work(job(begun))
    weights(file)
    assert stands(begun) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "/T/trials"), "/T/trials cannot be used (No space left on device); "),
        (OSError("odd"), "A file cannot be used (odd); "),
        (RunError("The disk is full."), "The disk is full.\n"),
    ],
)
def test_a_worker_that_meets_a_full_disk_ends_the_command_with_a_sentence(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> bool:
        raise error

    monkeypatch.setattr(tuning_worker, "work", broken)
    monkeypatch.setattr(tuning_worker, "_end_with_the_command", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(Job("T", "sqlite:///T/study.db", 2).dumps() + "\n"))
    assert tuning_worker.main() == FAULT
    said = capsys.readouterr().err
    assert said.startswith(told)
    assert said.count("\n") == 1


def test_a_connection_that_breaks_has_the_worker_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> bool:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(tuning_worker, "work", broken)
    monkeypatch.setattr(tuning_worker, "_end_with_the_command", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(Job("T", "postgresql://u@h/d", 2).dumps() + "\n"))
    with pytest.raises(ConnectionResetError):
        tuning_worker.main()


def test_the_command_ends_with_the_sentence(home: Path, begun: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    line = [
        sys.executable, "-m", "melascope.cli", "tune", str(home / "photographs"), "--recipe", str(home / "tiny.toml"),
        "--folds", "2", "--workers", "2", "--out", str(begun),
    ]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    assert "The pack cannot be written to" in done.stderr
    assert "Traceback" not in done.stderr
    ended, failed, running, waiting = stands(begun)
    assert (ended, failed, running) == (0, 0, 0)
    assert 1 <= waiting <= 2
