"""The figures of the reports; each function takes plain data and returns a matplotlib Figure."""

from melascope.reports.figures.comparison import compare_forest
from melascope.reports.figures.curves import decision_curve, precision_recall, reliability, roc
from melascope.reports.figures.data import class_counts, flow_diagram, image_sizes
from melascope.reports.figures.divided import shares
from melascope.reports.figures.pictures import (
    augmentation_preview,
    examples_grid,
    one_per_class,
    picture_grid,
    random_grid,
)
from melascope.reports.figures.scores import confusion, intervals, per_class_intervals
from melascope.reports.figures.style import UNAUDITED, to_png, to_svg
from melascope.reports.figures.training import history

__all__ = [
    "UNAUDITED",
    "augmentation_preview",
    "class_counts",
    "compare_forest",
    "confusion",
    "decision_curve",
    "examples_grid",
    "flow_diagram",
    "history",
    "image_sizes",
    "intervals",
    "one_per_class",
    "per_class_intervals",
    "picture_grid",
    "precision_recall",
    "random_grid",
    "reliability",
    "roc",
    "shares",
    "to_png",
    "to_svg",
]
