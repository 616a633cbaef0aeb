"""Tuning: it goes on after any end, shares its trials, never opens Test, and says how much its winner is worth."""

from __future__ import annotations

import contextlib
import gc
import html
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from tests.training import postgresql

from melascope.cli.run import run
from melascope.errors import DataError, MissingExtraError, RecipeError, RunError
from melascope.training import recipe as recipes
from melascope.training import (
    tuning,
    tuning_baselines,
    tuning_data,
    tuning_results,
    tuning_storage,
    tuning_study,
    tuning_worker,
)
from melascope.training.locks import alone
from melascope.training.tuning import tune
from melascope.training.tuning_ended import Ended
from melascope.training.tuning_worker import Job, work

pytestmark = pytest.mark.train

RECIPE = """
description = "tiny"
[data]
size = 16
batch_size = 16
[network]
widths = [4]
[schedule]
epochs = 1
[search]
"optimiser.learning_rate" = { low = 1e-4, high = 1e-1, log = true }
"network.dropout" = { low = 0.0, high = 0.5, step = 0.1 }
"balance.sampling" = ["none", "sqrt"]
"""
TRIALS = 6
ENDED: list[Ended] = []
"""What was told of the trials of `finished`, as they ended."""


@pytest.fixture(scope="module", autouse=True)
def _quiet_machine(tmp_path_factory):
    before = {name: os.environ.get(name) for name in ("MELASCOPE_CACHE", "MELASCOPE_THREADS")}
    os.environ |= {"MELASCOPE_CACHE": str(tmp_path_factory.mktemp("cache")), "MELASCOPE_THREADS": "1"}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    from melascope.images.synthetic_set import write_dataset

    return write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=110, seed=3, size=32)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(photographs, recipe, tmp_path_factory):
    """Short trials, by one worker in one go."""
    out = tmp_path_factory.mktemp("tunings") / "finished"
    told: list[tuple[str, int, int]] = []
    found = tune(
        photographs, out, recipe, trials=TRIALS, folds=2, progress=lambda *step: told.append(step),
        on_trial=ENDED.append,
    )  # fmt: skip
    return found, told


@pytest.fixture
def begun(finished, tmp_path) -> Path:
    """A tuning whose data are read and of which nothing is tried."""
    folder = tmp_path / "begun"
    folder.mkdir()
    for name in ("tuning.json", "table.parquet"):
        shutil.copy(finished[0].path / name, folder / name)
    return folder


@pytest.fixture
def scored(monkeypatch) -> list[float]:
    """Cross-validation that takes no time: the score falls with the learning rate. Returns the rates tried."""
    tried: list[float] = []

    def quick(recipe, images, labels, groups, classes, folds, seeds, out, threads, on_fold):
        rate = recipe.optimiser.learning_rate
        tried.append(rate)
        for fold in range(folds):
            value = 1 / (1 + 10 * rate) + 0.01 * fold
            on_fold({"balanced_accuracy": value, "melanoma_auc": value, "log_loss": rate, "accuracy": value})

    monkeypatch.setattr("melascope.training.cross_validation.cross_validate", quick)
    return tried


def job(folder: Path, trials: int = TRIALS, **options: Any) -> Job:
    return Job(str(folder), tuning_storage.storage_url(None, folder), trials, **options)


def shared(folder: Path, heartbeat: int = 30) -> tuning_storage.Shared:
    task = tuning_data.open_task(folder)
    url = tuning_storage.storage_url(None, folder)
    return tuning_storage.connect(url, task.name, task.settings["score"], task.settings["seed"], heartbeat)


def census(folder: Path) -> tuning_study.Census:
    return tuning_study.Census(shared(folder).study)


def tried(frame: pd.DataFrame) -> pd.DataFrame:
    """What was tried and how it scored, without when, and without what was stopped."""
    kept = frame[frame["state"] != "stopped"].drop(columns=["number", "seconds", "tried_again_as"])
    return kept.reset_index(drop=True)


def words(photographs: Path, recipe: Path, out: Path, *more: str) -> list[str]:
    start = "from melascope.cli import main; main.COMMANDS.setdefault('tune', 'tune'); main.main()"
    return [sys.executable, "-c", start, "tune", str(photographs), "--recipe", str(recipe), "--out", str(out), *more]


