"""The deployable file, and the one path from photographs to findings."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from melascope.bundle.engine import Engine, Outputs
from melascope.bundle.format import Bundle
from melascope.bundle.format import load as load_bundle
from melascope.bundle.format import write as write_bundle
from melascope.bundle.heatmap import OverlayWriter, melanoma_map, overlay, write_overlays
from melascope.bundle.models import default_bundle
from melascope.bundle.neighbour_strip import StripWriter
from melascope.bundle.photographs import Found, find
from melascope.bundle.precision import Change, PrecisionCheck
from melascope.bundle.predictor import Predictor, Raw
from melascope.bundle.trained_on import TrainedOn
from melascope.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Bundle",
    "Change",
    "Engine",
    "Found",
    "Outputs",
    "OverlayWriter",
    "PrecisionCheck",
    "Predictor",
    "Raw",
    "StripWriter",
    "TrainedOn",
    "default_bundle",
    "find",
    "load_bundle",
    "melanoma_map",
    "overlay",
    "predict",
    "write_bundle",
    "write_overlays",
]


def predict(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    bundle: Bundle | str | os.PathLike[str] | None = None,
    threads: int | None = None,
    heatmaps: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    quality: bool = True,
    neighbours: int = 5,
    prevalence: float | None = None,
) -> pd.DataFrame:
    """Return what a model says about photographs, one row each.

    Args:
        paths: Files, folders (searched recursively) and patterns.
        bundle: The model; None for the installed one.
        threads: Photographs looked at at a time; None for all cores.
        heatmaps: A folder for heat-map overlays, or None.
        progress: Called with the stage `predicting`.
        quality: Whether the photographs' quality is judged, and too poor ones are referred.
        neighbours: How many similar photographs of known diagnosis are named, where the model knows any.
        prevalence: Of melanoma where the model is used, in (0, 1): rows then have PPV and NPV.

    Returns:
        The columns of `Finding`, flat: `path`, `status`, `error`, `decision`,
        `reasons`, `diagnosis`, `melanoma_risk`, `malignancy_risk`, `p_<CODE>` and so on.

    Raises:
        BundleError: When the bundle is refused, or none is installed.
        DataError: When no photograph was found.

    Example:
        >>> melascope.predict("photographs", bundle="RUN/model.melascope")
    """
    import pandas as pd

    from melascope.bundle.rows import columns, row

    files = find([paths] if isinstance(paths, (str, os.PathLike)) else paths).files
    model = bundle if bundle is not None else default_bundle()
    predictor = Predictor(model, threads, quality=quality, neighbours=neighbours, prevalence=prevalence)
    writer = OverlayWriter(heatmaps, predictor.bundle.geometry, files) if heatmaps is not None else None
    rows = []
    for done, finding in enumerate(predictor.predict(files, heatmaps=writer is not None), 1):
        if writer is not None:
            writer.write(finding)
        rows.append(row(finding, predictor.classes))
        progress("predicting", done, len(files))
    return pd.DataFrame(rows, columns=columns(predictor.classes))
