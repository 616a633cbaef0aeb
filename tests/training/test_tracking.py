from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from melascope.errors import MelascopeError, MissingExtraError
from melascope.progress import silent
from melascope.training import recipe as recipes
from melascope.training import tracking
from melascope.training.run_folder import STEPS, RunFolder
from melascope.training.steps import LOGGED, Steps
from melascope.training.tracking import Tracker, tracker
from melascope.training.tracking_scores import judged
from melascope.training.tracking_uri import check, look, masked, reason


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all: MLflow takes seconds to lay it out."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def stored(log: Any) -> Any:
    return log._client.get_run(log.run_id)


class Unreachable:
    """MLflow's client, on days when the server is away."""

    def __init__(self, client: Any) -> None:
        self.client, self.away, self.asked = client, False, 0

    def __getattr__(self, name: str) -> Any:
        def call(*values: Any, **named: Any) -> Any:
            self.asked += 1
            if self.away:
                raise ConnectionRefusedError(111, "Connection refused")
            return getattr(self.client, name)(*values, **named)

        return call


def test_without_a_uri_nothing_is_imported_and_nothing_happens() -> None:
    code = (
        "import sys; from melascope.training.tracking import tracker\n"
        "with tracker(None, 'a run') as log:\n"
        "    log.params({'a': 1}); log.epoch({'epoch': 1, 'loss': 1.0}); log.metrics({}); log.file('nowhere')\n"
        "assert log.trouble is None and 'mlflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_epochs_scores_and_files_arrive(uri: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>")
    with tracker(uri, run="first") as log:
        log.params({"network": {"widths": [8, 8], "name": "cnn"}, "long": "x" * 9000, "odd key: ü": None})
        log.epoch({"epoch": 1, "loss": 1.5, "tune_loss": math.nan})
        log.epoch({"epoch": 2, "loss": 1.25, "tune_loss": 1.0})
        log.metrics({"parts": {"test": {"auc": {"value": 0.75, "n": 30}, "curve": [0, 1], "name": "x", "best": True}}})
        log.file(report)
    run = stored(log)
    assert log.trouble is None
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params["network.widths"] == "[8, 8]"
    assert len(run.data.params["long"]) == 6000
    assert run.data.params["odd key_ _"] == "None"
    assert run.data.metrics == {"loss": 1.25, "tune_loss": 1.0, "parts/test/auc/value": 0.75, "parts/test/auc/n": 30}
    assert [(point.step, point.value) for point in log._client.get_metric_history(log.run_id, "loss")] == [
        (1, 1.5),
        (2, 1.25),
    ]
    assert (Path(run.info.artifact_uri.removeprefix("file://")) / "report.html").read_text() == "<p>"
    assert Path(uri.removeprefix("sqlite:///")).parent in Path(run.info.artifact_uri.removeprefix("file://")).parents


def test_a_score_of_too_few_is_told_no_more_than_the_page_tells_it(uri: str) -> None:
    few, enough = {"value": 0.5, "low": 0.1, "high": 0.9, "n": 9}, {"value": 0.75, "low": 0.7, "high": 0.8, "n": 40}
    part = {
        "n_images": 40,
        "accuracy": enough,
        "groups": {
            "melanoma": {
                "n_positive": 9,
                "n_negative": 31,
                "auc": enough,
                "average_precision": few,
                "operating_points": {"screening": {"threshold": 0.2, "sensitivity": few, "specificity": enough}},
            },
            "malignant": {"n_positive": 12, "n_negative": 28, "auc": enough},
        },
        "per_class": {"MEL": {"n": 9, "n_groups": 9, "too_few": True, "auc": enough, "sensitivity": few}},
    }
    with tracker(uri, run="few") as log:
        log.metrics({"test": part})
    told = stored(log).data.metrics
    assert told["test/groups/melanoma/operating_points/screening/specificity/value"] == 0.75
    assert told["test/groups/malignant/auc/value"] == told["test/accuracy/value"] == 0.75
    melanoma = {key.removeprefix("test/groups/melanoma/") for key in told if key.startswith("test/groups/melanoma/")}
    assert not {key for key in melanoma if key.startswith(("auc", "average"))}
    assert {"n_positive", "n_negative", "operating_points/screening/sensitivity/n"} <= melanoma
    assert "operating_points/screening/sensitivity/value" not in melanoma
    assert {key for key in told if "per_class" in key} == {"test/per_class/MEL/n", "test/per_class/MEL/n_groups"}
    # Ten photographs, but of fewer than ten lesions.
    listed = judged({**part, "too_few": [{"kind": "group", "name": "malignant", "n": 12, "n_groups": 8}]})
    assert "auc" not in listed["groups"]["malignant"]


