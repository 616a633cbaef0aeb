"""A shipped model is judged anew without training: the same network and decisions, today's measures and card."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from models.champion import again, beside, make

from melascope.bundle import load_bundle, write_bundle
from melascope.images import synthetic
from melascope.training import recipe as recipes
from melascope.training.run import run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny recipe, laid out as `make` lays out a champion's, and its distribution beside it."""
    folder = tmp_path_factory.mktemp("again")
    data = synthetic.write_dataset(folder / "set", photographs=90, seed=2, size=32)
    recipe = recipes.load("small-cnn").replace(
        data={"size": 32}, network={"widths": [8, 8]}, schedule={"epochs": 1, "warmup_epochs": 0.2}
    )
    (folder / "champion.toml").write_text(recipe.dumps(), encoding="utf-8")
    found = run(data, folder / "run", recipe=folder / "champion.toml")
    found.table[["image_id", "path", "part"]].to_csv(folder / "parts.csv", index=False)
    n = found.metrics["flow"][0]["photographs"]
    steps = [{"label": "found in 2 sets", "photographs": n + 5, "excluded": {}},
             {"label": "each id once", "photographs": n, "excluded": {"twice": 5}}]  # fmt: skip
    (folder / "gathered.json").write_text(json.dumps(steps), encoding="utf-8")
    home = folder / "package" / "src" / "melascope_champion"
    home.mkdir(parents=True)
    (folder / "package" / "LICENSE").write_text("CC BY-NC", encoding="utf-8")
    make.ship(folder / "run", folder / "package")
    return folder


def test_what_is_shipped_tells_the_whole_flow_and_what_was_measured_beside_the_run(made: Path) -> None:
    bundle = load_bundle(made / "package" / "src" / "melascope_champion" / "champion.melascope")
    assert [step["label"] for step in bundle.evaluation["flow"][:2]] == ["found in 2 sets", "each id once"]
    assert "found" not in [step["label"] for step in bundle.evaluation["flow"]]
    for lines in beside.told().values():
        assert "\n".join(lines) in str(bundle.card)
    told = json.loads((made / "package" / make.MADE).read_text(encoding="utf-8"))
    assert told["effort"]["epochs"] == 1
    assert told["environment"]["packages"]


def test_a_shipped_model_is_judged_anew_as_it_was(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = made / "package" / "src" / "melascope_champion" / "champion.melascope"
    before = load_bundle(shipped)
    (tmp_path / "gathered.json").write_bytes((made / "gathered.json").read_bytes())
    monkeypatch.setattr(again, "SHIPPED", shipped)
    monkeypatch.setattr(make, "PACKAGE", made / "package")
    monkeypatch.setattr(make, "gathered", lambda data, out: made / "set")
    monkeypatch.setattr(make, "prepared", lambda *_: (made / "champion.toml", made / "parts.csv"))
    again.main([str(made / "set"), "--weights", "none.npz", "--out", str(tmp_path)])
    after = load_bundle(shipped)
    assert after.identity == before.identity
    assert after.decision == before.decision
    assert after.evaluation == before.evaluation
    assert after.card == before.card
    assert not list((tmp_path / "run").rglob("weights*")), "nothing was trained"


def test_its_decision_is_fitted_anew_where_that_is_asked_for(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_bundle(made / "package" / "src" / "melascope_champion" / "champion.melascope")
    # As if it had been shipped under other rules.
    decision = {**before.decision, "calibration": {"method": "temperature", "temperature": 3.0}}
    shipped = write_bundle(
        tmp_path / "old.melascope", before.onnx, decision, evaluation=before.evaluation, trained_on=before.trained_on,
        arrays=before.arrays,
    ).path  # fmt: skip
    (tmp_path / "gathered.json").write_bytes((made / "gathered.json").read_bytes())
    monkeypatch.setattr(again, "SHIPPED", shipped)
    monkeypatch.setattr(make, "gathered", lambda data, out: made / "set")
    monkeypatch.setattr(make, "prepared", lambda *_: (made / "champion.toml", made / "parts.csv"))
    again.main([str(made / "set"), "--weights", "none.npz", "--out", str(tmp_path), "--refit", "--no-ship"])
    after = load_bundle(tmp_path / "run" / "model.melascope")
    assert after.onnx == before.onnx
    assert after.decision == before.decision != decision
    assert set(after.arrays) == set(before.arrays)
    assert after.evaluation["parts"]["test"]["groups"] == before.evaluation["parts"]["test"]["groups"]


def test_another_division_is_refused(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = pd.read_csv(made / "parts.csv")
    other = parts.assign(part=parts["part"].replace({"train": "test", "test": "train"}))
    other.to_csv(tmp_path / "parts.csv", index=False)
    monkeypatch.setattr(again, "SHIPPED", made / "package" / "src" / "melascope_champion" / "champion.melascope")
    monkeypatch.setattr(make, "gathered", lambda data, out: made / "set")
    monkeypatch.setattr(make, "prepared", lambda *_: (made / "champion.toml", tmp_path / "parts.csv"))
    with pytest.raises(SystemExit, match="not its own"):
        again.main([str(made / "set"), "--weights", "none.npz", "--out", str(tmp_path), "--no-ship"])
