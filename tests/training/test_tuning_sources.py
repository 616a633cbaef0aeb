"""A tuning that pools its melanoma AUC over sources says so, and gives that within a source beside it."""

from __future__ import annotations

import html
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope.evaluation.cross_validated import of_sources
from melascope.images import synthetic
from melascope.statistics import auc_within
from melascope.training import checkpoint, search_section, tuning_data
from melascope.training.cross_validation import draw_folds, scores_of

pytest.importorskip("optuna")

from melascope.training import tuning_results, tuning_storage
from melascope.training.tuning_worker import Job, work

TEXT = 'extends = "small-cnn"\nname = "tiny"\n[data]\nsize = 16\n[search]\n"network.dropout" = [0.1, 0.2, 0.3]\n'
FOLDS = 2


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A drawn set as one table, with a source that tells melanomas in most photographs."""
    from melascope import datasets

    folder = tmp_path_factory.mktemp("drawn") / "photographs"
    rows = datasets.read(synthetic.write_dataset(folder, photographs=130, seed=3, size=24))
    melanoma = (rows["diagnosis"] == "MEL").to_numpy()
    told = np.random.default_rng(0).random(len(rows)) < 0.8
    rows["source"] = np.where(melanoma == told, "clinic", "archive")
    return rows[["image_id", "path", "diagnosis", "source"]]


def _begun(table: pd.DataFrame, folder: Path, score: str = "melanoma_auc") -> tuning_data.Task:
    table.to_csv(folder / "table.csv", index=False)
    (folder / "mine.toml").write_text(TEXT)
    space = search_section.load(folder / "mine.toml")
    asked = {
        "data": str(folder / "table.csv"), "images": None, "authority": [], "spellings": {}, "limit": None, "seed": 0,
        "audit": None, "unaudited": True, "protocol": "clean", "parts": None, "folds": FOLDS, "score": score,
        "recipe": space.base.replace().dumps(), "search": dict(space.spec),
    }  # fmt: skip
    return tuning_data.start(folder / "TUNING", asked, lambda *_: None)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Trainings that take no time: the logits of melanoma tell the source, and little else. Returns their folders."""
    seen: list[Any] = []

    def quick(recipe, images, labels, groups, classes, folds, seeds, out, threads, on_fold):  # type: ignore[no-untyped-def]
        source = pd.read_parquet(out.parents[1] / "table.parquet")["source"].to_numpy()
        assigned = draw_folds(labels, groups, classes, folds, seeds[0])
        logits = np.random.default_rng(len(seen)).normal(size=(len(labels), len(classes))).astype(np.float32)
        logits[:, classes.index("MEL")] += 3.0 * (source == "clinic")
        seen.append((out, logits, assigned))
        for fold in range(folds):
            rows = assigned == fold
            checkpoint.write(out / f"seed-{seeds[0]}" / f"fold-{fold}" / "logits.npz", {"logits": logits[rows]})
            p = np.exp(logits[rows]) / np.exp(logits[rows]).sum(axis=1, keepdims=True)
            on_fold(scores_of(p, labels[rows], classes))

    monkeypatch.setattr("melascope.training.cross_validation.cross_validate", quick)
    return seen


def _tuned(task: tuning_data.Task, trials: int = 3) -> tuning_results.Tuning:
    url = tuning_storage.storage_url(None, task.folder)
    work(Job(str(task.folder), url, trials))
    with closing(tuning_storage.connect(url, task.name, task.settings["score"], 0, 30)) as shared:
        return tuning_results.write(task, shared, trials)


