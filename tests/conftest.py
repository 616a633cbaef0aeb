from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# A shell starts what runs in its background with ctrl-C ignored, and that would reach every process started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _settings_end_with_their_test() -> Iterator[None]:
    """A command's --threads and --cache become environment variables of the process, which others would inherit."""
    before = {name: os.environ.get(name) for name in ("MELASCOPE_THREADS", "MELASCOPE_CACHE", "MELASCOPE_STORAGE")}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the public ISIC and HAM10000 images; MELASCOPE_TEST_DATA names another one."""
    folder = Path(os.environ.get("MELASCOPE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "isic9" / "Train").is_dir():
        pytest.skip(f"needs the real images; none at {folder} (set MELASCOPE_TEST_DATA)")
    return folder