def test_a_tracker_says_where_its_run_can_be_looked_at(uri: str) -> None:
    with tracker(uri, run="seen") as log:
        assert log.look == f"mlflow ui --backend-store-uri {uri}"
    assert tracker(None, run="seen").look is None
    assert look("http://me:secret@host:5000/", "3", "abc") == "http://host:5000/#/experiments/3/runs/abc"
    assert (
        look("sqlite:////my data/mlflow.db", "3", "abc")
        == "mlflow ui --backend-store-uri 'sqlite:////my data/mlflow.db'"
    )
    assert look("postgresql://me:secret@host/db", "3", "a") == "mlflow ui --backend-store-uri postgresql://host/db"


def test_a_hundred_settings_and_a_thousand_scores_are_sent_in_parts(uri: str) -> None:
    with tracker(uri, run="many") as log:
        log.params({f"p{i}": i for i in range(230)})
        log.metrics({f"m{i}": i for i in range(1500)})
    assert len(stored(log).data.params) == 230
    assert len(stored(log).data.metrics) == 1500


def test_a_resumed_run_goes_on_with_the_same_run_and_epochs_are_logged_once(uri: str, tmp_path: Path) -> None:
    state = tmp_path / "run" / "mlflow.json"
    first = tracker(uri, run="a", state=state)
    first.params({"epochs": 3})
    first.epoch({"epoch": 1, "loss": 2.0})
    # Killed here. What was lost on the way is sent again; what arrived is not.
    again = tracker(uri, run="a", state=state)
    again.params({"epochs": 5, "seed": 1})
    for epoch, loss in ((1, 2.0), (2, 1.0), (2, 1.0)):
        again.epoch({"epoch": epoch, "loss": loss})
    again.close()
    assert again.run_id == first.run_id == json.loads(state.read_text())["run_id"]
    assert [point.step for point in again._client.get_metric_history(again.run_id, "loss")] == [1, 2]
    assert stored(again).data.params == {"epochs": "3", "seed": "1"}
    assert again.trouble is None


@pytest.mark.parametrize("content", ["{", "[]", '{"uri": "sqlite:////elsewhere.db", "run_id": "1"}'])
def test_a_state_that_cannot_be_used_begins_a_new_run(uri: str, tmp_path: Path, content: str) -> None:
    state = tmp_path / "mlflow.json"
    state.write_text(content)
    log = tracker(uri, run="b", state=state)
    log.close()
    assert json.loads(state.read_text())["run_id"] == log.run_id


def test_a_run_that_was_deleted_is_begun_anew(uri: str, tmp_path: Path) -> None:
    state = tmp_path / "mlflow.json"
    first = tracker(uri, run="c", state=state)
    first._client.delete_run(first.run_id)
    assert tracker(uri, run="c", state=state).run_id != first.run_id
    state.write_text(json.dumps({"uri": json.loads(state.read_text())["uri"], "run_id": "0" * 32}))
    assert tracker(uri, run="c", state=state).run_id != "0" * 32


def test_what_fails_is_marked_as_failed(uri: str) -> None:
    with pytest.raises(KeyboardInterrupt), tracker(uri, run="d") as log:
        raise KeyboardInterrupt
    assert stored(log).info.status == "FAILED"
    log.close()
    assert stored(log).info.status == "FAILED"


