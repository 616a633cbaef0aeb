"""Whether a table, and the parts it was split into, can be trained on at all."""

from __future__ import annotations

import pandas as pd

from melascope import diagnosis
from melascope.counted import plural
from melascope.errors import DataError


def check_trainable(table: pd.DataFrame) -> list[str]:
    """Return what is too thin in a table, a sentence each; refuse one that nothing can be learnt from.

    Raises:
        DataError: When no photograph has a diagnosis, or all have the same.
    """
    counts = table["diagnosis"].value_counts()
    if counts.empty:
        raise DataError("No photograph has a diagnosis; give class folders or a table of labels.")
    if len(counts) == 1:
        raise DataError(
            f"{_all(int(counts.iloc[0]))} one diagnosis, {diagnosis.name(counts.index[0])}; "
            "at least two are needed to train and to evaluate."
        )
    warnings = [
        f"There is a single photograph of {diagnosis.name(code)}: it can be trained on but not evaluated."
        for code in diagnosis.ordered(counts.index[counts == 1])
    ]
    if "MEL" not in counts.index:
        warnings.append("There is no melanoma among the photographs: no melanoma risk can be learnt.")
    return warnings


def _all(photographs: int) -> str:
    return "The only photograph has" if photographs == 1 else f"All {photographs:,} photographs have"


def check_parts(part: pd.Series, table: pd.DataFrame, mend: str = "Add some, or raise --limit.") -> None:
    """Refuse parts of which one is empty, or of which train knows a single diagnosis.

    Args:
        part: The part of each row of `table`, as `split` gives it; tune may be missing, since it can be shared.
        table: With `diagnosis`.
        mend: What helps where a part is empty.

    Raises:
        DataError: Which part is too thin, and what to do about it.
    """
    for name in ("train", "calibrate", "test"):
        if not (part == name).any():
            raise DataError(
                f"Of {plural(len(part), 'photograph')} none is left for the part {name}; training, calibration and "
                f"test need photographs of their own. {mend}"
            )
    if table.loc[part == "train", "diagnosis"].nunique() < 2:
        raise DataError(
            "All photographs that are left to train on have one diagnosis; add some of another, or raise --limit."
        )
