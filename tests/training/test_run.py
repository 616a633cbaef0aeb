"""The whole way on a small generated set: what it leaves, that it resumes, and what it refuses."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melascope
from melascope.errors import BundleError, DataError, RecipeError, RunError
from melascope.training.run_folder import STEPS, RunFolder

pytestmark = pytest.mark.train

RECIPE = """
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


@pytest.fixture(scope="module", autouse=True)
def _quiet_machine(tmp_path_factory):
    """One cache for all runs here, and the same number of threads in this process as in the ones it starts."""
    before = {name: os.environ.get(name) for name in ("MELASCOPE_CACHE", "MELASCOPE_THREADS")}
    os.environ["MELASCOPE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    from melascope.images.synthetic_set import write_dataset

    return write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=220, seed=3, size=40)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(photographs, recipe, tmp_path_factory):
    """A finished run, made in a process of its own as a person would make it."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    done = _melascope(*_words(photographs, recipe, out))
    assert done.returncode == 1, done.stderr  # two planted files cannot be read
    return melascope.open_run(out), done


def _words(photographs, recipe, out, *more) -> list[str]:
    authority = str(photographs / "metadata.csv")
    words = ["run", str(photographs), "--authority", authority, "--recipe", str(recipe), "--out", str(out)]
    return [*words, "--seed", "5", *more]


def _environment() -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "200"}


def _melascope(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "melascope.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=_environment(), timeout=600, check=False)


def test_a_run_leaves_everything_that_the_docs_name(finished):
    run, done = finished
    for name in (
        "run.json", "recipe.toml", "environment.json", "table.parquet", "excluded.csv", "audit.json", "history.csv",
        "weights.npz", "training.html", "model.melascope", "predictions.parquet", "metrics.json", "report.html",
    ):  # fmt: skip
        assert (run.path / name).stat().st_size > 0, name
    assert set(run.folder.state) == set(STEPS)
    assert not [p.name for p in run.path.iterdir() if ".partial" in p.name or p.name.startswith(".")]
    assert "Melanoma sensitivity" in done.stdout
    assert "Traceback" not in done.stderr
    assert "tensorflow" not in done.stderr.lower()


def test_history_has_train_and_tune_of_each_epoch(finished):
    history = finished[0].history
    assert len(history) == 2
    for score in ("loss", "accuracy", "balanced_accuracy", "melanoma_auc"):
        assert np.isfinite(history[[score, f"tune_{score}"]].to_numpy()).all()


def test_the_planted_problems_are_found_and_every_exclusion_is_counted(finished):
    run, _ = finished
    audit = run.folder.read_json("audit.json")
    for kind in ("unreadable", "byte_identical", "id_conflict", "authority_conflict", "photograph_leak", "lesion_leak"):
        assert audit["kinds"][kind]["groups"] >= 1, kind
    flow = run.metrics["flow"]
    assert flow[0]["photographs"] == audit["found"]
    parts = run.table["part"].value_counts()
    used = next(step for step in flow if step["photographs"] == int(parts.sum()))
    gone = sum(sum(step["excluded"].values()) for step in flow[: flow.index(used) + 1])
    assert audit["found"] - gone == len(run.table)
    assert len(pd.read_csv(run.path / "excluded.csv")) == gone


def test_no_group_stands_in_two_parts(finished):
    table = finished[0].table
    assert len(table[["group", "part"]].drop_duplicates()) == table["group"].nunique()


def test_thresholds_come_from_calibrate_and_scores_from_test(finished):
    run, _ = finished
    bundle = melascope.load_bundle(run.bundle)
    table, predictions, metrics = run.table, run.predictions, run.metrics
    point = bundle.decision["operating_points"]["melanoma"]["screening"]
    calibrate = predictions[predictions["part"] == "calibrate"]
    risks = calibrate.loc[calibrate["diagnosis"] == "MEL", "p_MEL"].to_numpy()
    assert point["n_positive"] == len(risks)
    assert (risks >= point["threshold"]).mean() >= 0.95
    assert np.isclose(risks, point["threshold"], rtol=2e-4).any()  # it lies just below one, so that no risk is on it
    measured = metrics["parts"]["test"]["groups"]["melanoma"]["operating_points"]["screening"]
    test = predictions[(predictions["part"] == "test") & (predictions["diagnosis"] == "MEL")]
    assert measured["sensitivity"]["value"] == pytest.approx((test["p_MEL"] >= point["threshold"]).mean())
    assert measured["sensitivity"]["n"] == int(((table["part"] == "test") & (table["diagnosis"] == "MEL")).sum())


def test_what_is_evaluated_is_what_is_deployed(finished):
    run, _ = finished
    some = run.predictions.iloc[::9]
    findings = melascope.predict(some["path"].tolist(), bundle=run.bundle)
    for code in melascope.load_bundle(run.bundle).classes:
        assert np.abs(findings[f"p_{code}"].to_numpy() - some[f"p_{code}"].to_numpy()).max() < 1e-3


def test_the_bundle_lists_what_it_learnt_from_and_carries_its_evaluation(finished):
    run, _ = finished
    bundle = melascope.load_bundle(run.bundle)
    assert bundle.trained_on is not None
    assert bundle.trained_on.images == int((run.table["part"] != "test").sum())
    assert bundle.evaluation == run.metrics
    assert "Not a medical device" in (bundle.card or "")


def test_baselines_are_measured(finished):
    baselines = finished[0].metrics["baselines"]
    assert baselines["largest_class"]["balanced_accuracy"]["value"] == pytest.approx(1 / 4)
    for name in ("colour_histogram", "shuffled_labels"):
        estimate = baselines[name]["balanced_accuracy"]
        difference = baselines[name]["difference"]["balanced_accuracy"]
        own = finished[0].metrics["parts"]["test"]["balanced_accuracy"]["value"]
        assert difference["value"] == pytest.approx(own - estimate["value"])
        assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_a_finished_run_is_not_done_again(finished, photographs, recipe):
    run, _ = finished
    before = {p.name: p.stat().st_mtime_ns for p in run.path.iterdir() if p.is_file()}
    again = _melascope(*_words(photographs, recipe, run.path, "--resume"))
    assert again.returncode == 1
    assert "Melanoma sensitivity" in again.stdout
    assert before == {p.name: p.stat().st_mtime_ns for p in run.path.iterdir() if p.is_file()}
    refused = _melascope(*_words(photographs, recipe, run.path))
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    other = _melascope(*_words(photographs, recipe, run.path, "--resume", "--protocol", "as-filed"))
    assert other.returncode == 2
    assert "protocol" in other.stderr


@pytest.mark.parametrize(
    ("stage", "with_signal"),
    [
        ("packing photographs", signal.SIGKILL),
        ("train", signal.SIGKILL),
        ("train", signal.SIGINT),
        ("exporting", signal.SIGKILL),
        ("training on shuffled labels", signal.SIGKILL),
    ],
)
def test_a_stopped_run_goes_on_and_ends_the_same(finished, photographs, recipe, tmp_path, stage, with_signal):
    out = tmp_path / "stopped"
    words = _words(photographs, recipe, out)
    if stage == "packing photographs":
        words += ["--cache", str(tmp_path / "cache")]
    process = subprocess.Popen(
        [sys.executable, "-m", "melascope.cli", *words],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=_environment(),
    )  # fmt: skip
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if re.match(rf"{stage} \(", line):
            time.sleep(0.1)
            process.send_signal(with_signal)
            break
    else:
        pytest.fail(f"never came to {stage!r}:\n{seen}")
    seen += process.communicate(timeout=120)[1]
    assert process.returncode == (130 if with_signal == signal.SIGINT else -signal.SIGKILL), seen
    assert "Traceback" not in seen
    done = _melascope(*words, "--resume")
    assert done.returncode == 1, done.stderr
    run, reference = melascope.open_run(out), finished[0]
    ours, theirs = (np.load(r.path / "weights.npz", allow_pickle=False) for r in (run, reference))
    assert set(ours.files) == set(theirs.files)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours.files)
    assert run.metrics["parts"] == reference.metrics["parts"]
    assert not [p.name for p in run.path.iterdir() if ".partial" in p.name]


def test_train_and_export_leave_the_test_closed(photographs, recipe, tmp_path):
    common = {"authority": [photographs / "metadata.csv"], "recipe": recipe, "seed": 5}
    trained = melascope.train(photographs, tmp_path / "run", **common)
    assert "still closed" in trained.summary()
    bundle = melascope.load_bundle(melascope.export(tmp_path / "run"))
    assert bundle.evaluation is None
    assert not (tmp_path / "run" / "metrics.json").exists()
    page = html.unescape((tmp_path / "run" / "training.html").read_text(encoding="utf-8"))
    for words in ("How it learned", "test part closed", "over-fitting", "--resume", "on train, "):
        assert words in page
    assert f"Learning curves: {tmp_path / 'run' / 'training.html'}" in trained.summary()
    finding = next(iter(melascope.Predictor(bundle).predict([trained.table["path"].iloc[0]])))
    assert finding.operating_point is not None
    assert finding.operating_point.measured_on == "calibrate"
    del common["recipe"]  # a run has its own
    whole = melascope.run(photographs, tmp_path / "run", resume=True, **common)
    assert whole.metrics["parts"]["test"]["n_images"] > 0
    assert "training.html" not in whole.summary()  # the report has the same curves, and more


def test_evaluate_leaves_out_what_the_bundle_was_trained_on(finished, photographs, tmp_path):
    run, _ = finished
    done = _melascope(
        "evaluate", str(photographs), "--authority", str(photographs / "metadata.csv"), "--bundle", str(run.bundle),
        "--out", str(tmp_path / "exam"), "--json",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["headline"] == "test_unseen"
    known = metrics["trained_on"]
    # The copies that `clean` drops differ between the two protocols' rows, but most of the set was trained on.
    assert known["images"] >= 0.5 * known["of"]
    assert metrics["parts"]["test_unseen"]["n_images"] == known["of"] - known["images"]
    assert (tmp_path / "exam" / "report.html").exists()


def test_compare_puts_runs_side_by_side(finished, photographs, recipe, tmp_path):
    run, _ = finished
    other = tmp_path / "other"
    assert _melascope(*_words(photographs, recipe, other, "--epochs", "1")).returncode == 1
    done = _melascope("compare", str(run.path), str(other), "--out", str(tmp_path / "c.html"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {row["score"] for row in told["differences"]} >= {"balanced accuracy"}
    assert (tmp_path / "c.html").read_text(encoding="utf-8").startswith("<!")
    assert _melascope("compare", str(run.path), str(other)).returncode == 0


def test_runs_that_are_only_exported_are_compared_without_their_test_part(finished, tmp_path, monkeypatch):
    from melascope.evaluation import compare, results

    run, _ = finished
    pair = []
    for name in ("first", "second"):
        exported = tmp_path / name
        shutil.copytree(run.path, exported)
        for made in ("predictions.parquet", "metrics.json", "report.html"):
            (exported / made).unlink()
        pair.append(exported)
    asked = []
    real = results.predict_table
    told = lambda predictor, table, progress: asked.extend(table["part"]) or real(predictor, table, progress)  # noqa: E731
    monkeypatch.setattr(results, "predict_table", told)
    before = sorted(path.name for path in pair[0].iterdir())
    found = compare([*pair, run.path], part="calibrate", draws=50)
    assert set(asked) == {"calibrate"}
    assert sorted(path.name for path in pair[0].iterdir()) == before
    # The same model says the same of the same photographs, whether its run is evaluated or not.
    assert (found.differences["value"] == 0).all()
    scores = found.runs.set_index("run")
    for score in ("melanoma_auc", "melanoma_sensitivity", "balanced_accuracy"):
        assert scores.loc["first", score]["value"] == scores.loc["finished", score]["value"]
    assert scores["protocol"].nunique() == scores["audited"].nunique() == scores["test"].nunique() == 1
    with pytest.raises(RunError, match=r"first has no predictions|first has no metrics"):
        compare(pair)
    with pytest.raises(RunError, match="export it and compare with --part tune or calibrate"):
        compare(pair)
    table = pd.read_parquet(pair[0] / "table.parquet")
    table[table["part"] != "tune"].to_parquet(pair[0] / "table.parquet")
    with pytest.raises(RunError, match=r"first has no part tune\. It has: (train|calibrate|test)"):
        compare(pair, part="tune")


def test_as_filed_is_called_optimistic_and_says_how_much_it_leaks(photographs, recipe, tmp_path):
    run = melascope.run(photographs, tmp_path / "run", recipe=recipe, protocol="as-filed", epochs=1)
    assert run.metrics["optimistic"]
    assert run.metrics["leaks"]["share_any"] > 0
    assert "optimistic" in run.report.read_text(encoding="utf-8").lower()


def test_as_published_leads_with_the_copies_that_it_judges_on(recipe, tmp_path):
    """As the projects did it: what judges was trained on too, and the page says how much of it."""
    from melascope.images.synthetic_set import write_dataset

    few = write_dataset(tmp_path / "few", photographs=60, seed=5, size=32)
    run = melascope.run(few, tmp_path / "run", recipe=recipe, protocol="as-published", epochs=1)
    metrics, table = run.metrics, run.table
    assert metrics["optimistic"]
    assert metrics["headline"] == "test"
    learnt = set(table.loc[table["part"] != "test", "photograph"])
    known = table.loc[table["part"] == "test", "photograph"].isin(learnt)
    assert known.mean() > 0.5
    assert metrics["trained_on"]["images"] == int(known.sum())
    assert "as-published" in run.report.read_text(encoding="utf-8")


def test_limit_uses_some_of_each_class(photographs, recipe, tmp_path):
    run = melascope.run(
        photographs, tmp_path / "run", recipe=recipe, limit=120, epochs=1, authority=[photographs / "metadata.csv"]
    )
    assert run.folder.read_json("audit.json")["found"] == 120
    assert run.table["diagnosis"].nunique() == 4
    assert run.metrics["limited"] == 120
    page = html.unescape(run.report.read_text(encoding="utf-8"))
    assert "Only 120 photographs were drawn (--limit): a try, not a result." in page
    told = "Trained for 1 epoch instead of the recipe's 2 (--epochs): a try"
    assert told in page
    assert told in run.summary()


def test_a_wrong_recipe_is_refused_before_any_work(photographs, tmp_path):
    for text, told in (
        ('extends = "small-cnn"\n[schedule]\nepoch = 3\n', "epochs"),
        ('extends = "small-cnn"\n[schedule]\nepochs = -3\n', "epochs"),
        ('extends = "small-cnn"\n[network]\nweights = "nowhere.npz"\n', "nowhere.npz"),
    ):
        path = tmp_path / "wrong.toml"
        path.write_text(text)
        with pytest.raises(RecipeError, match=told):
            melascope.run(photographs, tmp_path / "run", recipe=path)
        assert not (tmp_path / "run").exists()


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for folder, told in ((tmp_path / "full", "not empty"), (tmp_path / "full" / "thesis.txt", "is a file")):
        with pytest.raises(RunError, match=told):
            RunFolder.start(folder, {}, resume=False)
    with pytest.raises(RunError, match="holds no run"):
        melascope.open_run(tmp_path / "nothing")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        melascope.open_run(broken)
    RunFolder.start(tmp_path / "new", {}, resume=False)
    with pytest.raises(RunError, match="not trained"):
        melascope.export(tmp_path / "new")


def test_one_class_only_is_refused(photographs, recipe, tmp_path):
    only = tmp_path / "only"
    (only).mkdir()
    (only / "melanoma").symlink_to(photographs / "Train" / "melanoma")
    with pytest.raises(DataError, match=r"melanoma|diagnos"):
        melascope.run(only, tmp_path / "run", recipe=recipe)


def test_a_bundle_that_differs_from_the_training_is_refused(finished, tmp_path):
    from melascope.training.export import check_parity

    bundle = melascope.load_bundle(finished[0].bundle)
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    served = melascope.Predictor(bundle).run(images).logits
    assert check_parity(bundle.onnx, images, served) < 1e-4
    with pytest.raises(BundleError, match="differs"):
        check_parity(bundle.onnx, images, served + np.eye(served.shape[1])[:1] * 0.5)


def test_fewer_epochs_shorten_the_warm_up_too():
    from melascope.training import recipe as recipes
    from melascope.training.settings import shortened

    for epochs in (1, 2, 100):
        schedule = shortened(recipes.load("small-cnn"), epochs).schedule
        assert schedule.epochs == epochs
        assert schedule.warmup_epochs == min(2, epochs / 4)
