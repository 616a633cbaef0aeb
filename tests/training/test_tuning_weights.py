"""A tuning knows the weights that it began with by what they hold, not by their name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from melascope.errors import RunError
from melascope.images import synthetic
from melascope.training import search_section, tuning_data

pytest.importorskip("optuna")

SEARCH = '[search]\n"optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }\n'


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=80, seed=3, size=32)


def weights(path: Path, value: float) -> Path:
    np.savez(path, mobilenetv20_features_conv0_weight=np.full(2, value))
    return path


def settings(photographs: Path, folder: Path, text: str, name: str = "mine.toml") -> dict[str, Any]:
    file = folder / name
    file.write_text(text)
    space = search_section.load(file)
    return {
        "data": str(photographs), "images": None, "authority": [], "spellings": {}, "limit": None, "seed": 0,
        "audit": None, "unaudited": False, "protocol": "clean", "parts": None, "folds": 2,
        "score": "balanced_accuracy", "recipe": space.base.replace().dumps(), "search": dict(space.spec),
    }  # fmt: skip


def begun(photographs: Path, folder: Path, asked: dict[str, Any]) -> tuning_data.Task:
    return tuning_data.start(folder, asked, lambda *_: None)


def test_other_weights_under_the_same_name_are_another_tuning(photographs: Path, tmp_path: Path) -> None:
    text = f"extends = 'mobilenetv2-finetuned'\n[network]\nweights = 'w.npz'\n{SEARCH}"
    file = weights(tmp_path / "w.npz", 1.0)
    asked = settings(photographs, tmp_path, text)
    first = begun(photographs, tmp_path / "T", asked)
    assert list(first.facts["weights"]) == [str(file)]
    os.utime(file, (0, 0))
    assert begun(photographs, tmp_path / "T", asked).mark == first.mark
    weights(file, 2.0)
    with pytest.raises(RunError, match=r"w\.npz holds other weights than when .*T was begun.*Put the former file back"):
        begun(photographs, tmp_path / "T", asked)
    second = begun(photographs, tmp_path / "T2", asked)
    assert second.mark != first.mark
    assert second.name != first.name


def test_where_the_weights_lie_decides_nothing(photographs: Path, tmp_path: Path) -> None:
    marks = []
    for place in ("here", "there ü"):
        (tmp_path / place).mkdir()
        weights(tmp_path / place / "w.npz", 1.0)
        text = f"name = 'mine'\nextends = 'mobilenetv2-finetuned'\n[network]\nweights = 'w.npz'\n{SEARCH}"
        asked = settings(photographs, tmp_path / place, text)
        marks.append(begun(photographs, tmp_path / f"T {place}", asked).mark)
    assert marks[0] == marks[1]


def test_weights_that_are_searched_are_found_from_everywhere_and_known_by_what_they_hold(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights(tmp_path / "a.npz", 1.0)
    weights(tmp_path / "b.npz", 2.0)
    text = (
        "extends = 'mobilenetv2-finetuned'\n[network]\nweights = 'a.npz'\n"
        "[search]\n\"network.weights\" = ['a.npz', 'b.npz']\n"
    )
    asked = settings(photographs, tmp_path, text)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    first = begun(photographs, tmp_path / "T", asked)
    assert sorted(first.facts["weights"]) == [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]
    weights(tmp_path / "b.npz", 3.0)
    with pytest.raises(RunError, match=r"b\.npz holds other weights"):
        begun(photographs, tmp_path / "T", asked)


def test_without_weights_nothing_changes(photographs: Path, tmp_path: Path) -> None:
    asked = settings(photographs, tmp_path, f"extends = 'plain-cnn'\n{SEARCH}")
    assert begun(photographs, tmp_path / "T", asked).facts["weights"] == {}
