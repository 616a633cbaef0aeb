from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from melascope import diagnosis
from melascope.bundle.trained_on import TrainedOn
from melascope.errors import DataError
from melascope.evaluation import mark_trained_on, predict_table, predictions_of
from melascope.evaluation.predictions import common_classes, vocabulary
from melascope.finding import Refusal
from melascope.statistics import softmax


@dataclass(frozen=True)
class Raw:
    logits: np.ndarray | None
    refusal: Refusal | None
    sha256: str | None


class Fake:
    """A predictor of two classes that cannot read `bad.jpg` and overflows on `odd.jpg`."""

    classes = ("MEL", "NV")

    def stream(self, paths: Sequence[str]) -> Iterator[tuple[int, Raw]]:
        for i, path in enumerate(paths):
            if path == "bad.jpg":
                yield i, Raw(None, Refusal("truncated", "bad.jpg ends early."), None)
            elif path == "odd.jpg":
                yield i, Raw(np.array([np.inf, 0.0]), None, "cd" * 32)
            else:
                yield i, Raw(np.array([float(i), 0.0]), None, "ab" * 32)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits, 2.0)


def table(paths: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"image_id": paths, "path": paths, "diagnosis": ["MEL"] * len(paths), "site": "back"})


def test_refused_photographs_keep_their_row() -> None:
    calls = []
    frame = predict_table(
        Fake(),
        table(["a.jpg", "bad.jpg", "odd.jpg", "b.jpg"]).set_index(pd.Index([9, 8, 7, 6])),
        lambda *a: calls.append(a),
    )
    assert frame["path"].tolist() == ["a.jpg", "bad.jpg", "odd.jpg", "b.jpg"]
    assert frame["error_kind"].fillna("").tolist() == ["", "truncated", "not_finite", ""]
    assert frame["error"][1] == "bad.jpg ends early."
    assert frame["p_MEL"].isna().tolist() == [False, True, True, False]
    assert frame["p_MEL"][3] == pytest.approx(softmax(np.array([[3.0, 0]]), 2.0)[0, 0])
    assert frame["logit_MEL"][3] == 3
    assert frame["sha256"][0] == "ab" * 32
    assert frame["site"].tolist() == ["back"] * 4
    assert frame["lesion_id"].isna().all()
    assert calls[0] == ("predict", 0, 4)
    assert calls[-1] == ("predict", 4, 4)


def test_all_refused_and_none_at_all() -> None:
    assert predict_table(Fake(), table(["bad.jpg"]))["p_NV"].isna().all()
    assert len(predict_table(Fake(), table([]))) == 0


def test_predictions_of_logits_at_hand() -> None:
    frame = predictions_of(table(["a", "b"]), np.array([[1.0, 0], [np.nan, 0]]), ("MEL", "NV"), temperature=0.5)
    assert frame["p_MEL"][0] == pytest.approx(softmax(np.array([[1.0, 0]]), 0.5)[0, 0])
    assert frame["error"].notna().tolist() == [False, True]
    with pytest.raises(DataError, match="do not fit 2 photographs of 3 classes"):
        predictions_of(table(["a", "b"]), np.zeros((2, 2)), ("MEL", "NV", "BCC"))


def test_trained_on_by_bytes_and_by_picture() -> None:
    frame = predict_table(Fake(), table(["a.jpg", "bad.jpg", "odd.jpg"]))
    hashes = np.zeros((3, 32), np.uint8)
    hashes[1:] = 255
    hashes[2, 0] = 254
    known = TrainedOn.of(["ab" * 32, "ef" * 32], np.stack([hashes[0] + 85, hashes[1]]))
    assert mark_trained_on(frame, known)["trained_on"].tolist() == [True, False, False]
    assert mark_trained_on(frame, known, hashes, 1)["trained_on"].tolist() == [True, True, True]
    assert mark_trained_on(frame, known, hashes, 0)["trained_on"].tolist() == [True, True, False]


def test_vocabulary_is_the_finest_that_holds_the_labels() -> None:
    ham = ["MEL", "NV", "AKIEC", "BKL"]
    assert vocabulary(ham, diagnosis.ISIC_2019).classes == diagnosis.ISIC_2018
    assert vocabulary(ham, diagnosis.ISIC_2019).coarsened
    assert vocabulary(["PBK", "SK", "MEL"], diagnosis.ISIC_2019).classes == diagnosis.ISIC_2019
    assert vocabulary(["BKL", "MEL", "AK"], diagnosis.ISIC_FOLDERS).classes == diagnosis.ISIC_2019
    assert vocabulary(["AK", "SCC", "MEL"], diagnosis.ISIC_2018).classes == diagnosis.ISIC_2018
    kept = vocabulary(["NV", "MEL"], ("NV", "MEL"))
    assert (kept.classes, kept.coarsened) == (("NV", "MEL"), False)


def test_common_classes_of_two_models() -> None:
    assert common_classes(diagnosis.ISIC_FOLDERS, diagnosis.ISIC_2019) == diagnosis.ISIC_2019
    assert common_classes(diagnosis.ISIC_2018, diagnosis.ISIC_2019) == diagnosis.ISIC_2018
    assert common_classes(("MEL", "NV"), ("MEL", "BCC")) is None
