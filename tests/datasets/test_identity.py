from __future__ import annotations

import hashlib
import io
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melascope import datasets
from melascope.datasets.identity import hash_distances


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ISIC_0000001.jpg", "ISIC_0000001"),
        ("isic_0000001.JPEG", "ISIC_0000001"),
        ("ISIC_0000001 (1).jpg", "ISIC_0000001"),
        ("ISIC_0000001(12).png", "ISIC_0000001"),
        ("ISIC_0000001_downsampled", "ISIC_0000001"),
        ("ISIC_0000001_Downsampled (2).jpg", "ISIC_0000001"),
        ("ISIC_0000001.jpg.jpg", "ISIC_0000001"),
        ("Train/melanoma/ISIC_0000001.jpg", "ISIC_0000001"),
        ("C:\\photos\\ISIC_0000001.jpg", "ISIC_0000001"),
        ("  ISIC_0000001.jpg ", "ISIC_0000001"),
        ("ISIC_0000001_segmentation.png", "ISIC_0000001_SEGMENTATION"),
        ("patient.7.lesion.2", "PATIENT.7.LESION.2"),
        ("naïve é.jpg", "NAÏVE É"),
        (".jpg", ".JPG"),
    ],
)
def test_canonical_id_removes_what_copies_and_archives_add(name, expected):
    assert datasets.canonical_id(name) == expected
    assert datasets.canonical_id(expected) == expected


def test_a_counter_that_is_the_only_number_is_kept_because_it_names_another_photograph():
    assert datasets.canonical_id("melanoma (1).jpg") != datasets.canonical_id("melanoma (2).jpg")


def _distance(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.bitwise_count(datasets.perceptual_hash(a) ^ datasets.perceptual_hash(b)).sum())


def test_perceptual_hash_survives_resizing_squashing_and_recoding(make_pixels):
    image = make_pixels(1, (200, 150))
    assert datasets.perceptual_hash(image).shape == (32,)
    assert datasets.perceptual_hash(image).dtype == np.uint8
    small = np.asarray(Image.fromarray(image).resize((90, 90)))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=40)
    recoded = np.asarray(Image.open(buffer))
    assert _distance(image, image) == 0
    assert _distance(image, small) < 40
    assert _distance(image, recoded) < 40
    assert all(_distance(image, make_pixels(seed, (200, 150))) > 64 for seed in range(2, 30))


@pytest.mark.parametrize("level", [0, 127, 255])
def test_perceptual_hash_of_a_uniform_image_has_no_random_bits(level):
    assert not datasets.perceptual_hash(np.full((33, 41, 3), level, np.uint8)).any()


def test_perceptual_hash_of_a_mirrored_photograph_turns_the_odd_columns(make_pixels):
    image = make_pixels(3, (64, 64))
    bits = np.unpackbits(datasets.perceptual_hash(image)).reshape(16, 16)
    mirrored = np.unpackbits(datasets.perceptual_hash(image[:, ::-1])).reshape(16, 16)
    turned = np.unpackbits(datasets.perceptual_hash(image.transpose(1, 0, 2))).reshape(16, 16)
    expected = bits ^ (np.arange(16) % 2).astype(np.uint8)
    assert (mirrored != expected).mean() < 0.08  # coefficients near zero may fall either way
    assert (turned != bits.T).mean() < 0.08


def _table(paths):
    return pd.DataFrame({"image_id": [p.name for p in paths], "path": [str(p) for p in paths]}, dtype="string")


def _png_header(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + bytes(100)


def test_scan_describes_good_files_and_lists_bad_ones(tmp_path, write_image):
    good = write_image(tmp_path / "good.jpg", seed=1, size=(50, 30))
    whole = write_image(tmp_path / "whole.jpg", seed=2).read_bytes()
    bad = {
        "truncated.jpg": whole[: len(whole) * 2 // 3],
        "empty.jpg": b"",
        "text.jpg": b"these are not the pixels you are looking for",
        "huge.png": _png_header(60_000, 60_000),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.jpg").mkdir()
    names = ["good.jpg", *bad, "folder.jpg", "gone.jpg"]
    scanned = datasets.scan(_table([tmp_path / name for name in names])).set_index("image_id")
    row = scanned.loc["good.jpg"]
    assert (row["width"], row["height"], row["bytes"]) == (50, 30, good.stat().st_size)
    assert row["sha256"] == hashlib.sha256(good.read_bytes()).hexdigest()
    assert len(row["phash"]) == 64
    assert pd.isna(row["error_kind"])
    assert pd.isna(row["error"])
    kinds = {
        "truncated.jpg": "truncated",
        "empty.jpg": "empty",
        "text.jpg": "not_an_image",
        "huge.png": "too_large",
        "folder.jpg": "unreadable",
        "gone.jpg": "missing",
    }
    assert scanned["error_kind"].dropna().to_dict() == kinds
    assert scanned["error"].notna().sum() == len(kinds)
    assert scanned.loc[list(kinds), ["width", "phash"]].isna().all(axis=None)


def test_scan_is_the_same_for_any_number_of_threads_and_opens_each_path_once(tmp_path, write_image, monkeypatch):
    paths = [write_image(tmp_path / f"{n}.jpg", seed=n) for n in range(70)]
    table = _table([*paths, *paths[:5]])
    one = datasets.scan(table, threads=1)
    pd.testing.assert_frame_equal(one, datasets.scan(table, threads=4))
    pd.testing.assert_frame_equal(one, datasets.scan(one, threads=2))
    opened = []
    import importlib

    identity = importlib.import_module("melascope.datasets.identity")
    read_file = identity.read_file
    monkeypatch.setattr(identity, "read_file", lambda path: opened.append(path) or read_file(path))
    datasets.scan(table, threads=2)
    assert sorted(opened) == sorted(str(path) for path in paths)


def test_scan_tells_how_far_it_is_and_lets_an_interrupt_through(tmp_path, write_image):
    table = _table([write_image(tmp_path / f"{n}.jpg", seed=n) for n in range(70)])
    seen = []
    datasets.scan(table, progress=lambda *state: seen.append(state))
    assert seen[0][1:] == (0, 70)
    assert seen[-1][1:] == (70, 70)

    def stop(stage: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.scan(table, progress=stop)


def test_scan_of_an_empty_table_gives_the_columns():
    scanned = datasets.scan(_table([]))
    assert len(scanned) == 0
    assert {"sha256", "width", "height", "bytes", "phash", "error_kind", "error"} <= set(scanned.columns)


def test_hash_distances_counts_bits():
    a = pd.Series(["00" * 32, "ff" * 32])
    b = pd.Series(["01" + "00" * 31, "00" * 32])
    assert hash_distances(a, b).tolist() == [1, 256]