def test_a_tuning_leaves_a_recipe_a_table_and_a_report(finished):
    found, told = finished
    frame = pd.read_csv(found.path / "trials.csv")
    assert frame["number"].tolist() == list(range(TRIALS))
    assert set(frame["state"]) <= {"complete", "pruned"}
    assert found.counts["complete"] + found.counts["pruned"] == TRIALS
    complete = frame[frame["state"] == "complete"]
    assert found.value == pytest.approx(complete["balanced_accuracy"].max())
    folds = complete[["balanced_accuracy_fold_1", "balanced_accuracy_fold_2"]]
    np.testing.assert_allclose(folds.mean(axis=1), complete["balanced_accuracy"])
    best = recipes.load(found.best)
    assert best.optimiser.learning_rate == found.values["optimiser.learning_rate"]
    assert best.search == {}
    assert told[-1] == ("tuning (folds)", 2 * TRIALS, 2 * TRIALS)
    assert not list((found.path).glob("logs/*"))


def test_each_trial_is_told_when_it_ends_with_the_best_so_far(finished):
    frame = finished[0].trials
    assert [one.number for one in ENDED] == list(range(TRIALS))
    assert [one.state for one in ENDED] == frame["state"].tolist()
    assert ENDED[0].words() == f"trial 0: balanced accuracy {frame['balanced_accuracy'][0]:.3f}, the best so far"
    best = frame.loc[frame["state"] == "complete", "balanced_accuracy"].max()
    assert ENDED[-1].best == pytest.approx(best)
    some = Ended(7, "pruned", "melanoma_auc", 0.41, 1, 3, 0.6, 2)
    assert some.words() == "trial 7: pruned after 1 of 3 folds, melanoma AUC 0.410; best so far 0.600 (trial 2)"
    assert replace(some, state="failed", error="No memory.").words() == "trial 7: failed: No memory."
    assert replace(some, state="complete").words() == "trial 7: melanoma AUC 0.410; best so far 0.600 (trial 2)"
    assert "tried again" in replace(some, state="stopped").words()


def test_fewer_trials_than_there_are_train_nothing_and_say_so(finished, photographs, recipe, tmp_path):
    out = tmp_path / "fewer"
    shutil.copytree(finished[0].path, out)
    told: list[Ended] = []
    found = tune(photographs, out, recipe, trials=3, folds=2, on_trial=told.append)
    assert not told
    assert found.summary().startswith("6 trials are there already, and nothing was trained.")
    assert "Of 6 trials wanted" in found.report.read_text()
    assert "there already" not in finished[0].summary()


def test_the_page_names_recipe_and_data_and_other_epochs_are_told(photographs, recipe, tmp_path, finished):
    page = finished[0].report.read_text()
    assert "Tuning of tiny on photographs" in page
    longer = tmp_path / "longer.toml"
    longer.write_text(RECIPE.replace("epochs = 1", "epochs = 5"))
    found = tune(photographs, tmp_path / "short", longer, trials=1, folds=2, epochs=1)
    told = "Trained for 1 epoch instead of the recipe's 5 (--epochs): a try"
    assert told in found.warnings[0]
    assert told in html.unescape(found.report.read_text())
    assert told in found.best.read_text()
    assert recipes.load(found.best).schedule.epochs == 1
    with pytest.raises(RunError, match="other settings"):
        tune(photographs, tmp_path / "short", longer, trials=1, folds=2, epochs=2)
    searched = tmp_path / "searched.toml"
    searched.write_text(RECIPE + '"schedule.epochs" = [1, 2]\n')
    with pytest.raises(RecipeError, match="leave one of them out"):
        tune(photographs, tmp_path / "other", searched, epochs=1)


def test_the_command_that_judges_reads_the_same_photographs_in_the_same_parts(finished, begun):
    found = finished[0]
    task = tuning_data.open_task(begun)
    best = str(begun / "best.toml")
    data = task.settings["data"]
    usual = ["melascope", "run", data, "--protocol", "clean", "--seed", "0", "--recipe", best, "--out", "RUN"]
    assert shlex.split(tuning_results._command(task)) == usual
    assert found.command == tuning_results._command(task).replace(str(begun), str(found.path))
    asked = {
        "images": "/photographs here", "authority": ["/a.csv", "/b.csv"], "spellings": {"odd mole": "NV"},
        "limit": 70, "audit": "/AUDIT", "parts": "isic9-clean", "unaudited": True, "protocol": "as-filed", "seed": 4,
    }  # fmt: skip
    task = replace(task, settings={**task.settings, **asked})
    told = shlex.split(tuning_results._command(task))
    assert told == [
        "melascope", "run", data, "--authority", "/a.csv", "--authority", "/b.csv", "--spelling", "odd mole=NV",
        "--images", "/photographs here", "--limit", "70", "--audit", "/AUDIT", "--parts", "isic9-clean", "--unaudited",
        "--protocol", "as-filed", "--seed", "4", "--recipe", best, "--out", "RUN",
    ]  # fmt: skip
    assert run.make_context("run", told[2:]).params["spelling"] == ("odd mole=NV",)


