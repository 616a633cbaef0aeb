"""Evaluation: from predictions to `metrics.json`.

Pure: the same predictions and decision give the same numbers. Thresholds and
calibration come with the decision, which was made on `calibrate`; nothing here
is fitted to the part that is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from melascope.datasets import origins
from melascope.errors import DataError
from melascope.evaluation import part as sections
from melascope.evaluation import record, sources, statements
from melascope.evaluation.decisions import decision_section
from melascope.evaluation.measures import Scores, distinct
from melascope.evaluation.predictions import Vocabulary, mark_trained_on, vocabulary
from melascope.evaluation.record import PARTS
from melascope.evaluation.sample import Sample, lesion_numbers, lesion_rows, lesions, photographs
from melascope.evaluation.strata import stratified_sections, within_source
from melascope.evaluation.subgroups import subgroup_sections
from melascope.progress import Progress, silent
from melascope.statistics import deployed
from melascope.statistics.intervals import DRAWS, Array

if TYPE_CHECKING:
    from melascope.bundle.trained_on import TrainedOn

SCHEMA = 1
_DESCRIPTIVE = 500  # draws for train and tune, whose scores describe the fit and judge nothing


def evaluate(
    predictions: pd.DataFrame,
    decision: Mapping[str, Any],
    *,
    model: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    audited: bool | None = None,
    trained_on: TrainedOn | None = None,
    flow: Sequence[Any] = (),
    leaks: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Any] | None = None,
    cross_fitted: bool = False,
    prevalence: float | Mapping[str, float] | None = None,
    embeddings: Mapping[int, Array] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the evaluation of a model, ready to be written as `metrics.json`.

    Args:
        predictions: As `predict_table` returns them. Rows without a part are
            test. A column `trained_on` (bool) marks photographs that the model
            knows; see `mark_trained_on`.
        decision: As in `decision.json`: `classes`, `operating_points`,
            `lesion_operating_points`, `first_choice`, `prediction_set`.
        model: `name`, `version`, `sha256`.
        protocol: Which numbers these may be compared with; default the decision's.
        audited: Whether the data passed the audit; default the decision's.
        trained_on: The bundle's list of training photographs, compared by bytes
            where the column `trained_on` is absent.
        flow: The STARD steps before scoring.
        leaks: What of the test part is in the training part, as the protocol found it.
        baselines: As `melascope.evaluation.baselines` makes them.
        cross_fitted: Whether tune and calibrate share their photographs.
        prevalence: Of melanoma, or per group of diagnoses: PPV and NPV are given only where it is stated,
            the decision curve at the share among the judged where it is not.
        embeddings: Of test photographs, `(d,)` by their number among the
            predictions, as `sources.Remembering` keeps them: do they tell the source?
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Called with `evaluate`, parts done and in all.

    Returns:
        The structure that `docs/evaluation.md` lists. The part named by
        `headline` leads: `test`, or `test_unseen` where the model was trained on
        some of the test photographs.

    Raises:
        DataError: When a class has no column, or no test photograph can be scored.
    """
    report = progress or silent
    classes = tuple(decision["classes"])
    frame = predictions.reset_index(drop=True)
    recorded = sources.recorded(frame)
    frame["source"] = origins(frame)
    if "trained_on" not in frame.columns and trained_on is not None:
        frame = mark_trained_on(frame, trained_on)
    where = frame["part"].astype("string").fillna("test") if "part" in frame.columns else pd.Series("test", frame.index)
    words = vocabulary([str(code) for code in frame["diagnosis"].dropna().unique()], classes)
    chosen = {name: (where == name).to_numpy(dtype=bool) for name in PARTS}
    chosen |= _narrower(frame, chosen["test"])
    maker = _Maker(frame, classes, words, decision, _prevalences(prevalence), draws, seed)
    if not words.coarsened:
        maker.calibrate = maker.scored(chosen["calibrate"])
    parts: dict[str, Any] = {}
    for done, (name, rows) in enumerate(chosen.items()):
        report("evaluate", done, len(chosen))
        section = maker.part(name, rows)
        if section is not None:
            parts[name] = section
    report("evaluate", len(chosen), len(chosen))
    if "test" not in parts:
        raise DataError(record.nothing(frame, chosen["test"], words))
    name = protocol or str(decision.get("protocol") or "unstated")
    # What was published counts the copies of what was trained on too; that is what the protocol is there to show.
    headline = "test_unseen" if "test_unseen" in parts and name != "as-published" else "test"
    known = record.known(frame, chosen["test"])
    return {
        "schema": SCHEMA,
        "protocol": name,
        "optimistic": name in ("as-filed", "as-published"),
        "audited": bool(decision.get("audited", False)) if audited is None else audited,
        "cross_fitted": cross_fitted,
        "headline": headline,
        "model": dict(model or {"name": decision.get("name"), "version": decision.get("version"), "sha256": None}),
        "classes": list(classes),
        "first_choice": {"prior": maker.prior, "text": record.first_choice_words(decision, words.coarsened)},
        "unit": record.unit_of(frame, draws, seed),
        "trained_on": known,
        "flow": record.flow_of(flow, frame, parts, chosen),
        "leaks": dict(leaks) if leaks is not None else None,
        "notes": [
            *record.notes_of(parts, headline, words, classes, known, frame, chosen, recorded),
            record.first_choice_words(decision, words.coarsened),
        ],
        "baselines": dict(baselines or {}),
        "source_told": sources.of_predictions(embeddings or {}, frame, chosen[headline], seed),
        "parts": parts,
    }


