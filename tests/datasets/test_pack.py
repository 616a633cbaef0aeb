from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melascope import datasets
from melascope.errors import DataError
from melascope.images import Geometry, prepare

packing = importlib.import_module("melascope.datasets.pack")
packfile = importlib.import_module("melascope.datasets.packfile")

GEOMETRY = Geometry(16, 24, "squash")
COUNT = 80


@pytest.fixture
def table(tmp_path, write_image) -> pd.DataFrame:
    for number in range(COUNT):
        write_image(tmp_path / "set" / ("nevus" if number % 2 else "melanoma") / f"ISIC_{number:07d}.jpg", seed=number)
    shutil.copy(tmp_path / "set" / "nevus" / "ISIC_0000001.jpg", tmp_path / "set" / "melanoma" / "ISIC_9999999.jpg")
    return datasets.scan(datasets.read(tmp_path / "set"))


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """A list that grows by one for every photograph that is decoded."""
    calls: list[int] = []
    monkeypatch.setattr(packing, "prepare", lambda *args: calls.append(1) or prepare(*args))
    return calls


def _expected(table: pd.DataFrame) -> np.ndarray:
    return np.stack([prepare(Path(path).read_bytes(), GEOMETRY) for path in table["path"]])


def _assert_right(pack: datasets.Pack, table: pd.DataFrame) -> None:
    assert np.array_equal(pack.images, _expected(table))


def test_rows_are_those_of_the_table_and_identical_bytes_are_decoded_once(table, tmp_path, decoded):
    pack = datasets.pack(table, GEOMETRY, tmp_path / "cache", threads=2)
    assert pack.images.shape == (COUNT + 1, 16, 24, 3)
    assert pack.images.dtype == np.uint8
    assert len(decoded) == COUNT
    _assert_right(pack, table)
    chosen = table.iloc[[7, 3, 3]]
    assert np.array_equal(pack.images[pack.rows(chosen["sha256"])], _expected(chosen))
    with pytest.raises(DataError, match="no photograph with the sha256 abc"):
        pack.rows(["abc"])


def test_the_array_is_mapped_and_read_only(table, tmp_path):
    pack = datasets.pack(table, GEOMETRY, tmp_path / "cache")
    assert isinstance(pack.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        pack.images[0] = 0


def test_a_pack_is_opened_again_without_decoding_wherever_the_files_are(table, tmp_path, decoded):
    first = datasets.pack(table, GEOMETRY, tmp_path / "cache")
    shutil.move(tmp_path / "set", tmp_path / "elsewhere")
    moved = datasets.scan(datasets.read(tmp_path / "elsewhere"))
    decoded.clear()
    again = datasets.pack(moved, GEOMETRY, tmp_path / "cache")
    assert again.path == first.path
    assert not decoded
    assert np.array_equal(again.images, first.images)


def test_another_geometry_order_content_or_decoder_is_another_pack(table, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    paths = {datasets.pack(table, GEOMETRY, cache).path}
    paths.add(datasets.pack(table, Geometry(16, 24, "crop"), cache).path)
    paths.add(datasets.pack(table.iloc[::-1], GEOMETRY, cache).path)
    paths.add(datasets.pack(table.iloc[1:], GEOMETRY, cache).path)
    monkeypatch.setattr(packing, "DECODER_VERSION", "another")
    paths.add(datasets.pack(table, GEOMETRY, cache).path)
    assert len(paths) == 5


def test_any_number_of_threads_gives_the_same(table, tmp_path):
    one = datasets.pack(table, GEOMETRY, tmp_path / "one", threads=1)
    four = datasets.pack(table, GEOMETRY, tmp_path / "four", threads=4)
    assert np.array_equal(one.images, four.images)


KILLED = """
    import os, signal, sys
    from melascope import datasets
    from melascope.datasets import packfile
    from melascope.images import Geometry

    packfile._BYTES_PER_MARK = 1
    table = datasets.load(sys.argv[1])

    def kill(stage, done, total):
        if done >= 48:
            os.kill(os.getpid(), signal.SIGKILL)

    datasets.pack(table, Geometry(16, 24, "squash"), sys.argv[2], threads=2, progress=kill)
"""


def test_killed_in_the_middle_it_goes_on_where_it_was(table, tmp_path, decoded):
    saved = datasets.save(table, tmp_path / "table.parquet")
    cache = tmp_path / "cache"
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(saved), str(cache)], capture_output=True, check=False
    )
    assert child.returncode == -9, child.stderr.decode()
    assert not [path for path in cache.iterdir() if path.is_dir() and path.suffix != ".partial"]
    pack = datasets.pack(table, GEOMETRY, cache)
    assert 0 < len(decoded) <= COUNT - 32
    _assert_right(pack, table)
    assert not list(cache.glob("*.partial"))


def test_pixels_that_a_kill_left_wrong_are_made_again(table, tmp_path, decoded):
    _interrupt(table, tmp_path / "cache")
    partial = next((tmp_path / "cache").glob("*.partial"))
    with (partial / "pixels.u8").open("r+b") as file:
        file.write(bytes(3 * 16 * 24 * 3))
    pack = datasets.pack(table, GEOMETRY, tmp_path / "cache")
    _assert_right(pack, table)