def test_the_recipe_as_it_stands_is_tried_first(finished):
    first = finished[0].trials.iloc[0]
    assert (first["optimiser.learning_rate"], first["network.dropout"], first["balance.sampling"]) == (1e-3, 0, "none")


def test_the_winner_is_called_optimistic_everywhere(finished):
    found = finished[0]
    for text in (found.summary(), found.best.read_text(), found.report.read_text()):
        assert "6 trials were tried" in text
        assert "optimistic" in text


def test_the_report_shows_every_trial_and_needs_nothing_from_outside(finished):
    page = finished[0].report.read_text()
    for title in ("The best recipe", "How the score came about", "What mattered", "All trials"):
        assert title in page
    assert page.count("<svg") == 3
    assert "mathdefault" not in page
    assert not re.search(r'(src|href)="http', page.replace("http://www.w3.org", ""))


def test_beside_the_winner_stands_what_needs_no_network(finished):
    found = finished[0]
    page = html.unescape(found.report.read_text())
    assert "Beside what needs no network" in page
    assert "protocol: clean-unauthorised" in page  # no official labels were given
    told = json.loads((found.path / "baselines.json").read_text())
    names = {"the largest class always", "colour histogram and logistic regression"}
    assert set(told["baselines"]) == names
    task = tuning_data.open_task(found.path)
    largest = told["baselines"]["the largest class always"]
    assert len(largest["by_fold"]) == task.settings["folds"]
    assert largest["scores"]["balanced_accuracy"]["value"] == pytest.approx(1 / len(task.classes))
    for name in ("the best trial", "the recipe as it stood", *(f"baseline: {name}" for name in names)):
        assert name in page
    assert tuning_baselines.baselines(task) == told["baselines"]
    (found.path / "baselines.json").write_text("{")
    assert tuning_baselines.baselines(task) == told["baselines"]


def test_test_stays_closed_and_is_not_packed(finished, photographs):
    task = tuning_data.open_task(finished[0].path)
    assert len(task.table) > 50
    assert task.facts["test_left_out"] > 0
    # This drawn set is too small for a part of its own to choose by.
    assert task.facts["calibrate_left_out"] == 0
    assert any("too small for a part" in warning for warning in task.facts["warnings"])
    assert not task.table["path"].str.contains("/Test/").any()
    packs = [json.loads(path.read_text()) for path in Path(os.environ["MELASCOPE_CACHE"]).glob("*/*.json")]
    assert packs
    assert all(len(task.table) >= sum(pack.get("shape", [0])[:1]) for pack in packs)


def test_what_calibrates_does_not_choose(finished, tmp_path, monkeypatch):
    """In a set large enough for four parts, of which this one is given the look."""
    whole = tuning_data.split

    def four_parts(rows, **options):
        result = whole(rows, **options)
        second = rows["group"].astype(str).str.len().add(rows["group"].astype(str).str[-1].map(ord)) % 2 == 1
        return replace(result, part=result.part.mask((result.part == "train") & second, "tune"), cross_fitted=False)

    monkeypatch.setattr(tuning_data, "split", four_parts)
    before = tuning_data.open_task(finished[0].path)
    task = tuning_data.start(tmp_path / "T", before.settings, lambda *_: None)
    assert task.facts["calibrate_left_out"] == len(before.table) - len(task.table) > 0
    assert task.facts["test_left_out"] == before.facts["test_left_out"]
    assert not any("too small for a part" in warning for warning in task.facts["warnings"])


def test_no_group_is_torn_and_the_folds_are_those_of_cross_validation(finished):
    task = tuning_data.open_task(finished[0].path)
    assert len(set(task.groups)) == task.facts["groups"]
    assert set(task.labels) <= set(range(len(task.classes)))


