from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope import environment
from melascope.errors import DataError, MelascopeWarning, RunError
from melascope.training import backend, networks
from melascope.training import recipe as recipes
from melascope.training.fit import HISTORY, fingerprint, fit, predict_logits

pytestmark = pytest.mark.train
HERE = Path(__file__).parent


def weights(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "weights.npz") as file:
        return {name: file[name] for name in file.files}


def same(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def scores_of(history: pd.DataFrame) -> pd.DataFrame:
    return history.drop(columns="seconds")


class StoppedError(Exception):
    """Stands for anything that ends a training from outside."""


def stop_after(epoch: int, error: type[BaseException] = StoppedError) -> Any:
    def told(row: dict[str, float]) -> None:
        if row["epoch"] == epoch:
            raise error

    return told


def test_it_learns_and_keeps_its_record(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    rows: list[dict[str, float]] = []
    recipe = tiny.replace(schedule={"epochs": 6})
    history = fit(recipe, *photos.arguments, tmp_path, progress=lambda *step: told.append(step), on_epoch=rows.append)
    assert tuple(history.columns) == HISTORY
    assert list(history.epoch) == [1, 2, 3, 4, 5, 6]
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    assert history.tune_balanced_accuracy.iloc[-1] > 0.6
    assert history.tune_melanoma_auc.iloc[-1] > 0.7
    assert (history.seconds > 0).all()
    assert told == [("train", step, 24) for step in range(1, 25)]
    pd.testing.assert_frame_equal(pd.DataFrame(rows), history, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "history.csv"), history, check_dtype=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.json", "history.csv", "weights.npz"]


def test_the_weights_give_what_the_history_says(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    history = fit(tiny, *photos.arguments, tmp_path)
    model = networks.build(tiny, 3)
    networks.load_weights(model, tmp_path / "weights.npz")
    logits = predict_logits(model, photos.images, photos.tune, batch_size=7)
    truth = photos.labels[photos.tune]
    assert (logits.argmax(1) == truth).mean() == pytest.approx(history.tune_accuracy.iloc[-1], abs=1e-6)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert -log_p[np.arange(len(truth)), truth].mean() == pytest.approx(history.tune_loss.iloc[-1], rel=1e-4)
    odds = logits[:, 0] - np.log(np.exp(logits[:, 1:]).sum(1))
    pairs = odds[truth == 0][:, None] - odds[truth != 0]
    auc = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert auc == pytest.approx(history.tune_melanoma_auc.iloc[-1], abs=0.01)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_clip_norm_shortens_a_long_gradient_as_a_whole(clip: float, tiny: recipes.Recipe) -> None:
    backend.load()
    import keras

    from melascope.training.schedule import optimiser

    plain = {"name": "sgd", "momentum": 0.0, "learning_rate": 1.0, "clip_norm": clip}
    recipe = tiny.replace(optimiser=plain, schedule={"kind": "constant", "warmup_epochs": 0})

    def moved(*gradients: list[float]) -> np.ndarray:
        variables = [keras.Variable(np.zeros(2, np.float32)) for _ in gradients]
        chosen = optimiser(recipe, steps=4)
        chosen.apply([keras.ops.convert_to_tensor(one, "float32") for one in gradients], variables)
        return -np.stack([keras.ops.convert_to_numpy(one) for one in variables])

    long = [[3.0, 0.0], [0.0, 4.0]]  # of norm 5 in all
    np.testing.assert_allclose(moved(*long), np.array(long) / (5 if clip else 1), rtol=1e-5)
    short = [[0.3, 0.0], [0.0, 0.4]]
    np.testing.assert_allclose(moved(*short), short, rtol=1e-5)


@pytest.mark.parametrize("steps", [2, 40, 462])
def test_a_short_training_keeps_what_it_learnt_and_not_where_it_began(steps: int, tiny: recipes.Recipe) -> None:
    backend.load()
    import keras

    from melascope.training.schedule import Phase, optimiser

    plain = {"name": "sgd", "momentum": 0.0, "learning_rate": 1.0, "ema": 0.998}
    recipe = tiny.replace(optimiser=plain, schedule={"kind": "constant", "warmup_epochs": 0})
    weight = keras.Variable(np.zeros(1, np.float32))
    chosen = optimiser(recipe, steps, Phase(first=5, end=6, rate=1.0))
    # The average begins at 0, and then come `steps` steps with the weight at 1.
    for gradient in (0.0, -1.0, *[0.0] * (steps - 1)):
        chosen.apply([keras.ops.convert_to_tensor([gradient], "float32")], [weight])
    assert float(weight[0]) == 1.0
    chosen.finalize_variable_values([weight])
    assert float(weight[0]) == pytest.approx(0.9, abs=1e-3)


def test_a_long_training_averages_as_the_recipe_says(tiny: recipes.Recipe) -> None:
    backend.load()
    from melascope.training.schedule import Phase, optimiser

    recipe = tiny.replace(optimiser={"name": "adamw", "learning_rate": 1e-3, "ema": 0.998})
    assert optimiser(recipe, 276, Phase(first=1, end=12, rate=1.0)).ema_momentum == 0.998
    assert not optimiser(tiny.replace(optimiser={"name": "adam", "learning_rate": 1e-3}), 4).use_ema


def test_a_repeat_is_identical_and_another_seed_is_not(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    first = fit(tiny, *photos.arguments, tmp_path / "a", seed=3)
    second = fit(tiny, *photos.arguments, tmp_path / "b", seed=3)
    pd.testing.assert_frame_equal(scores_of(first), scores_of(second))
    assert same(tmp_path / "a", tmp_path / "b")
    fit(tiny, *photos.arguments, tmp_path / "c", seed=4)
    assert not same(tmp_path / "a", tmp_path / "c")


RESUMED: dict[str, dict[str, Any]] = {
    "cosine-ema": {
        "optimiser": {"name": "adamw", "weight_decay": 0.01, "ema": 0.9, "clip_norm": 1.0},
        "schedule": {"kind": "cosine", "warmup_epochs": 1},
    },
    "plateau-best": {
        "optimiser": {"name": "sgd", "momentum": 0.9},
        "schedule": {"kind": "plateau", "plateau_patience": 1, "keep": "best", "early_stopping_patience": 3},
    },
    "weights-bf16": {
        "network": {"l2": 1e-3},
        "balance": {"sampling": "none", "class_weights": "balanced"},
        "optimiser": {"label_smoothing": 0.1},
        "schedule": {"precision": "bfloat16"},
    },
}


@pytest.mark.parametrize("changes", RESUMED.values(), ids=RESUMED.keys())
def test_resuming_equals_going_through(
    changes: dict[str, Any], tiny: recipes.Recipe, photos: Any, tmp_path: Path
) -> None:
    recipe = tiny.replace(**changes)
    whole = fit(recipe, *photos.arguments, tmp_path / "whole", seed=1)
    with pytest.raises(StoppedError):
        fit(recipe, *photos.arguments, tmp_path / "parts", seed=1, on_epoch=stop_after(1))
    with pytest.raises(StoppedError):
        fit(recipe, *photos.arguments, tmp_path / "parts", seed=1, resume=True, on_epoch=stop_after(3))
    told: list[tuple[str, int, int]] = []
    parts = fit(recipe, *photos.arguments, tmp_path / "parts", seed=1, resume=True, progress=lambda *s: told.append(s))
    pd.testing.assert_frame_equal(scores_of(whole), scores_of(parts))
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert told[0][1] == 3 * 4 + 1


def test_a_damaged_last_checkpoint_costs_one_epoch(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    whole = fit(tiny, *photos.arguments, tmp_path / "whole")
    with pytest.raises(StoppedError):
        fit(tiny, *photos.arguments, tmp_path / "parts", on_epoch=stop_after(3))
    last = tmp_path / "parts" / "checkpoints" / "epoch-00003.npz"
    last.write_bytes(last.read_bytes()[:-100])
    parts = fit(tiny, *photos.arguments, tmp_path / "parts", resume=True)
    pd.testing.assert_frame_equal(scores_of(whole), scores_of(parts))
    assert same(tmp_path / "whole", tmp_path / "parts")


def run_elsewhere(out: Path, die_after: int) -> int:
    """Train in a process of its own, which kills itself by signal 9 after an epoch (0: never)."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(HERE)!r})
from melascope.training import backend
backend.configure(threads=2)
from conftest import TINY, photographs
from melascope.training import recipe as recipes
from melascope.training.fit import fit
def told(row):
    if row["epoch"] == {die_after}:
        os.kill(os.getpid(), signal.SIGKILL)
fit(recipes.parse(TINY), *photographs().arguments, {str(out)!r}, seed=5, resume=True, threads=2, on_epoch=told)
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode


def test_kill_9_and_resume_equals_going_through(tmp_path: Path) -> None:
    assert run_elsewhere(tmp_path / "whole", 0) == 0
    assert run_elsewhere(tmp_path / "parts", 2) == -signal.SIGKILL
    assert not (tmp_path / "parts" / "weights.npz").exists()
    assert run_elsewhere(tmp_path / "parts", 0) == 0
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_ctrl_c_passes_through_and_leaves_the_last_epoch(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 2 * 4 + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny, *photos.arguments, tmp_path / "parts", progress=interrupt)
    assert len(pd.read_csv(tmp_path / "parts" / "history.csv")) == 2
    fit(tiny, *photos.arguments, tmp_path / "parts", resume=True)
    fit(tiny, *photos.arguments, tmp_path / "whole")
    assert same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.skipif(os.name != "posix", reason="limits of file size are POSIX")
def test_a_disk_that_fills_up_stops_with_a_sentence_and_can_be_resumed(
    tiny: recipes.Recipe, photos: Any, tmp_path: Path
) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(row: dict[str, float]) -> None:
        if row["epoch"] == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))

    try:
        with pytest.raises(RunError, match="could not be written") as caught:
            fit(tiny, *photos.arguments, tmp_path / "parts", on_epoch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path / "parts" / "checkpoints") in str(caught.value)
    fit(tiny, *photos.arguments, tmp_path / "parts", resume=True)
    fit(tiny, *photos.arguments, tmp_path / "whole")
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_training_is_returned_at_once(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    history = fit(tiny, *photos.arguments, tmp_path)
    before = (tmp_path / "weights.npz").stat().st_mtime_ns
    again = fit(tiny, *photos.arguments, tmp_path, resume=True, progress=lambda *step: pytest.fail("trained again"))
    pd.testing.assert_frame_equal(history, again, check_dtype=False)
    assert (tmp_path / "weights.npz").stat().st_mtime_ns == before


def test_another_training_in_the_folder_is_never_mixed_up(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        fit(tiny, *photos.arguments, tmp_path, on_epoch=stop_after(1))
    with pytest.raises(RunError, match="Resume it"):
        fit(tiny, *photos.arguments, tmp_path)
    with pytest.raises(RunError, match="another recipe, seed or data"):
        fit(tiny, *photos.arguments, tmp_path, seed=1, resume=True)
    fit(tiny, *photos.arguments, tmp_path, resume=True)
    with pytest.raises(RunError, match="finished training"):
        fit(tiny, *photos.arguments, tmp_path)
    with pytest.raises(RunError, match="another recipe, seed or data"):
        fit(tiny.replace(schedule={"epochs": 5}), *photos.arguments, tmp_path, resume=True)


def test_early_stopping_keeps_the_best_epoch(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    recipe = tiny.replace(
        optimiser={"learning_rate": 0.05},
        schedule={"epochs": 40, "early_stopping_patience": 2, "keep": "best", "monitor": "tune_loss"},
    )
    history = fit(recipe, *photos.arguments, tmp_path)
    best = int(history.tune_loss.idxmin())
    assert len(history) == best + 3 < 40
    model = networks.build(recipe, 3)
    networks.load_weights(model, tmp_path / "weights.npz")
    logits = predict_logits(model, photos.images, photos.tune)
    assert (logits.argmax(1) == photos.labels[photos.tune]).mean() == pytest.approx(
        history.tune_accuracy[best], abs=1e-6
    )


def test_the_learning_rate_follows_its_schedule(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    cosine = fit(tiny.replace(schedule={"kind": "cosine", "warmup_epochs": 1}), *photos.arguments, tmp_path / "cosine")
    steps = np.arange(16) + 0.0  # 60 photographs in batches of 16: four steps in each of four epochs
    rates = 0.02 * 0.5 * (1 + np.cos(np.pi * np.clip((steps - 4) / 12, 0, 1))) * np.minimum(1, (steps + 1) / 4)
    np.testing.assert_allclose(cosine.learning_rate, rates.reshape(4, 4).mean(axis=1), atol=1e-6)
    once = fit(tiny.replace(schedule={"kind": "cosine", "epochs": 1}), *photos.arguments, tmp_path / "once")
    assert once.learning_rate[0] > 0.005  # and not zero, where the cosine ends
    plateau = tiny.replace(schedule={"kind": "plateau", "plateau_patience": 1, "plateau_factor": 0.5, "epochs": 8})
    falling = fit(plateau, *photos.arguments, tmp_path / "plateau")
    rates = set(np.round(falling.learning_rate / 0.02, 6))
    assert rates <= {0.5**k for k in range(9)}
    assert len(rates) > 1


def test_a_loss_that_explodes_is_told(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    wild = tiny.replace(
        optimiser={"name": "sgd", "learning_rate": 100.0}, network={"batch_norm": False, "widths": [64, 64, 64]}
    )
    with pytest.raises(RunError, match=r"stopped being a number.*learning_rate"):
        fit(wild.replace(schedule={"epochs": 30}), *photos.arguments, tmp_path)


def test_the_weights_that_a_training_begins_with_decide_it_by_content_not_by_name(photos: Any, tmp_path: Path) -> None:
    def mark(name: str, value: float) -> str:
        np.savez(tmp_path / name, mobilenetv20_features_conv0_weight=np.full(2, value))
        network = {"name": "backbone", "backbone": "mobilenetv2-onnx", "weights": str(tmp_path / name)}
        recipe = recipes.parse({"data": {"size": 32}, "network": network})
        return fingerprint(recipe, *photos.arguments, seed=0)

    first = mark("a.npz", 1.0)
    assert mark("b.npz", 1.0) == first
    assert mark("a.npz", 2.0) != first


def test_tensorboard_events_are_written_when_asked_for(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    fit(tiny.replace(schedule={"epochs": 1}), *photos.arguments, tmp_path, tensorboard=True)
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))


def test_without_a_tune_part_the_last_epoch_is_kept(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    none = np.zeros(0, dtype=np.int64)
    history = fit(tiny, photos.images, photos.labels, photos.train, none, photos.classes, tmp_path / "a")
    assert history.filter(like="tune_").isna().all(axis=None)
    assert (tmp_path / "a" / "weights.npz").exists()
    with pytest.raises(DataError, match="tune part is empty"):
        fit(
            tiny.replace(schedule={"keep": "best"}),
            photos.images,
            photos.labels,
            photos.train,
            none,
            photos.classes,
            tmp_path / "b",
        )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"images": np.zeros((90, 8, 8, 3), np.uint8)}, r"needs \(n, 16, 16, 3\)"),
        ({"images": np.zeros((90, 16, 16, 3), np.float32)}, "uint8"),
        ({"labels": np.zeros(5, int)}, "90 images but 5 labels"),
        ({"labels": np.full(90, 7)}, "3 classes"),
        ({"labels": np.zeros(90, int)}, "one class only"),
        ({"rows_train": np.zeros(0, int)}, "training part is empty"),
        ({"rows_train": np.array([0, 1000])}, "Row 1000"),
        ({"rows_tune": np.arange(90)}, "both the training and the tune part"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    change: dict[str, Any], expected: str, tiny: recipes.Recipe, photos: Any, tmp_path: Path
) -> None:
    names = ("images", "labels", "rows_train", "rows_tune", "classes")
    with pytest.raises(DataError, match=expected):
        fit(tiny, **{**dict(zip(names, photos.arguments, strict=True)), **change}, out=tmp_path)
    assert not any(tmp_path.iterdir())


def test_threads_cannot_be_changed_afterwards(
    tiny: recipes.Recipe, photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras  # noqa: F401

    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    with pytest.raises(RunError, match="already imported with 2 threads, so 7"):
        fit(tiny, *photos.arguments, tmp_path, threads=7)
    with pytest.raises(RunError, match="not possible"):
        fit(tiny, *photos.arguments, tmp_path, threads=0)


def test_a_processor_without_bfloat16_is_told_of_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "bfloat16", lambda: False)
    monkeypatch.setattr(backend, "gpus", list)
    with pytest.warns(MelascopeWarning, match="ten times slower than float32; set precision"):
        backend.warn_of_precision("bfloat16")
    backend.warn_of_precision("float32")
    monkeypatch.setattr(backend, "gpus", lambda: ["gpu:0"])
    backend.warn_of_precision("bfloat16")
    monkeypatch.setattr(backend, "gpus", list)
    for known in (True, None):
        monkeypatch.setattr(environment, "bfloat16", lambda known=known: known)
        backend.warn_of_precision("bfloat16")


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("processor: 0\nflags\t\t: fpu avx512f avx512_bf16 fma\n", True),
        ("flags : fpu avx2 fma\n", False),
        ("Features : fp asimd bf16 i8mm\n", True),
        ("Features : fp asimd\n", False),
        ("a processor of its own kind\n", None),
    ],
)
def test_bfloat16_is_read_from_the_processor_s_own_words(monkeypatch, told: str, known: bool | None) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: told)
    assert environment.bfloat16() is known
