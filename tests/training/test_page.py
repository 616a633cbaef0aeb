from __future__ import annotations

import re
from pathlib import Path

import pytest

import melascope.training
from melascope.training import recipe as recipes

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def test_the_page_names_every_public_function() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in melascope.training.__all__ if f"`{name}" not in text] == []


def test_the_page_names_every_key_of_a_recipe_and_every_built_in_recipe() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for section, field in recipes.Recipe.model_fields.items():
        keys = getattr(field.annotation, "model_fields", {})
        assert [f"{section}.{key}" for key in keys if section != "expected" and f"`{key}`" not in text] == []
    assert [name for name in recipes.names() if f"`{name}`" not in text] == []


@pytest.mark.train
def test_the_examples_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), space)


def test_the_room_says_what_it_does_not_have() -> None:
    assert set(melascope.training.__all__) <= set(dir(melascope.training))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = melascope.training.nonsense
