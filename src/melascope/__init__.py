"""Melascope: from labelled skin-lesion photographs to a melanoma detector that can be trusted.

Everything that a command does is one call here, and each returns plain
DataFrames, arrays, dictionaries and figures:

    import melascope

    run = melascope.run("photographs", out="RUN")
    run.metrics["parts"]["test"]["balanced_accuracy"]
    melascope.predict(["photo.jpg"], bundle=run.bundle)

Research use only; not a medical device.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from melascope.audit.splitting import split_data
    from melascope.audit.survey import audit_data, pack_data, show_data
    from melascope.bundle import Predictor, load_bundle, predict
    from melascope.datasets import read as read_data
    from melascope.environment import describe as doctor
    from melascope.evaluation.compare import compare
    from melascope.evaluation.exam import evaluate_data as evaluate
    from melascope.training.cross_validated import cross_validate_data as cross_validate
    from melascope.training.demo import demo
    from melascope.training.learning_curve import learning_curve
    from melascope.training.run import export, open_run, run, train
    from melascope.training.tuning import tune

_WHERE = {
    "read_data": ("melascope.datasets", "read"),
    "show_data": ("melascope.audit.survey", "show_data"),
    "audit_data": ("melascope.audit.survey", "audit_data"),
    "split_data": ("melascope.audit.splitting", "split_data"),
    "pack_data": ("melascope.audit.survey", "pack_data"),
    "run": ("melascope.training.run", "run"),
    "train": ("melascope.training.run", "train"),
    "export": ("melascope.training.run", "export"),
    "open_run": ("melascope.training.run", "open_run"),
    "cross_validate": ("melascope.training.cross_validated", "cross_validate_data"),
    "learning_curve": ("melascope.training.learning_curve", "learning_curve"),
    "tune": ("melascope.training.tuning", "tune"),
    "evaluate": ("melascope.evaluation.exam", "evaluate_data"),
    "compare": ("melascope.evaluation.compare", "compare"),
    "load_bundle": ("melascope.bundle", "load_bundle"),
    "predict": ("melascope.bundle", "predict"),
    "Predictor": ("melascope.bundle", "Predictor"),
    "demo": ("melascope.training.demo", "demo"),
    "doctor": ("melascope.environment", "describe"),
}

__all__ = [
    "Predictor",
    "audit_data",
    "compare",
    "cross_validate",
    "demo",
    "doctor",
    "evaluate",
    "export",
    "learning_curve",
    "load_bundle",
    "open_run",
    "pack_data",
    "predict",
    "read_data",
    "run",
    "show_data",
    "split_data",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for only when it is asked for, so that `import melascope` is instant."""
    if name not in _WHERE:
        raise AttributeError(f"module 'melascope' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
