"""What a recipe's [search] may say, what it means, and what is refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from melascope.errors import RecipeError
from melascope.training import recipe as recipes
from melascope.training import search_section
from melascope.training.search_space import Space

RATE = '"optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }'


def space(text: str, base: str = "small-cnn") -> Space:
    return search_section.parse(tomllib.loads(text), recipes.load(base), "mine.toml")


class Drawing:
    """Draws the lowest value or the first choice, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> Any:
        self.asked.append((name, low, high, step, log))
        return low

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any:
        self.asked.append((name, low, high, step, log))
        return low

    def suggest_categorical(self, name: str, choices: list[str]) -> Any:
        self.asked.append((name, tuple(choices)))
        return choices[0]


def test_ranges_steps_and_choices_are_drawn_and_stand_in_the_recipe():
    found = space(
        f"""{RATE}
        "network.dropout" = {{ low = 0, high = 0.6, step = 0.1 }}
        "network.widths" = [[16, 32], [32, 64]]
        "schedule.epochs" = {{ low = 10, high = 40, step = 10 }}
        "network.batch_norm" = {{ choices = [true, false] }}
        "network.convolutions" = [1, 2]"""
    )
    drawing = Drawing()
    drawn = found.suggest(drawing)
    assert drawing.asked == [
        ("optimiser.learning_rate", 1e-4, 1e-2, None, True),
        ("network.dropout", 0.0, 0.6, 0.1, False),
        ("network.widths", ("[16, 32]", "[32, 64]")),
        ("schedule.epochs", 10, 40, 10, False),
        ("network.batch_norm", ("true", "false")),
        ("network.convolutions", ("1", "2")),
    ]
    recipe = found.recipe(drawn | {"network.dropout": 0.30000000000000004, "optimiser.learning_rate": 0.00123456})
    assert recipe.optimiser.learning_rate == 0.001235
    assert recipe.network.dropout == 0.3
    assert recipe.network.widths == (16, 32)
    assert recipe.network.batch_norm is True
    assert recipe.schedule.epochs == 10
    assert recipes.parse(tomllib.loads(recipe.dumps())) == recipe


def test_the_recipe_as_it_stands_is_a_point_of_its_space_or_is_not():
    assert space(RATE).start() == {"optimiser.learning_rate": 0.001}
    assert space('"network.widths" = [[24, 48, 96, 192], [8, 8, 8, 8]]').start() == {
        "network.widths": "[24, 48, 96, 192]"
    }
    assert space('"network.dropout" = { low = 0.4, high = 0.6 }').start() is None
    assert space('"network.dropout" = { low = 0.0, high = 0.4, step = 0.2 }').start() is None


def test_a_key_may_stand_without_quotes():
    assert space("network.dropout = { low = 0.1, high = 0.5 }").dimensions[0].key == "network.dropout"


def test_whole_numbers_for_a_decimal_value_mean_decimals():
    found = space('"network.l2" = { low = 0, high = 1 }')
    assert not found.dimensions[0].whole
    assert space('"data.batch_size" = { low = 8, high = 64, log = true }').dimensions[0].whole