def test_asked_again_it_trains_nothing_and_more_trials_go_on(finished, photographs, recipe, tmp_path, scored):
    out = tmp_path / "again"
    shutil.copytree(finished[0].path, out)
    work(job(out, TRIALS))
    assert not scored
    work(job(out, TRIALS + 2))
    assert len(scored) == 2
    assert census(out).ended == TRIALS + 2


def test_a_tuning_killed_at_any_moment_ends_as_if_it_had_not_been(finished, begun, photographs, recipe):
    out = begun
    line = words(photographs, recipe, out, "--trials", "3", "--folds", "2")
    first = subprocess.Popen(line, stderr=subprocess.DEVNULL, text=True)
    try:
        _until(lambda: len(list(out.glob("trials/*/seed-0/fold-0/logits.npz"))) >= 1)
        worker = _worker(first)
        worker.kill()  # the worker alone: the command starts another
        _until(lambda: len(list(out.glob("trials/*/seed-0/fold-0/logits.npz"))) >= 3)
        worker = _worker(first)
        worker.kill()
        first.kill()  # both at once, as when the power fails
        first.wait()
        worker.wait(10)
    finally:
        first.kill()
    assert census(out).ended < 3
    second = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    # The drawn set has a file that cannot be read: 1 says that, and that all else is done.
    assert second.returncode == 1, second.stderr
    assert "could not be read" in second.stderr
    assert "Traceback" not in second.stderr
    frame = pd.read_csv(out / "trials.csv")
    assert frame["number"].tolist() == list(range(len(frame)))
    stopped = frame[frame["state"] == "stopped"]
    assert len(stopped) >= 1
    assert stopped["tried_again_as"].notna().all()
    assert len(tried(frame)) == 3
    reference = pd.read_csv(finished[0].path / "trials.csv").head(3)
    pd.testing.assert_frame_equal(tried(frame), tried(reference)[tried(frame).columns])


def test_two_commands_share_the_trials_and_ctrl_c_hands_one_back(finished, begun, photographs, recipe):
    line = words(photographs, recipe, begun, "--trials", str(TRIALS), "--folds", "2")
    # Whoever draws the first trial cannot end it before it is interrupted: the folder that it trains in is taken.
    first = census(finished[0].path).trials[0]
    task = tuning_data.open_task(begun)
    folder = begun / "trials" / tuning_worker.trial_name(task, task.space.recipe(task.space.suggest(first)).dumps())
    folder.mkdir(parents=True)
    with alone(folder / ".lock"):
        both = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        _until(lambda: any("folds" in trial.user_attrs for trial in census(begun).trials[1:]))
        held = census(begun).trials[0]
        assert held.state.name == "RUNNING"
        owner = psutil.Process(held.user_attrs["worker"]["pid"]).ppid()
        both.sort(key=lambda command: command.pid != owner)
        assert both[0].pid == owner
        both[0].send_signal(signal.SIGINT)
        told = both[0].communicate(timeout=60)[1]
    assert both[0].returncode == 130, told
    assert "Traceback" not in told
    # What the finished tuning has trained is not trained again here, as the folders are named after the recipes.
    shutil.copytree(finished[0].path / "trials", begun / "trials", dirs_exist_ok=True)
    told = both[1].communicate(timeout=200)[1]
    assert both[1].returncode == 1, told
    state = census(begun)
    assert (state.ended, state.running, state.waiting, state.stopped) == (TRIALS, 0, 0, 1)
    assert [trial.number for trial in state.trials] == list(range(TRIALS + 1))
    assert len({trial.user_attrs["worker"]["pid"] for trial in state.trials}) == 2


