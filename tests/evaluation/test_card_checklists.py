from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from melascope.evaluation import evaluate
from melascope.evaluation.card_checklists import Facts, Item, Status, anchor, table
from melascope.evaluation.card_claim import claim
from melascope.evaluation.card_clear_derm import clear_derm
from melascope.evaluation.card_data import data_of, known

Judged = tuple[pd.DataFrame, dict[str, Any]]


@pytest.fixture(scope="module")
def facts(judged: Judged, table: pd.DataFrame) -> Facts:
    predictions, decision = judged
    recipe = {"network": {"name": "cnn", "head": "pooled"}}
    return Facts(evaluate(predictions, decision, draws=20), decision, recipe, data_of(table), True, True)


def by_number(items: list[Item]) -> dict[int, Item]:
    return {item.number: item for item in items}


def test_all_items_are_there_once_and_answered_somehow(facts: Facts) -> None:
    for items, n in ((claim(facts), 44), (clear_derm(facts), 25)):
        assert [item.number for item in items] == list(range(1, n + 1))
        assert len({item.asks for item in items}) == n
        for item in items:
            assert item.status in get_args(Status)
            assert item.asks
            assert item.answer
            assert "|" not in item.asks + item.answer
            # What is answered points to where.
            assert item.status != "answered" or "](#" in item.answer or "`docs/" in item.answer


def test_external_testing_is_answered_only_where_a_source_was_held_out(facts: Facts, table: pd.DataFrame) -> None:
    assert by_number(claim(facts))[33].status == "not done"
    assert by_number(clear_derm(facts))[12].status == "not done"
    held_out = table.assign(source=np.where(table["part"] == "test", "elsewhere", "here"))
    other = replace(facts, data=data_of(held_out))
    assert other.external == ["elsewhere"]
    answer = by_number(claim(other))[33]
    assert answer.status == "answered"
    assert "elsewhere" in answer.answer
    assert by_number(clear_derm(other))[12].status == "answered"


def test_answers_follow_what_the_run_knows(facts: Facts, table: pd.DataFrame) -> None:
    assert by_number(claim(facts))[14].status == "partly"
    assert by_number(claim(facts))[7].status == "answered"
    sure = replace(facts, data=data_of(table.assign(confirmed_by="histo", modality="dermoscopic")))
    assert by_number(claim(sure))[14].status == "answered"
    assert by_number(clear_derm(sure))[1].status == "answered"
    bare = replace(facts, data=None, recipe={}, software=False, failures=False)
    for number in (22, 23, 24, 31, 36):
        assert by_number(claim(bare))[number].status == "not done"
    assert by_number(claim(bare))[39].status == "partly"


def test_subgroups_and_skin_tone(facts: Facts) -> None:
    bias = by_number(clear_derm(facts))[23]
    assert bias.status == "partly"
    assert "by source, sex, age" in bias.answer
    assert by_number(clear_derm(facts))[8].status == "not done"
    part = {**facts.part, "subgroups": {**facts.part["subgroups"], "skin_tone": {}}}
    toned = replace(facts, metrics={**facts.metrics, "parts": {**facts.metrics["parts"], "test": part}})
    assert by_number(clear_derm(toned))[23].status == "answered"
    assert by_number(clear_derm(toned))[8].status == "partly"
    without = {**facts.metrics, "parts": {**facts.metrics["parts"], "test": {**facts.part, "subgroups": {}}}}
    assert by_number(clear_derm(replace(facts, metrics=without)))[23].status == "not done"


def test_parts_that_share_lesions_are_not_called_apart(facts: Facts) -> None:
    assert by_number(claim(facts))[20].status == "partly"
    part = {**facts.part, "n_lesions": {"known": 80, "assumed": 0}}
    sure = replace(facts, metrics={**facts.metrics, "parts": {**facts.metrics["parts"], "test": part}})
    assert by_number(claim(sure))[20].status == "answered"
    filed = replace(facts, metrics={**facts.metrics, "optimistic": True, "protocol": "as-filed"})
    assert by_number(claim(filed))[20].status == "not done"
    assert by_number(clear_derm(filed))[10].status == "not done"


def test_the_table_counts_its_answers() -> None:
    items = [Item(1, "a", "answered", "here"), Item(2, "b", "not done", "no"), Item(3, "c", "answered", "there")]
    lines = table("A list", "By us.", items)
    assert "By us. 3 items: 2 answered, 1 not done." in lines
    assert "| 2 | b | **not done:** no |" in lines
    assert anchor("Shift and prevalence") == "shift-and-prevalence"


@pytest.mark.parametrize(
    ("source", "name"),
    [("HAM10000", "HAM10000"), ("ham_10000", "HAM10000"), ("ISIC 2017", "ISIC 2017"), ("isic-2019", "ISIC 2019"),
     ("nine-class set", "nine-class set"), ("BCN20000", "BCN20000"), ("our clinic", None)],
)  # fmt: skip
def test_public_sets_are_known_by_their_names(source: str, name: str | None) -> None:
    found = known(source)
    assert (found.name if found else None) == name