def test_the_auc_within_a_source_stands_beside_the_one_over_all(
    table: pd.DataFrame, tmp_path: Path, trained: list[Any]
) -> None:
    task = _begun(table, tmp_path)
    assert task.facts["sources"] == 2
    (joined,) = of_sources(task.facts)
    assert "joins several sources" in joined
    found = _tuned(task)
    assert joined in found.warnings
    page = html.unescape(found.report.read_text())
    assert joined in page
    assert "within a source" in page
    frame = pd.read_csv(found.path / "trials.csv")
    _, logits, assigned = trained[0]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    risk, melanoma = p[:, task.classes.index("MEL")], (task.table["diagnosis"] == "MEL").to_numpy()
    source = task.table["source"].to_numpy(dtype=str)
    by_fold = [auc_within(risk[rows], melanoma[rows], source[rows]) for rows in (assigned == 0, assigned == 1)]
    assert frame["melanoma_auc_within_source"][0] == pytest.approx(np.mean(by_fold), abs=1e-6)
    best = frame.loc[frame["melanoma_auc"].idxmax()]
    assert best["melanoma_auc"] > best["melanoma_auc_within_source"] + 0.1
    told = f"only photographs of one source are compared: melanoma AUC {best['melanoma_auc_within_source']:.3f}."
    for text in (found.summary(), page, found.best.read_text()):
        assert told in text


def test_where_the_folds_of_a_trial_are_not_at_hand_it_says_so(
    table: pd.DataFrame, tmp_path: Path, trained: list[Any]
) -> None:
    task = _begun(table, tmp_path)
    _tuned(task)
    for folder, _, _ in trained:
        (folder / "seed-0" / "fold-0" / "logits.npz").unlink(missing_ok=True)
    found = _tuned(task)
    assert found.trials["melanoma_auc_within_source"].isna().all()
    assert "within a source is not known" in found.summary()


def test_another_score_or_no_sources_change_nothing_more_than_is_known(
    table: pd.DataFrame, tmp_path: Path, trained: list[Any]
) -> None:
    other = _tuned(_begun(table, tmp_path, "balanced_accuracy"), 1)
    assert not any("source" in warning for warning in other.warnings)
    assert "ithin a source" not in other.summary() + other.report.read_text()
    assert other.trials["melanoma_auc_within_source"].notna().all()  # the CSV has the AUC over all of them, too
    (tmp_path / "none").mkdir()
    task = _begun(table.drop(columns="source").assign(source="one"), tmp_path / "none")
    assert task.facts["sources"] == 1
    assert not any("source" in warning for warning in task.facts["warnings"])
    (tmp_path / "unknown").mkdir()
    task = _begun(table.drop(columns="source"), tmp_path / "unknown")
    assert any("Sources are not recorded" in warning for warning in task.facts["warnings"])


def test_a_trial_that_was_given_up_after_one_fold_has_the_auc_of_that_fold(
    table: pd.DataFrame, tmp_path: Path, trained: list[Any]
) -> None:
    task = _begun(table, tmp_path)
    found = _tuned(task)
    whole = found.trials["melanoma_auc_within_source"]
    folder, logits, assigned = trained[0]
    (folder / "seed-0" / "fold-1" / "logits.npz").unlink()  # as a pruned trial leaves it
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    melanoma = (task.table["diagnosis"] == "MEL").to_numpy()
    source, rows = task.table["source"].to_numpy(dtype=str), assigned == 0
    first = auc_within(p[rows, task.classes.index("MEL")], melanoma[rows], source[rows])
    again = _tuned(task).trials["melanoma_auc_within_source"]
    assert again[0] == pytest.approx(first, abs=1e-6)
    assert again[1:].tolist() == whole[1:].tolist()


def test_folds_of_other_photographs_give_no_auc(table: pd.DataFrame, tmp_path: Path, trained: list[Any]) -> None:
    task = _begun(table, tmp_path)
    _tuned(task)
    file = trained[0][0] / "seed-0" / "fold-0" / "logits.npz"
    checkpoint.write(file, {"logits": np.zeros((3, len(task.classes)), np.float32)})
    found = _tuned(task).trials["melanoma_auc_within_source"]
    assert np.isnan(found[0])
    assert found[1:].notna().all()