def test_twelve_trials_survive_two_kills_of_everything_and_a_second_command(begun, photographs, recipe):
    wanted = 12
    line = words(photographs, recipe, begun, "--trials", str(wanted), "--folds", "2", "--workers", "2")
    for moment in (
        lambda now: now.running == 2,
        lambda now: now.ended >= 4 and now.running == 2,
    ):
        command = subprocess.Popen(line, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            _until(lambda moment=moment: (begun / "study.db").exists() and moment(census(begun)), 600)
        finally:
            _kill_all(command)
    before = census(begun)
    assert 4 <= before.ended < wanted
    assert before.running > 0  # as it was when it died
    both = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True) for _ in range(2)]
    try:
        for command in both:
            told = command.communicate(timeout=600)[1]
            assert command.returncode == 1, told  # a file that cannot be read, and all else done
    finally:
        for command in both:
            _kill_all(command)
    now = census(begun)
    assert (now.ended, now.failed, now.running, now.waiting) == (wanted, 0, 0, 0)
    assert now.complete + now.pruned == wanted
    assert [trial.number for trial in now.trials] == list(range(wanted + now.stopped))
    # What was stopped was tried again once, with the values that it had.
    stopped = [trial for trial in now.trials if tuning_study.state(trial) == "stopped"]
    again = {t.system_attrs["retry_history"][-1]: t for t in now.trials if t.system_attrs.get("retry_history")}
    assert len(stopped) == len(again) >= 2
    assert set(again) == {trial.number for trial in stopped}
    assert all(trial.params.items() <= again[trial.number].params.items() for trial in stopped)
    # What had ended before the last kill ended as it was, and was not touched again.
    ended = {t.number: (t.state, t.value) for t in before.trials if t.state.is_finished()}
    assert ended.items() <= {t.number: (t.state, t.value) for t in now.trials}.items()
    frame = pd.read_csv(begun / "trials.csv")
    assert frame["state"].isin(["complete", "pruned"]).sum() == wanted
    assert f"{wanted} trials were tried" in (begun / "report.html").read_text()
    assert len({trial.user_attrs["worker"]["pid"] for trial in now.trials if "worker" in trial.user_attrs}) >= 4


@pytest.mark.skipif(postgresql.programs() is None, reason="needs the package postgresql")
def test_workers_share_a_tuning_in_postgresql_and_one_is_killed(begun, photographs, recipe, tmp_path, scored):
    with postgresql.server() as given:
        wrong = given.replace("skin", "bone")
        with pytest.raises(RunError, match=r"cannot be used: .*password") as refused:
            tune(photographs, tmp_path / "out", recipe, storage=wrong)
        assert "bone" not in str(refused.value)
        assert "skin" not in tuning_storage.shown(given)
        url = tuning_storage.storage_url(given, begun)
        task = tuning_data.open_task(begun)
        ours = tuning_storage.connect(url, task.name, "balanced_accuracy", 0)
        dead = subprocess.Popen([sys.executable, "-c", "pass"])
        killed = tuning_study.claim(ours, 20, begun)
        assert killed is not None
        killed.set_user_attr("worker", tuning_study._myself() | {"pid": dead.pid})
        dead.wait()
        threads = [threading.Thread(target=work, args=(Job(str(begun), url, 20),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state = tuning_study.Census(ours.study)
        found = tuning_results.write(task, ours, 20)
        ours.close()
        gc.collect()
    assert (state.ended, state.stopped) == (20, 1)
    assert [trial.number for trial in state.trials] == list(range(21))
    assert found.counts["complete"] + found.counts["pruned"] == 20
    assert not (begun / "study.db").exists()


def test_a_trial_whose_machine_fell_silent_is_tried_again(begun, scored, monkeypatch):
    monkeypatch.setattr(tuning_storage, "GRACE", 1)
    monkeypatch.setattr(tuning_study, "GRACE", 1)
    ours = shared(begun, heartbeat=1)
    elsewhere = tuning_study.claim(ours, 3, begun)
    assert elsewhere is not None
    elsewhere.set_user_attr("worker", {"machine": "another", "pid": 1, "since": 0.0})
    drawn = elsewhere.suggest_float("optimiser.learning_rate", 1e-4, 1e-1, log=True)
    tuning_study.bury(ours)
    assert tuning_study.Census(ours.study).running == 1
    time.sleep(2.5)
    work(job(begun, 3, heartbeat=1))
    state = census(begun)
    assert (state.ended, state.stopped, len(state.trials)) == (3, 1, 4)
    assert float(f"{drawn:.4g}") in scored


def test_a_trial_that_never_got_as_far_as_a_name_is_tried_again(begun, scored, monkeypatch):
    monkeypatch.setattr(tuning_study, "GRACE", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shared(begun).study.ask()
    work(job(begun, 2))
    state = census(begun)
    assert (state.ended, state.stopped, len(state.trials)) == (2, 1, 3)


def test_workers_at_one_moment_get_different_trials_and_not_one_too_many(begun):
    first = shared(begun)
    for rate in (1e-3, 1e-2):
        first.study.enqueue_trial({"optimiser.learning_rate": rate})
    got: list[int] = []

    def take() -> None:
        mine = shared(begun)
        while (trial := tuning_study.claim(mine, 15, begun)) is not None:
            got.append(trial.number)
        mine.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(15))


def test_a_trial_that_fails_is_counted_and_does_not_end_the_tuning(begun, scored, monkeypatch):
    from melascope.training import cross_validation

    quick = cross_validation.cross_validate

    def sometimes(recipe, *rest, **options):
        if recipe.balance.sampling == "sqrt":
            raise RunError("The loss stopped being a number in epoch 1. Lower optimiser.learning_rate.")
        quick(recipe, *rest, **options)

    monkeypatch.setattr(cross_validation, "cross_validate", sometimes)
    work(job(begun, 12))
    state = census(begun)
    assert state.failed > 0
    assert state.complete > 0
    assert state.ended == 12
    found = tuning_results.write(tuning_data.open_task(begun), shared(begun), 12)
    assert "stopped being a number" in found.report.read_text()
    assert "failed" in (begun / "trials.csv").read_text()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), "No space left"),
        (RunError("fit.json could not be written (No space left on device)."), "could not be written"),
        (KeyboardInterrupt(), None),
    ],
)
def test_a_fault_that_is_not_the_trials_hands_it_back(begun, monkeypatch, error, told):
    def broken(*rest, **options):
        raise error

    monkeypatch.setattr("melascope.training.cross_validation.cross_validate", broken)
    with pytest.raises(type(error), match=told):
        work(job(begun))
    tuning_worker._LEAVING.clear()
    state = census(begun)
    assert (state.ended, state.running, state.waiting, state.stopped) == (0, 0, 1, 1)


