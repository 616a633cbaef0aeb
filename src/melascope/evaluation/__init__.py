"""Evaluation: from a predictor and a table to `metrics.json`, comparisons, and remarks in plain words."""

from melascope.evaluation.baselines import all_of, colour_histogram, largest_class, shuffle_labels, shuffled_labels
from melascope.evaluation.compare import Comparison, compare
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.findings import Remark, headline, remarks
from melascope.evaluation.predictions import mark_trained_on, predict_table, predictions_of
from melascope.evaluation.results import RunResult, load_result

__all__ = [
    "Comparison",
    "Remark",
    "RunResult",
    "all_of",
    "colour_histogram",
    "compare",
    "evaluate",
    "headline",
    "largest_class",
    "load_result",
    "mark_trained_on",
    "predict_table",
    "predictions_of",
    "remarks",
    "shuffle_labels",
    "shuffled_labels",
]