def test_a_server_that_goes_away_is_told_once_and_gets_everything_when_it_is_back(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tracker(uri, run="e")
    client = log._client = Unreachable(log._client)
    log.epoch({"epoch": 1, "loss": 3.0})
    client.away = True
    with pytest.warns(UserWarning, match="Connection refused. The training goes on"):
        log.epoch({"epoch": 2, "loss": 1.0})
    for epoch in (3, 4):
        log.epoch({"epoch": epoch, "loss": 1.0})  # a second warning would be an error here
    assert client.asked == 2  # not at every epoch, or a training would wait at each
    client.away = False
    later = time.monotonic() + 61
    monkeypatch.setattr(tracking.time, "monotonic", lambda: later)
    log.epoch({"epoch": 5, "loss": 0.5})
    log.close()
    assert [point.step for point in log._client.client.get_metric_history(log.run_id, "loss")] == [1, 2, 3, 4, 5]
    assert "Connection refused" in log.trouble


def test_a_server_that_stays_away_says_how_much_is_missing(uri: str) -> None:
    log = tracker(uri, run="f")
    log._client = Unreachable(log._client)
    log._client.away = True
    with pytest.warns(UserWarning, match="Connection refused"):
        log.epoch({"epoch": 1, "loss": 1.0})
    log.close()
    assert "2 messages of the run are missing" in log.trouble


def test_what_the_server_refuses_does_not_hold_up_the_rest(uri: str, tmp_path: Path) -> None:
    log = tracker(uri, run="g")
    with pytest.warns(UserWarning, match="No such file"):
        log.file(tmp_path / "nothing.html")
    log.metrics({"auc": 0.5})
    log.close()
    assert stored(log).data.metrics == {"auc": 0.5}
    assert stored(log).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("mlruns", "no longer logs into a folder such as mlruns"),
        ("file:///tmp/mlruns", "no longer logs into a folder"),
        ("sqlite://", "names no file"),
        ("sqlite:////proc/nothing/mlflow.db", "No such file"),
        ("http://localhost:9", "Connection refused"),
        ("postgresql+pg8000://me:secret@localhost:9/x", "does not answer at postgresql.pg8000://localhost:9/x"),
        ("postgresql://localhost:port/x", "no number"),
        ("carrier://pigeon", "carrier://pigeon is no address that MLflow logs to. Give the address of a server"),
        ("ftp://me:secret@x", "ftp://x is no address that MLflow logs to"),
        ("localhost:5000", "is no address that MLflow logs to. Give the address of a server, such as http://localhost"),
        ("", "The URI of MLflow is empty. Give"),
        (" ", "The URI of MLflow is empty. Give"),
        ("databricks", "does not log to Databricks"),
        ("databricks://profile", "does not log to Databricks"),
        ("http://", "no address of a server"),
        ("http://localhost:99999", "no address of a server"),
    ],
)
def test_a_uri_of_no_use_is_one_sentence_within_seconds(wrong: str, sentence: str) -> None:
    began = time.monotonic()
    with pytest.raises(MelascopeError, match=sentence) as told:
        tracker(wrong, run="never")
    assert time.monotonic() - began < 10
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello " * 30)
    with pytest.raises(MelascopeError, match=r"notes\.txt cannot be used as MLflow's database: file is not a database"):
        tracker(f"sqlite:///{tmp_path / 'notes.txt'}", run="never")


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(tracking, "_client", lambda uri: time.sleep(1))
    with pytest.raises(MelascopeError, match="no answer within"):
        tracker("http://localhost:9", run="never")


@pytest.mark.parametrize(("gone", "asked"), [("mlflow", "http://localhost:9"), ("sqlalchemy", "sqlite:///mlflow.db")])
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, gone: str, asked: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == gone else real(name))
    with pytest.raises(MissingExtraError, match=r'pip install "melascope\[mlflow\]"'):
        check(asked)


