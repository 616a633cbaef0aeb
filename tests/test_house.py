"""What holds for the whole house: light imports, no network, no registry addresses."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def _imported(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name.split(".")[0] for name in done.stdout.split()}


def test_import_melascope_is_light():
    assert not _imported("import melascope") & {"numpy", "pandas", "keras", "openvino", "matplotlib"}


@pytest.mark.parametrize("room", ["statistics", "images", "datasets", "bundle", "reports", "audit", "evaluation"])
def test_no_room_but_training_needs_the_training_framework(room):
    loaded = _imported(f"import melascope.{room}")
    assert not loaded & {"keras", "tensorflow", "sklearn", "scipy", "pydantic"}


def test_predicting_imports_neither_tables_nor_plots():
    loaded = _imported("from melascope.bundle import Predictor; import melascope.cli.predict")
    assert not loaded & {"pandas", "matplotlib", "keras"}


def test_requirements_have_hashes_and_no_addresses():
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        pins = [line for line in text.splitlines() if re.match(r"[a-z0-9].*==", line)]
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)
        assert "http" not in text
        assert not re.search(r"^(torch|.*GPL)", text, re.M)


def test_an_extra_that_a_pinned_package_asks_for_is_pinned_with_it():
    """Else a pip older than 23.3 takes the newest release of that package, which has no hash here, and stops."""
    pins = re.findall(r"^([a-z0-9][^=\s]*)==", (ROOT / "requirements" / "dev.txt").read_text(), re.M)
    pinned = {requirement.name: requirement.extras for requirement in map(Requirement, pins)}
    assert "pytest-cov" in pinned
    wanted = [
        Requirement(text)
        for name in pinned
        for text in _requires(name)
        if "extra ==" not in text and Requirement(text).extras
    ]
    assert [str(each) for each in wanted if not each.extras <= pinned.get(each.name, set())] == []


def _requires(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:  # a pin for another system
        return []


def test_training_without_its_extra_says_which_to_install(monkeypatch):
    from melascope import environment
    from melascope.cli.main import _run

    monkeypatch.delenv("MELASCOPE_DEBUG", raising=False)
    for name in [name for name in sys.modules if name.startswith("melascope.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(environment, "missing_for_training", lambda: ["keras"])
    assert _run(["run", "photographs", "--out", "RUN"]) == 2
    with pytest.raises(ImportError, match=r"melascope\[train\]"):
        importlib.import_module("melascope.training")
