"""The examples on the pages of the rooms datasets and audit run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from melascope import datasets

PAGES = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["datasets", "audit"])
def test_the_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("melascope.datasets.readers.READERS", dict(datasets.READERS))
    monkeypatch.setattr(datasets, "READERS", dict(datasets.READERS))
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 2
    for block in blocks:
        exec(compile(block, f"docs/{page}.md", "exec"), names)
