"""The notebook is run as it is, and shows what its text says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # or jupyter_core warns about its folders

NOTEBOOK = Path(__file__).parents[1] / "examples" / "course_project.ipynb"
FACTS = """
import json

print(json.dumps({
    "overfitted": plain_history.iloc[-1][["accuracy", "tune_accuracy"]].tolist(),
    "augmented": augmented_history.iloc[-1][["accuracy", "tune_accuracy"]].tolist(),
    "flattering": flattering.to_json(), "honest": honest.to_json(), "shared": shared,
    "classes": classes, "drawn": drawn["balanced"].tolist(),
    "balanced_accuracy": test["balanced_accuracy"], "shuffled": baselines["shuffled_labels"]["balanced_accuracy"],
    "together": len(set(lesions[train_rows]) & set(lesions[tune_rows])), "run": str(run.path),
}))
"""


def source() -> dict[str, Any]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_it_is_kept_without_outputs_and_without_traces_of_a_machine() -> None:
    book = source()
    for cell in book["cells"]:
        assert not cell["metadata"], cell["id"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert book["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert set(book["metadata"]) == {"kernelspec", "language_info"}
    assert set(book["metadata"]["language_info"]) == {"name"}
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not [trace for trace in ("/home/", "/root", "/Users/", "/tmp", "C:\\\\", "/content") if trace in text]


def test_it_can_be_read_in_ten_minutes_and_begins_with_the_installation() -> None:
    cells = source()["cells"]
    words = sum(len("".join(cell["source"]).split()) for cell in cells)
    assert len(cells) <= 30
    assert words < 1500
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert '%pip install --quiet "{wheel.resolve()}[train]"' in first
    assert 'find_spec("melascope") is None' in first


@pytest.mark.train
@pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter_client|jupyter_core|nbclient|zmq|tornado).*")
def test_it_runs_as_it_is_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    for name in ("MELASCOPE_CACHE", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    work = tmp_path / "work"
    work.mkdir()
    book = nbformat.read(NOTEBOOK, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(FACTS))
    resources = {"metadata": {"path": str(work)}}
    NotebookClient(book, timeout=900, kernel_name="python3", resources=resources).execute()

    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 7
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "WARNING" not in printed
    assert "usable with exclusions" in printed
    assert "Melanoma sensitivity at the screening threshold" in printed
    assert "95 % interval" in printed
    facts = json.loads(printed.strip().splitlines()[-1])
    _what_the_text_says(facts)
    assert (work / facts["run"] / "report.html").exists()
    assert (work / "course-project" / "AUDIT" / "report.html").exists()
    assert sorted(path.name for path in work.iterdir()) == ["course-project"]


def _what_the_text_says(facts: dict[str, Any]) -> None:
    train, tune = facts["overfitted"]
    assert train > 0.85
    assert train - tune > 0.1, "plain: the curves part"
    less, still = facts["augmented"]
    assert less - still < (train - tune) / 2, "augmented: the gap is nearly gone"
    assert still > tune - 0.1
    assert facts["shared"] > 0.8
    assert facts["flattering"]["low"] > facts["honest"]["value"], "copies split at random flatter"
    assert max(facts["drawn"]) - min(facts["drawn"]) <= 1
    assert facts["together"] == 0
    assert facts["shuffled"]["high"] < facts["balanced_accuracy"]["low"]
    chance = 1 / len(facts["classes"])
    assert facts["shuffled"]["low"] <= chance + 0.1
