from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from judged_example import decide, example_table, logits_for


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return example_table()


@pytest.fixture(scope="session")
def judged(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    return decide(table, logits_for(table))
