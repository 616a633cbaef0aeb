from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from melascope.errors import RunError
from melascope.training import checkpoint

ARRAYS = {"stem/kernel": np.arange(12, dtype=np.float32).reshape(3, 4), "step": np.array(3)}


def test_arrays_and_state_come_back(tmp_path: Path) -> None:
    saved = checkpoint.Checkpoints(tmp_path / "checkpoints")
    assert saved.latest() is None
    saved.save(1, ARRAYS, {"epoch": 1})
    arrays, state = saved.latest() or pytest.fail("no checkpoint")
    assert state == {"epoch": 1}
    np.testing.assert_array_equal(arrays["stem/kernel"], ARRAYS["stem/kernel"])


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    saved = checkpoint.Checkpoints(tmp_path)
    for epoch in range(1, 5):
        saved.save(epoch, ARRAYS, {"epoch": epoch})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["epoch-00003.npz", "epoch-00004.npz"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage: str, tmp_path: Path) -> None:
    saved = checkpoint.Checkpoints(tmp_path)
    for epoch in (1, 2):
        saved.save(epoch, ARRAYS, {"epoch": epoch})
    last = tmp_path / "epoch-00002.npz"
    content = bytearray(last.read_bytes())
    if damage == "flip":
        content[content.index(ARRAYS["stem/kernel"].tobytes()) + 5] ^= 1
    last.write_bytes(
        {"truncate": content[: len(content) // 2], "flip": content, "empty": b"", "text": b"hello"}[damage]
    )
    with pytest.raises(RunError, match="damaged"):
        checkpoint.read(last)
    _, state = saved.latest() or pytest.fail("no checkpoint")
    assert state == {"epoch": 1}


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(RunError, match="damaged"):
        checkpoint.read(tmp_path / "bad.npz")


def test_a_full_disk_names_the_folder_and_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = checkpoint.Checkpoints(tmp_path)
    saved.save(1, ARRAYS, {"epoch": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left") as caught:
        saved.save(2, ARRAYS, {"epoch": 2})
    monkeypatch.undo()
    assert str(tmp_path) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001.npz"]
    _, state = saved.latest() or pytest.fail("no checkpoint")
    assert state == {"epoch": 1}