def test_when_every_trial_fails_the_tuning_says_so(begun, monkeypatch):
    def broken(*rest, **options):
        raise ValueError("Negative dimension size\nand more")

    monkeypatch.setattr("melascope.training.cross_validation.cross_validate", broken)
    with pytest.raises(RunError, match=r"first 5 trials failed.*ValueError: Negative dimension size"):
        work(job(begun))
    with pytest.raises(RunError, match="None of 5 trials is complete"):
        tuning_results.write(tuning_data.open_task(begun), shared(begun), TRIALS)


def test_a_score_that_is_no_number_fails_the_trial(begun, monkeypatch):
    monkeypatch.setattr(tuning_worker, "_score", lambda *rest: float("nan"))
    with pytest.raises(RunError, match=r"first 5 trials failed.*is no number"):
        work(job(begun))
    state = census(begun)
    assert (state.failed, state.stopped) == (5, 0)


def test_trials_whose_workers_are_killed_again_and_again_are_given_up_and_told(begun):
    from melascope.training.tuning_storage import RETRIES
    from melascope.training.tuning_study import claim, retry

    opened = shared(begun)
    for _ in range(5 * (RETRIES + 1)):
        trial = claim(opened, 12, begun)
        if trial is None or census(begun).failed >= 5:
            break
        retry(opened, trial._trial_id)
    assert census(begun).failed >= 5
    with pytest.raises(RunError, match="its worker was killed each time"):
        tuning_worker._refuse_hopeless(opened)


def test_one_death_more_than_a_trial_survives_does_not_end_the_tuning(begun, monkeypatch):
    from melascope.progress import silent
    from melascope.training import tuning
    from melascope.training.tuning_storage import RETRIES

    class Died:
        stdin = None

        def poll(self):
            return -9

    task = tuning_data.open_task(begun)
    workers = tuning._Workers(job(begun), 1, shared(begun), task.settings, silent, None)
    workers.logs.mkdir(exist_ok=True)
    monkeypatch.setattr(workers, "_start", lambda slot: Died())
    workers.slots = [Died()]
    for _ in range(RETRIES + 1):
        workers._look_after(0)
    workers._ended = -1  # as if a trial had ended since: the next that claimed the deadly one gave it up
    workers._tell()
    assert workers.deaths == 0
    for _ in range(RETRIES + 1):
        workers._look_after(0)
    with pytest.raises(RunError, match="ended no trial; the last with exit code -9"):
        workers._look_after(0)


def test_better_values_are_found_and_poor_ones_given_up(begun, scored):
    work(job(begun, 30))
    state = census(begun)
    assert state.pruned > 0
    found = tuning_results.write(tuning_data.open_task(begun), shared(begun), 30)
    assert found.values["optimiser.learning_rate"] < 1e-3
    assert max(scored) > 1e-2


