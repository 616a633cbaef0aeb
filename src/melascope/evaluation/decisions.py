"""What is done with each photograph as deployed: alert, referral or neither, and what the referrals are for.

Sensitivity and specificity are of alerts alone. A melanoma that is referred is
not missed, and a benign lesion that is referred costs a visit: both are told
here, from the findings that a user would get.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from melascope.bundle.doubts import DERMOSCOPIC
from melascope.evaluation.sample import Sample
from melascope.finding import Finding
from melascope.image_id import canonical_id
from melascope.images.quality import TOO_POOR
from melascope.progress import Progress, silent
from melascope.statistics import bootstrap, interval
from melascope.statistics.intervals import FEW, Array

DECISIONS = ("alert", "refer", "no_alert")
DOUBTS = ("novelty", "quality", "modality", "age or site")


class Judges(Protocol):
    """What `with_decisions` needs of a predictor; `melascope.bundle.Predictor` is one."""

    def predict(
        self, paths: Sequence[str], *, about: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Iterator[Finding]:
        """Yield a finding for each photograph, in order."""
        ...


def with_decisions(
    predictor: Judges, predictions: pd.DataFrame, progress: Progress | None = None, part: str = "test"
) -> pd.DataFrame:
    """Return the predictions with the columns `decision` and `doubts`, empty for other parts and refused photographs.

    Args:
        predictor: The deployed one, which looks at quality, novelty, age and site too.
        predictions: As `predict_table` returns them; rows without a part are test.
        progress: Called with `decisions`, photographs done and in all.
        part: Whose photographs are asked for.
    """
    report = progress or silent
    where = predictions["part"].astype("string").fillna("test") if "part" in predictions else None
    wanted = np.ones(len(predictions), bool) if where is None else (where == part).to_numpy(dtype=bool)
    rows = np.flatnonzero(wanted & predictions["error"].isna().to_numpy(dtype=bool))
    chosen = predictions.iloc[rows]
    known = [name for name in ("age", "site") if name in chosen]
    about = {
        canonical_id(name): {column: cell for column, cell in zip(known, cells, strict=True) if not pd.isna(cell)}
        for name, *cells in zip(chosen["path"].map(_file), *(chosen[column] for column in known), strict=True)
    }
    decided: list[Any] = [None] * len(predictions)
    doubted: list[Any] = [None] * len(predictions)
    report("decisions", 0, len(rows))
    for done, (row, finding) in enumerate(zip(rows, predictor.predict(list(chosen["path"].astype(str)), about=about),
                                              strict=True), start=1):  # fmt: skip
        if finding.status == "ok":
            decided[row], doubted[row] = finding.decision, ", ".join(_doubts(finding))
        report("decisions", done, len(rows))
    return predictions.assign(
        decision=pd.array(decided, dtype="string"), doubts=pd.array(doubted, dtype="string")
    )  # fmt: skip


def _file(path: Any) -> str:
    return str(path).replace("\\", "/").rpartition("/")[2]


def _doubts(finding: Finding) -> list[str]:
    """Return what would refer a photograph that does not alert; each of the first three is told in one sentence."""
    raised = {
        "novelty": bool((finding.novelty or {}).get("outside")),
        "quality": (finding.quality or {}).get("score", 1.0) < TOO_POOR,
        "modality": finding.modality not in (None, DERMOSCOPIC),
    }
    told = [name for name, yes in raised.items() if yes]
    return [*told, *(["age or site"] if len(finding.doubts) > len(told) else [])]


def decision_section(sample: Sample, frame: pd.DataFrame, draws: int, seed: int) -> dict[str, Any] | None:
    """Return shares of each decision among melanomas, other cancers and benign lesions, and counts of the doubts.

    Args:
        sample: The scored photographs of a part.
        frame: Their predictions, in the same order.
        draws: Of the bootstrap over lesions.
        seed: Of the bootstrap.

    Returns:
        `{"groups": {name: {"n", "too_few", "alert", "refer", "no_alert"}}, "doubts": {name: {"n", "referred"}}}`;
        None where the decisions are not known.
    """
    if "decision" not in frame or frame["decision"].isna().any():
        return None
    said = frame["decision"].astype(str).to_numpy()
    melanoma, malignant = sample.truth["melanoma"], sample.truth["malignant"] | sample.truth["melanoma"]
    groups = {"melanoma": melanoma, "other_malignant": malignant & ~melanoma, "benign": ~malignant}
    named = [set(text.split(", ")) if text else set() for text in frame["doubts"].fillna("")]
    raised = {name: np.array([name in one for one in named], dtype=bool) for name in DOUBTS}
    return {
        "groups": {name: _shares(sample, said, rows, draws, seed) for name, rows in groups.items() if rows.any()},
        "doubts": {
            name: {"n": int(yes.sum()), "referred": int((yes & (said == "refer")).sum())}
            for name, yes in raised.items()
        },
    }


def _shares(sample: Sample, said: Array, rows: Array, draws: int, seed: int) -> dict[str, Any]:
    units, fired = sample.groups[rows], {name: said[rows] == name for name in DECISIONS}
    n, distinct = int(rows.sum()), len(np.unique(units))
    drawn = bootstrap(
        lambda w: {name: (w * yes[:, None]).sum(axis=0) / w.sum(axis=0) for name, yes in fired.items()},
        units, np.zeros(n, dtype=np.int64), draws, seed, n,
    )  # fmt: skip
    return {
        "n": n,
        "too_few": distinct < FEW,
        **{name: interval(drawn[name], float(yes.mean()), n, distinct).to_json() for name, yes in fired.items()},
    }
