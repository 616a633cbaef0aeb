"""The skin's tone in the photographs that are scored: a pass of its own, which predicting does not pay for."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from melascope import environment
from melascope.bundle.engine import ordered_map
from melascope.errors import ImageError
from melascope.images import decode, read_file
from melascope.images.skin_tone import estimate
from melascope.progress import Progress, silent

_AT_LEAST = (256, 256)  # the tone is estimated on 128 pixels, so that twice as many lose nothing


def with_skin_tone(
    predictions: pd.DataFrame,
    progress: Progress | None = None,
    parts: Sequence[str] = ("test",),
    threads: int | None = None,
) -> pd.DataFrame:
    """Return the predictions with a column `skin_tone`: the band of `images.skin_tone`, empty where it cannot be told.

    Each photograph is decoded once more, at reduced size. It is empty too for photographs of other parts and for
    those that the predictor refused. The band sorts photographs of one camera; it measures nobody's skin.

    Args:
        predictions: As `predict_table` returns them; rows without a part are test.
        progress: Called with `skin tone`, photographs done and in all.
        parts: Whose photographs are looked at: looking at what is not judged would be time lost.
        threads: How many; None for `MELASCOPE_THREADS`, else the cores.
    """
    report = progress or silent
    wanted = pd.Series(True, index=predictions.index)
    if "part" in predictions.columns:
        wanted &= predictions["part"].astype("string").fillna("test").isin(list(parts)).to_numpy(dtype=bool)
    if "error" in predictions.columns:
        wanted &= predictions["error"].isna().to_numpy(dtype=bool)
    rows = wanted.to_numpy(dtype=bool).nonzero()[0]
    bands: list[str | None] = [None] * len(predictions)
    report("skin tone", 0, len(rows))
    paths = [str(predictions["path"].iloc[row]) for row in rows]
    found = ordered_map(_band, paths, threads or environment.threads())
    for done, (row, band) in enumerate(zip(rows, found, strict=True), start=1):
        bands[row] = band
        report("skin tone", done, len(rows))
    return predictions.assign(skin_tone=pd.array(bands, dtype="string"))


def _band(path: str) -> str | None:
    try:
        return estimate(decode(read_file(path), at_least=_AT_LEAST)).band
    except ImageError:
        return None
