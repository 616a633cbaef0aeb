from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# A shell starts what runs in its background with ctrl-C ignored, and that would reach every process started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the public ISIC and HAM10000 images; MELASCOPE_TEST_DATA names another one."""
    folder = Path(os.environ.get("MELASCOPE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "isic9" / "Train").is_dir():
        pytest.skip(f"needs the real images; none at {folder} (set MELASCOPE_TEST_DATA)")
    return folder
