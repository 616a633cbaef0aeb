from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope.errors import DataError
from melascope.evaluation import evaluate, predict_table
from melascope.evaluation.sources import Remembering, source_told, worth_telling

N = 120
GROUPS = [f"g{i // 2}" for i in range(N)]
SOURCES = np.repeat(["here", "there", "elsewhere"], N // 3)


def embeddings(shift: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(N, 6))
    values[:, 0] += shift * np.repeat([0.0, 1.0, 2.0], N // 3)
    return values


def test_a_source_that_shows_is_told_and_one_that_does_not_is_not() -> None:
    clear = source_told(embeddings(8), SOURCES, GROUPS, draws=200)
    blind = source_told(embeddings(0), SOURCES, GROUPS, draws=200)
    assert clear is not None
    assert blind is not None
    assert clear["balanced_accuracy"]["value"] > 0.95
    assert clear["told"]
    assert clear["chance"] == pytest.approx(1 / 3)
    assert "0.33" in clear["text"]
    assert not blind["told"]
    assert blind["balanced_accuracy"]["low"] < 1 / 3 < blind["balanced_accuracy"]["high"]
    assert clear == source_told(embeddings(8), SOURCES, GROUPS, draws=200)


def test_copies_of_one_lesion_do_not_teach_their_source() -> None:
    twice = np.repeat(embeddings(0)[::2], 2, axis=0)
    found = source_told(twice, SOURCES, GROUPS, draws=100)
    assert found is not None
    assert not found["told"]


def test_the_diagnosis_may_tell_the_source_by_itself() -> None:
    found = source_told(embeddings(0), SOURCES, GROUPS, diagnoses=np.repeat(["MEL", "NV", None], N // 3), draws=100)
    assert found is not None
    assert found["by_diagnosis"]["value"] == 1
    assert "the diagnosis alone 1.00" in found["text"]


def test_unknown_and_small_sources_are_left_out() -> None:
    sources = SOURCES.astype(object)
    sources[:3], sources[3:10] = None, "tiny"
    found = source_told(embeddings(4), sources, GROUPS, draws=50)
    assert found is not None
    assert set(found["sources"]) == {"here", "there", "elsewhere"}
    assert found["left_out"] == 10
    assert source_told(embeddings(4), ["here"] * N, GROUPS) is None
    with pytest.raises(DataError, match="each of 120"):
        source_told(embeddings(4), ["here"])


class Faked:
    classes = ("MEL", "NV")

    def __init__(self, values: np.ndarray, logits: np.ndarray) -> None:
        self.values, self.logits = values, logits

    def stream(self, paths: Sequence[str]) -> Iterator[tuple[int, Any]]:
        for row in range(len(paths)):
            refused = row == 1
            yield (
                row,
                SimpleNamespace(
                    logits=None if refused else self.logits[row],
                    embedding=None if refused else self.values[row],
                    refusal=SimpleNamespace(message="No.", kind="empty") if refused else None,
                    sha256=None,
                ),
            )

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        return np.full(logits.shape, 0.5)


def test_an_evaluation_says_how_well_the_source_is_told() -> None:
    melanoma = np.arange(N) % 2 == 0
    part = np.where(np.arange(N) % 8 < 6, "test", "train")
    table = pd.DataFrame(
        {
            "image_id": [str(i) for i in range(N)],
            "path": "x.jpg",
            "diagnosis": np.where(melanoma, "MEL", "NV"),
            "source": SOURCES,
            "part": part,
        }
    )
    rows = worth_telling(table)
    assert set(rows.tolist()) == set(np.flatnonzero(part == "test").tolist())
    assert not len(worth_telling(table.assign(source="here")))
    assert not len(worth_telling(table.drop(columns="source")))
    predictor = Remembering(Faked(embeddings(8), np.stack([melanoma, ~melanoma], axis=1).astype(float)), rows)
    predictions = predict_table(predictor, table)
    assert set(predictor.embeddings) == set(rows.tolist()) - {1}
    decision = {"classes": ["MEL", "NV"], "operating_points": {}}
    found = evaluate(predictions, decision, embeddings=predictor.embeddings, draws=50)["source_told"]
    assert found["told"]
    assert found["balanced_accuracy"]["n"] == len(rows) - 1
    assert evaluate(predictions, decision, draws=20)["source_told"] is None


def test_sources_that_only_lesion_ids_tell_are_compared_and_said() -> None:
    """As in the nine-class set, of which no table names a source and two thirds are HAM10000's."""
    melanoma = np.arange(N) % 2 == 0
    table = pd.DataFrame(
        {
            "image_id": [str(i) for i in range(N)],
            "path": "x.jpg",
            "diagnosis": np.where(melanoma, "MEL", "NV"),
            "lesion_id": [f"HAM_{i // 2}" if i < N // 2 else f"own_{i // 2}" for i in range(N)],
        }
    )
    rows = worth_telling(table)
    assert len(rows) == N
    predictor = Remembering(Faked(embeddings(8), np.stack([melanoma, ~melanoma], axis=1).astype(float)), rows)
    predictions = predict_table(predictor, table)
    assert predictions["source"].isna().all(), "what nobody recorded is not written as if he had"
    decision = {"classes": ["MEL", "NV"], "operating_points": {}}
    found = evaluate(predictions, decision, embeddings=predictor.embeddings, draws=20)
    names = {"HAM10000", "not told by the lesion id"}
    assert set(found["source_told"]["sources"]) == set(found["parts"]["test"]["subgroups"]["source"]) == names
    told = "Sources are not recorded; lesion ids tell them: HAM10000, not told by the lesion id."
    assert any(note.startswith(f"{told} The test part joins several sources") for note in found["notes"])
    one = evaluate(predictions[: N // 2], decision, draws=20)
    assert "Sources are not recorded; lesion ids tell them: HAM10000." in one["notes"]
    named = evaluate(predictions.assign(source="Ours"), decision, draws=20)
    assert not any(note.startswith("Sources are not recorded") for note in named["notes"])
    unknown = evaluate(predictions.drop(columns="lesion_id"), decision, draws=20)
    assert any("it cannot be shown that the source" in note for note in unknown["notes"])