def test_a_value_may_be_searched_only_where_another_calls_for_it():
    found = space(
        """"optimiser.momentum" = { low = 0.5, high = 0.9, when = { "optimiser.name" = ["sgd", "rmsprop"] } }
        "optimiser.name" = ["adam", "sgd", "rmsprop"]"""
    )
    assert list(found.suggest(Drawing())) == ["optimiser.name"]
    assert found.recipe({"optimiser.name": "sgd", "optimiser.momentum": 0.7}).optimiser.momentum == 0.7
    assert "where optimiser.name is rmsprop or sgd" in found.dimensions[1].told()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('"optimiser.learning_rat" = [1, 2]', 'did you mean "optimiser.learning_rate"'),
        ("dropout = [0.1, 0.2]", 'did you mean "network.dropout"'),
        ('"expected.date" = ["a", "b"]', "no value of a recipe"),
        ('"network.dropout" = 0.3', "neither a range nor choices"),
        ('"network.dropout" = { low = 0.1 }', "high is missing"),
        ('"network.dropout" = { low = 0.1, high = 0.3, stepp = 0.1 }', 'did you mean "step"'),
        ('"network.dropout" = { low = 0.3, high = 0.3 }', "is not below"),
        ('"network.dropout" = { low = "0.1", high = 0.3 }', "is no number"),
        ('"network.dropout" = { low = 0.1, high = inf }', "is no number"),
        ('"network.dropout" = { low = 0.0, high = 0.5, step = 0.3 }', "does not lead"),
        ('"network.dropout" = { low = 0.0, high = 0.5, log = true }', "must be above 0"),
        ('"network.dropout" = { low = 0.1, high = 0.5, log = true, step = 0.1 }', "both log and step"),
        ('"network.dropout" = { low = 0.1, high = 0.5, log = 1 }', "true or false"),
        ('"network.dropout" = { low = 0.1, high = 0.5, choices = [1, 2] }', "both choices and a range"),
        ('"network.widths" = [[8, 8]]', "two or more"),
        ('"network.widths" = [[8, 8], [8, 8]]', "twice"),
        ('"network.dropout" = { low = 0, high = 1 }', "network.dropout = 1.0"),
        ('"schedule.epochs" = { low = 10.0, high = 40.0 }', "valid integer"),
        ('"schedule.epochs" = { low = 1, high = 40 }', "warmup_epochs = 2"),
        ('"optimiser.name" = ["adam", "sgd"]\n"optimiser.momentum" = { low = 0.5, high = 0.9 }', "momentum belongs"),
        ('"balance.sampling" = ["none", "sqr"]', "balance.sampling"),
        ('"network.dropout" = { low = 0.1, high = 0.5, when = "adam" }', "one key and its value"),
        ('"network.dropout" = { low = 0.1, high = 0.5, when = { "optimiser.name" = "sgd" } }', "not among the choices"),
        (
            '"optimiser.momentum" = { low = 0.1, high = 0.5, when = { "optimiser.name" = "sgd" } }',
            'not among the choices searched. Add it to [search] with its choices, such as "optimiser.name" = [...].',
        ),
        (
            '"optimiser.name" = ["adam", "sgd"]\n'
            '"network.dropout" = { low = 0.1, high = 0.5, when = { "optimiser.name" = "sdg" } }',
            'did you mean "sgd"',
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_sentence(text, told):
    with pytest.raises(RecipeError, match=r"mine\.toml: ") as refused:
        space(text)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_of_a_large_space_every_choice_is_tried_at_the_start():
    many = "\n".join(
        f'"augmentation.{key}" = [0.0, 0.1, 0.2]' for key in ("rotation", "shift", "brightness", "contrast")
    )
    many += f'\n{RATE}\n"network.dropout" = [0.1, 0.2]\n"network.kernel" = [3, 5, 7, 9, 11, 33]'
    with pytest.raises(RecipeError, match=r"network\.kernel = 33"):
        space(many)


def test_a_recipe_without_a_search_is_told_what_to_write(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"no section \[search\].*optimiser\.learning_rate"):
        search_section.load("small-cnn")
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "small-cnn"\n[search]\n{RATE}\n')
    assert search_section.load(path).base == recipes.load("small-cnn").replace(
        name="mine", description="Extends small-cnn."
    )


def test_the_recipe_that_comes_with_a_search_can_be_tuned_and_trained():
    found = search_section.load("small-cnn-search")
    assert len(found.dimensions) >= 5
    assert found.start() is not None
    assert recipes.load("small-cnn-search").schedule.epochs == 30


def test_the_example_of_the_docs_can_be_tuned():
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    tree = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    found = search_section.parse(tree["search"], recipes.load(tree["extends"]), "docs/tuning.md")
    assert len(found.dimensions) == 7
    for key in ("log", "step", "when"):
        assert f"{key} = " in page


def test_a_value_that_can_have_no_effect_in_the_whole_space_is_refused():
    with pytest.raises(
        RecipeError, match=r'\[search\] optimiser\.focal_gamma has no effect with loss = "cross_entropy"'
    ):
        space('"optimiser.focal_gamma" = { low = 1.0, high = 4.0 }')
    with pytest.raises(RecipeError, match=r"\[search\] schedule\.plateau_factor has no effect"):
        space('"schedule.plateau_factor" = [0.1, 0.5]', "plain-cnn")
    # Nor is it saved by an end that is the default, of which nobody says anything.
    with pytest.raises(RecipeError, match=r"\[search\] optimiser\.focal_gamma has no effect"):
        space('"optimiser.focal_gamma" = { low = 2.0, high = 4.0 }')
    with pytest.raises(RecipeError, match=r"\[search\] network\.dense_dropout has no effect"):
        space('"network.dense_dropout" = { low = 0.0, high = 0.5 }')


def test_a_value_that_has_an_effect_in_some_corners_may_be_searched():
    found = space(
        """"augmentation.randaugment" = { low = 0, high = 2 }
        "augmentation.randaugment_magnitude" = { low = 0.1, high = 0.9 }
        "optimiser.loss" = ["cross_entropy", "focal"]
        "optimiser.focal_gamma" = { low = 1.0, high = 4.0, when = { "optimiser.loss" = "focal" } }"""
    )
    drawn = found.recipe({"augmentation.randaugment": 0, "augmentation.randaugment_magnitude": 0.5})
    assert drawn.augmentation.randaugment_magnitude == 0.5
    assert recipes.parse(tomllib.loads(drawn.dumps())) == drawn


def test_the_best_recipe_loads_although_a_value_that_was_drawn_is_idle(tmp_path: Path):
    found = space('"augmentation.randaugment" = [0, 2]\n"augmentation.randaugment_magnitude" = [0.5, 0.9]')
    drawn = found.recipe({"augmentation.randaugment": "0", "augmentation.randaugment_magnitude": "0.9"})
    (tmp_path / "best.toml").write_text(drawn.dumps())
    assert recipes.load(tmp_path / "best.toml") == drawn


def test_a_recipe_stands_for_each_way_in_which_trainings_end():
    found = search_section.beginnings(
        space('"schedule.keep" = ["last", "best"]\n"optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }')
    )
    assert sorted(recipe.schedule.keep for recipe in found) == ["best", "last"]


def test_a_frozen_backbone_that_learnt_nothing_is_refused_before_any_work():
    from melascope.training.cross_validated import load_distinct

    with pytest.raises(RecipeError, match="freezes a backbone that has learnt nothing"):
        load_distinct(["small-cnn", "mobilenetv2-finetuned"], None)


def test_what_decides_nothing_of_a_recipe_lets_an_experiment_go_on(tmp_path: Path):
    from melascope.errors import RunError
    from melascope.training.experiment import _refuse_other

    record, small = tmp_path / "record.json", recipes.load("small-cnn")
    begun = {"schema": 1, "kind": "learning-curve", "settings": {"recipe": small.dumps()}}
    record.write_text(json.dumps(begun))
    again = small.model_copy(update={"expected": recipes.load("plain-cnn").expected})
    _refuse_other(tmp_path, record, {**begun, "settings": {"recipe": again.dumps()}})
    other = small.replace(network={"dropout": 0.5})
    with pytest.raises(RunError, match=r"network.dropout: 0.3 then, 0.5 now"):
        _refuse_other(tmp_path, record, {**begun, "settings": {"recipe": other.dumps()}})
