from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melascope import datasets


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Write `{relative path: seed or bytes}` as photographs and return the scanned table.

    `authority` is the text of a CSV. The same seed gives the same bytes.
    """

    def make(files: Mapping[str, int | bytes], authority: str | None = None) -> pd.DataFrame:
        root = tmp_path / "set"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
                continue
            small = np.random.default_rng(content).integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(small).resize((40, 32)).save(path, "JPEG")
        paths = []
        if authority is not None:
            paths = [tmp_path / "authority.csv"]
            paths[0].write_text(authority)
        return datasets.scan(datasets.read(root, authority=paths))

    return make