def _prevalences(prevalence: float | Mapping[str, float] | None) -> dict[str, float]:
    if prevalence is None:
        return {}
    result = dict(prevalence) if isinstance(prevalence, Mapping) else {"melanoma": float(prevalence)}
    for group, value in result.items():
        if not 0 < value < 1:
            raise DataError(f"A prevalence of {value} ({group}) is impossible; it lies between 0 and 1.")
    return result


def _deployed_first(points: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operating points with the one that decides before the others; JSON may have sorted them by name."""
    return {
        group: {name: named[name] for name in sorted(named, key=lambda name: name != deployed(named))}
        for group, named in points.items()
    }


def _narrower(frame: pd.DataFrame, test: Array) -> dict[str, Array]:
    """Return the test rows with an authority's label, and those unseen in training, where that leaves some out."""
    result = {}
    if "label_from" in frame.columns:
        sure = test & (frame["label_from"].astype("string") == "authority").fillna(False).to_numpy(dtype=bool)
        if sure.any() and sure.sum() < test.sum():
            result["test_authority_only"] = sure
    if "trained_on" in frame.columns:
        unseen = test & ~frame["trained_on"].fillna(False).to_numpy(dtype=bool)
        if unseen.any() and unseen.sum() < test.sum():
            result["test_unseen"] = unseen
    return result


class _Maker:
    """Makes the parts of one evaluation."""

    def __init__(
        self,
        frame: pd.DataFrame,
        classes: tuple[str, ...],
        words: Vocabulary,
        decision: Mapping[str, Any],
        prevalence: Mapping[str, float],
        draws: int,
        seed: int,
    ) -> None:
        self.frame, self.classes, self.words = frame, classes, words
        self.points = _deployed_first(decision.get("operating_points") or {})
        own = (decision.get("lesion_operating_points") or {}).get("points")
        self.lesion_points = _deployed_first(own) if own else None
        self.prior = (decision.get("first_choice") or {}).get("prior")
        # A set of fine classes has no calibrated meaning in coarser ones.
        self.rule = None if words.coarsened else decision.get("prediction_set")
        self.prevalence, self.draws, self.seed = prevalence, draws, seed
        self.calibrate: tuple[Sample, Sample] | None = None

    def scored(self, rows: Array) -> tuple[Sample, Sample] | None:
        """Return the photographs and the lesions of the part on which thresholds were chosen."""
        frame = self.frame[rows]
        sample, kept, _ = photographs(frame, self.classes, self.words, self.prior)
        return (sample, lesions(sample, frame[kept].reset_index(drop=True))[0]) if len(sample) else None

    def part(self, name: str, rows: Array) -> dict[str, Any] | None:
        """Return the section of a part, or None where nothing of it is scored."""
        frame = self.frame[rows].reset_index(drop=True)
        sample, kept, why = photographs(frame, self.classes, self.words, self.prior)
        if not len(sample):
            return None
        seen = frame[kept].reset_index(drop=True)
        draws = min(self.draws, _DESCRIPTIVE) if name in ("train", "tune") else self.draws
        test = name.startswith("test")
        scores = Scores(sample, self.points, draws, self.seed)
        result: dict[str, Any] = {
            "n_images": len(sample),
            "n_lesions": lesion_numbers(seen, sample.groups),
            "n_groups": distinct(sample.groups),
            "refused": record.refused(frame[~np.asarray(kept)]),
            "unscored": {key: why[key] for key in ("no_label", "outside_classes")},
            "coarsened": self.words.coarsened,
            "draws": draws,
            **self._judged(scores, self.calibrate[0] if test and self.calibrate else None),
            "curves": record.curves(sample),
            "prediction_set": statements.set_section(sample, self.rule, draws, self.seed) if test else None,
            **(
                subgroup_sections(sample, seen, self.points, self.rule, draws, self.seed)
                if test
                else {"subgroups": {}, "gaps": {}}
            ),
            **(stratified_sections(sample, seen, scores) if test else {"within_source": None, "benign": None}),
            "decisions": decision_section(sample, seen, draws, self.seed) if test else None,
            "missing": statements.missing_section(frame),
        }
        result["per_lesion"] = self._per_lesion(sample, seen, draws, test) if result["n_lesions"]["known"] else None
        return result

    def _judged(self, scores: Scores, calibrate: Sample | None, what: str = "photographs") -> dict[str, Any]:
        sample = scores.sample
        counts = np.bincount(sample.y, minlength=len(sample.classes))
        return {
            "classes": list(sample.classes),
            "class_counts": dict(zip(sample.classes, counts.tolist(), strict=True)),
            **sections.classification(scores),
            "groups": sections.group_section(scores, self.prevalence, calibrate),
            "alerts": sections.alert_section(scores),
            "calibration": sections.calibration_section(scores),
            "sample_size": statements.size_section(sample, what),
            "too_few": statements.too_few(sample),
        }

    def _per_lesion(self, sample: Sample, seen: pd.DataFrame, draws: int, test: bool) -> dict[str, Any] | None:
        one_each, counts = lesions(sample, seen)
        if not len(one_each):
            return None
        own = self.lesion_points is not None
        scores = Scores(one_each, self.lesion_points or self.points, draws, self.seed)
        # Where thresholds were chosen on photographs, no procedure on lesions can be repeated.
        calibrate = self.calibrate[1] if own and test and self.calibrate else None
        return {
            "n_images": len(sample),
            **counts,
            "n_groups": distinct(one_each.groups),
            "threshold_chosen_on": "lesions" if own else "photographs",
            "draws": draws,
            "within_source": within_source(one_each, seen.iloc[lesion_rows(sample, seen)], scores) if test else None,
            **self._judged(scores, calibrate, what="lesions"),
        }