def test_telemetry_is_off_and_only_the_uri_is_asked(tmp_path: Path) -> None:
    code = f"""
import socket, sys
def refuse(*values, **named): raise AssertionError(f"somebody asked {{values}}")
socket.create_connection = socket.getaddrinfo = socket.socket.connect = refuse
from melascope.training.tracking import tracker
with tracker("sqlite:///{tmp_path}/mlflow.db", run="quiet") as log:
    log.epoch({{"epoch": 1, "loss": 1.0}})
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None
assert log.trouble is None
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db"]


def test_passwords_are_never_told() -> None:
    assert masked("cannot reach https://me:secret@host/x") == "cannot reach https://host/x"
    assert reason(ValueError("bad https://me:secret@host.\nmore")) == "bad https://host"
    assert reason(ValueError()) == "ValueError"
    assert isinstance(tracker(None, run="x"), Tracker)


PART = {"n_images": 40, "accuracy": {"value": 0.5, "n": 40}, "balanced_accuracy": {"value": 0.25, "n": 40}}


def finished(folder: Path) -> RunFolder:
    """Write what a run leaves of which every step is done."""
    run = RunFolder.start(folder, {"recipe": recipes.load("plain-cnn").dumps(), "seed": 3}, resume=False)
    (folder / "history.csv").write_text("epoch,loss,tune_loss\n1,1.5,\n2,1.25,1.75\n")
    run.write_json("metrics.json", {"headline": "test", "parts": {"test": PART}})
    for name in LOGGED:
        if not (folder / name).exists():
            (folder / name).write_text(name)
    for step in STEPS:
        run.finish(step, 1.0)
    return run


def test_a_run_that_is_first_logged_when_it_is_resumed_is_logged_whole_and_once(uri: str, tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    Steps(run.path, run.settings, True, silent).go("report")
    assert not (run.path / "mlflow.json").exists()
    sent: list[str] = []
    for resumed in range(3):
        if resumed == 2:  # what changed, or was lost there, is sent
            run.write_json("metrics.json", {"headline": "test", "parts": {"test": {**PART, "n_images": 41}}})
        steps = Steps(run.path, run.settings, True, silent, mlflow=uri)
        steps.go("report")
        log: Any = steps.tracker
        told = stored(log)
        assert told.info.status == "FINISHED"
        assert told.data.params["seed"] == "3"
        epochs = log._client.get_metric_history(log.run_id, "loss")
        assert [(point.step, point.value) for point in epochs] == [(1, 1.5), (2, 1.25)]
        assert [point.step for point in log._client.get_metric_history(log.run_id, "tune_loss")] == [2]
        assert [point.value for point in log._client.get_metric_history(log.run_id, "test/accuracy/value")] == [0.5]
        assert told.data.metrics["test/n_images"] == (41 if resumed == 2 else 40)
        assert sorted(file.path for file in log._client.list_artifacts(log.run_id)) == sorted(LOGGED)
        sent.append(log.run_id)
    assert len(set(sent)) == 1


def test_files_that_the_server_has_are_not_sent_again(uri: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>")
    log: Any = tracker(uri, run="files")
    log.file(report, known=True)
    there = Path(stored(log).info.artifact_uri.removeprefix("file://")) / "report.html"
    assert there.read_text() == "<p>"
    there.write_text("<b>")
    log.file(report, known=True)
    assert there.read_text() == "<b>"  # of the same size: not sent
    log.file(report)
    assert there.read_text() == "<p>"
    report.write_text("<p>more")
    log.file(report, known=True)
    assert there.read_text() == "<p>more"
    log.close()
    assert log.trouble is None


def test_a_training_that_ended_before_it_was_logged_sends_its_epochs_without_training_again(
    uri: str, tmp_path: Path
) -> None:
    run = finished(tmp_path / "run")
    run.state = {step: run.state[step] for step in ("data", "pack", "fit")}
    (run.path / "metrics.json").unlink()
    run.finish("fit", 1.0)
    steps = Steps(run.path, run.settings, True, silent, mlflow=uri)
    steps.go("fit")
    log: Any = steps.tracker
    assert [point.step for point in log._client.get_metric_history(log.run_id, "loss")] == [1, 2]
    assert log._client.list_artifacts(log.run_id) == []