def test_a_lucky_first_fold_does_not_protect_a_poor_trial():
    optuna = tuning_storage.optuna
    for direction, sign in (("maximize", 1), ("minimize", -1)):
        study = optuna.create_study(direction=direction, pruner=tuning_storage._BelowMedian())
        for place, value in enumerate((0.5, 0.52, 0.54, 0.56, 0.58)):
            early = study.ask()
            for fold in (1, 2):
                early.report(sign * (0.1 if place == 4 else value), fold)
                assert not early.should_prune()  # fewer than five are complete
            study.tell(early, sign * value)
        poor, fair = study.ask(), study.ask()
        for trial, second in ((poor, 0.51), (fair, 0.53)):
            trial.report(sign * 0.9, 1)
            assert not trial.should_prune()
            trial.report(sign * second, 2)  # the mean of both folds
            assert trial.should_prune() == (trial is poor)


def test_time_over_begins_no_trial(begun, scored):
    assert work(job(begun, until=time.time() - 1)) is False
    assert not scored


def test_the_time_counts_from_the_first_trial(begun, scored, monkeypatch):
    assert work(job(begun, timeout=0)) is False
    assert len(scored) == 1
    ours = shared(begun)
    settings = tuning_data.open_task(begun).settings
    workers = tuning._Workers(job(begun, timeout=50), 1, ours, settings, lambda *_: None, None)
    workers.slots = [SimpleNamespace(pid=os.getpid() + 1)]
    workers._tell()
    assert workers.job.until is None
    workers.slots = [SimpleNamespace(pid=os.getpid())]
    workers._tell()
    assert workers.job.until == pytest.approx(time.time() + 50, abs=10)


def test_no_trial_in_time_is_told_in_one_sentence(photographs, tmp_path, monkeypatch):
    told: list[Job] = []
    monkeypatch.setattr(tuning._Workers, "run", lambda self: told.append(self.job))
    outside = tmp_path / "outside.toml"
    outside.write_text(RECIPE.replace("low = 0.0, high = 0.5", "low = 0.4, high = 0.6"))
    with pytest.raises(
        RunError, match=r"^No trial was finished.* repeat the command to go on, with a longer --timeout"
    ):
        tune(photographs, tmp_path / "out", outside, folds=2, timeout=1)
    assert (told[0].until, told[0].timeout) == (None, 1)
    assert pd.read_csv(tmp_path / "out" / "trials.csv").columns[:3].tolist() == ["number", "state", "balanced_accuracy"]


def test_a_worker_makes_room_after_some_trials(begun, scored):
    assert work(job(begun), most=3) is True
    assert len(scored) == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"score": "accuracy"}, "no score"),
        ({"folds": 1}, "2 or more"),
        ({"storage": "mysql://root@host/db"}, "SQLite file"),
        ({"storage": "nonsense"}, "no address"),
        ({"storage": "postgresql://nobody@127.0.0.1:1/db"}, "cannot be used"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_any_work(photographs, recipe, tmp_path, options, told):
    with pytest.raises(RunError, match=told):
        tune(photographs, tmp_path / "out", recipe, **options)
    assert not (tmp_path / "out" / "tuning.json").exists()


def test_a_folder_of_something_else_or_of_other_settings_is_refused(finished, photographs, recipe, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        tune(photographs, tmp_path, recipe)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(RunError, match=r"other settings \(folds: 2 then, 3 now\)"):
        tune(photographs, finished[0].path, recipe)


def test_folds_without_melanomas_are_refused_for_the_melanoma_auc(photographs, recipe, tmp_path):
    with pytest.raises(DataError, match="does not hold both melanomas"):
        tune(photographs, tmp_path / "out", recipe, folds=40, score="melanoma_auc")


def test_without_optuna_the_extra_is_named(monkeypatch):
    import importlib

    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "melascope.training.tuning_storage")
    with pytest.raises(MissingExtraError, match=r"melascope\[tune\]"):
        importlib.import_module("melascope.training.tuning_storage")


def _workers(command: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(command.pid).children()
    return [child for child in children if "melascope.training.tuning_worker" in child.cmdline()]


def _worker(command: subprocess.Popen[str]) -> psutil.Process:
    _until(lambda: bool(_workers(command)))
    return _workers(command)[0]


def _kill_all(command: subprocess.Popen[Any]) -> None:
    """Kill a command and its workers, each with its whole process group, as when the power fails."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(command.pid), *_workers(command)]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    command.wait(60)


def _until(true: Any, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