def _interrupt(table: pd.DataFrame, cache: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done >= 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.pack(table, GEOMETRY, cache, threads=2, progress=stop)


def test_an_interrupt_passes_through_and_what_was_done_stays_done(table, tmp_path, decoded):
    _interrupt(table, tmp_path / "cache")
    decoded.clear()
    pack = datasets.pack(table, GEOMETRY, tmp_path / "cache")
    assert 0 < len(decoded) <= COUNT - 32
    _assert_right(pack, table)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "garbage manifest": lambda folder: (folder / "manifest.json").write_text("{"),
    "binary manifest": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\x00"),
    "another manifest": lambda folder: (folder / "manifest.json").write_text(json.dumps({"schema": 99})),
    "manifest of a list": lambda folder: (folder / "manifest.json").write_text("[1]"),
    "flipped pixel": lambda folder: _flip(folder / "pixels.u8"),
    "short pixels": lambda folder: os.truncate(folder / "pixels.u8", 1000),
    "no pixels": lambda folder: (folder / "pixels.u8").unlink(),
    "flipped checksum": lambda folder: _flip(folder / "rows.u4"),
    "short checksums": lambda folder: os.truncate(folder / "rows.u4", 9),
    "no checksums": lambda folder: (folder / "rows.u4").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_is_never_read(table, tmp_path, damage):
    cache = tmp_path / "cache"
    pack = datasets.pack(table, GEOMETRY, cache)
    DAMAGES[damage](pack.path)
    _assert_right(datasets.pack(table, GEOMETRY, cache), table)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_beginning_is_never_gone_on_from(table, tmp_path, damage):
    cache = tmp_path / "cache"
    _interrupt(table, cache)
    DAMAGES[damage](next(cache.glob("*.partial")))
    _assert_right(datasets.pack(table, GEOMETRY, cache), table)


def test_too_little_space_is_said_before_anything_is_decoded(table, tmp_path, monkeypatch, decoded):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"needs 17 MB in .*cache, where 0 MB are free.*--cache"):
        datasets.pack(table, GEOMETRY, tmp_path / "cache")
    assert not decoded
    monkeypatch.undo()
    _assert_right(datasets.pack(table, GEOMETRY, tmp_path / "cache"), table)


def _no_space(*args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve space")
def test_a_disk_that_cannot_reserve_the_space_is_full(table, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", _no_space)
    with pytest.raises(DataError, match=r"disk of .*cache is full.*--cache"):
        datasets.pack(table, GEOMETRY, tmp_path / "cache")


def test_a_disk_that_fills_up_in_the_middle_is_said_and_gone_on_from(table, tmp_path, monkeypatch, decoded):
    write = packfile.Building.write

    def fill_up(self, rows, image):
        if self.written.sum() >= 40:
            _no_space()
        write(self, rows, image)

    monkeypatch.setattr(packfile.Building, "write", fill_up)
    with pytest.raises(DataError, match=r"disk of .*cache is full"):
        datasets.pack(table, GEOMETRY, tmp_path / "cache")
    monkeypatch.setattr(packfile.Building, "write", write)
    decoded.clear()
    _assert_right(datasets.pack(table, GEOMETRY, tmp_path / "cache"), table)
    assert len(decoded) <= COUNT - 39


def test_a_file_system_that_cannot_reserve_still_works(table, tmp_path, monkeypatch):
    def refuse(*args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    _assert_right(datasets.pack(table, GEOMETRY, tmp_path / "cache"), table)


def test_a_cache_that_cannot_be_written_is_said(table, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot be written.*--cache"):
        datasets.pack(table, GEOMETRY, tmp_path / "file" / "cache")


def test_a_file_that_changed_since_the_scan_is_refused(table, tmp_path, write_image):
    write_image(Path(table["path"].iloc[5]), seed=999)
    with pytest.raises(DataError, match="changed since it was scanned"):
        datasets.pack(table, GEOMETRY, tmp_path / "cache")
    Path(table["path"].iloc[5]).unlink()
    with pytest.raises(DataError, match="no longer"):
        datasets.pack(table, GEOMETRY, tmp_path / "cache")


def test_what_cannot_be_packed_is_refused(table, tmp_path):
    (tmp_path / "set" / "nevus" / "broken.jpg").write_bytes(b"no image at all")
    broken = datasets.scan(datasets.read(tmp_path / "set"))
    with pytest.raises(DataError, match=r"1 photograph cannot be read, such as .*broken.jpg"):
        datasets.pack(broken, GEOMETRY, tmp_path / "cache")
    with pytest.raises(DataError, match="not scanned"):
        datasets.pack(table[["image_id", "path"]], GEOMETRY, tmp_path / "cache")
    with pytest.raises(DataError, match="no photographs to pack"):
        datasets.pack(table.iloc[:0], GEOMETRY, tmp_path / "cache")


def test_two_that_pack_the_same_at_once_share_one_packing(table, tmp_path, decoded):
    packs: list[datasets.Pack] = []
    threads = [
        threading.Thread(target=lambda: packs.append(datasets.pack(table, GEOMETRY, tmp_path / "cache", threads=1)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(packs) == 3
    assert len(decoded) == COUNT
    for pack in packs:
        _assert_right(pack, table)


def test_progress_goes_from_nothing_to_all(table, tmp_path):
    seen: list[tuple[str, int, int]] = []
    datasets.pack(table, GEOMETRY, tmp_path / "cache", progress=lambda *state: seen.append(state))
    packed = [done for stage, done, total in seen if stage == "packing photographs"]
    assert packed[0] == 0
    assert packed[-1] == COUNT + 1
    assert packed == sorted(packed)
