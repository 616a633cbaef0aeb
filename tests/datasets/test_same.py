"""The same photograph twice: every kind of change is found, and nothing else is."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melascope.datasets import same_index
from melascope.datasets.fingerprint import fingerprint
from melascope.datasets.same import COLUMNS, find_same
from melascope.datasets.same_index import SYMMETRIES, apply_symmetry
from melascope.images import decode

SIZE = (120, 90)
LESIONS = 12


def photograph(seed: int) -> Image.Image:
    """A lesion with a coarse shape of its own, dots and hairs."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(60, 220, (5, 6), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    dots = Image.fromarray(generator.integers(0, 256, (30, 40), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    grey = 0.75 * np.asarray(coarse, dtype=float) + 0.15 * np.asarray(dots, dtype=float) + 15
    colour = np.stack([grey, grey * 0.9, grey * 0.8], axis=-1)
    return Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))


def write(path: Path, image: Image.Image, quality: int = 92) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=quality)
    return path


def scanned(paths: list[Path]) -> pd.DataFrame:
    data = [path.read_bytes() for path in paths]
    return pd.DataFrame(
        {
            "path": pd.array([str(path) for path in paths], dtype="string"),
            "sha256": pd.array([hashlib.sha256(content).hexdigest() for content in data], dtype="string"),
            "fingerprint": pd.array([fingerprint(decode(content, (64, 64))).hex() for content in data], dtype="string"),
            "error_kind": pd.array([pd.NA] * len(paths), dtype="string"),
        }
    )


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("originals")
    return [write(folder / f"{number}.jpg", photograph(number)) for number in range(LESIONS)]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def turned(image: Image.Image, number: int) -> Image.Image:
    planes = np.moveaxis(np.asarray(image), -1, 0)
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(apply_symmetry(planes, number), 0, -1)))


def brightened(image: Image.Image, factor: float) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image) * factor, 0, 255).astype(np.uint8))


CHANGES = {
    "half": lambda image: image.resize((60, 45)),
    "one and a half": lambda image: image.resize((180, 135)),
    "squashed": lambda image: image.resize((90, 90)),
    "quality 30": lambda image: jpeg(image, 30),
    "cropped in the middle": lambda image: image.crop((6, 5, 114, 86)),
    "cropped at a corner": lambda image: image.crop((12, 0, 120, 81)),
    "brighter": lambda image: brightened(image, 1.15),
    "darker": lambda image: brightened(image, 0.85),
    "middle square": lambda image: image.crop((15, 0, 105, 90)).resize((112, 112)),
    "cropped, quality 40": lambda image: jpeg(image.crop((0, 9, 108, 90)), 40),
    "cropped, turned": lambda image: turned(image.crop((6, 9, 114, 90)), 5),
    "squashed, darker": lambda image: brightened(image.resize((90, 90)), 0.85),
    **{name: lambda image, number=number: turned(image, number) for number, name in enumerate(SYMMETRIES) if number},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_the_same_photograph(originals, tmp_path, change):
    copies = {number: write(tmp_path / f"{number}.jpg", CHANGES[change](photograph(number))) for number in (1, 4, 7)}
    pairs = find_same(scanned([*originals, *copies.values()]), threads=1)
    assert list(pairs.columns) == list(COLUMNS)
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [(1, 12), (4, 13), (7, 14)]
    assert set(pairs["relation"]) == {"same_photograph"}
    assert pairs["evidence"].str.contains(r"one photograph: .*correlate [01]\.\d{3}").all()


def test_slight_crops_are_found_among_too_many_for_the_full_search(originals, tmp_path, monkeypatch):
    monkeypatch.setattr(same_index, "FULL_ROWS", 5)
    copies = [
        write(tmp_path / f"{number}.jpg", photograph(number).crop((4, 3, 118, 88)).resize((110, 84)))
        for number in (2, 5)
    ]
    table = scanned([*originals, *copies])
    assert find_same(table, threads=1, reach="whole").empty
    pairs = find_same(table, threads=1)
    assert pairs.attrs["reach"] == "near"
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [(2, 12), (5, 13)]


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("copy_first", [False, True])
def test_the_symmetry_is_the_one_that_turns_b_as_a_lies(originals, tmp_path, number, copy_first):
    # The copy was turned as the symmetry says; what turns it back is the inverse, which differs for quarter turns only.
    path = write(tmp_path / "copy.jpg", turned(photograph(3), number), quality=80)
    paths = [path, *originals] if copy_first else [*originals, path]
    (pair,) = find_same(scanned(paths), threads=1).to_dict("records")
    first, second = (np.asarray(Image.open(paths[row]).convert("L"), dtype=float) for row in (pair["a"], pair["b"]))
    back = apply_symmetry(second, SYMMETRIES.index(pair["symmetry"]))
    assert back.shape == first.shape
    assert np.abs(back - first).mean() < 5


@pytest.mark.parametrize("number", [0, 1, 5, 6])
@pytest.mark.parametrize("copy_first", [False, True])
def test_the_window_is_the_part_of_a_that_b_shows(originals, tmp_path, number, copy_first):
    path = write(tmp_path / "copy.jpg", turned(photograph(2).crop((0, 0, 108, 81)), number))
    paths = [path, *originals] if copy_first else [*originals, path]
    (pair,) = find_same(scanned(paths), threads=1).to_dict("records")
    window = np.array([pair[edge] for edge in ("top", "bottom", "left", "right")])
    if copy_first:
        # The original shows more than its crop: as the crop lies, to the right and below, or where the turn puts it.
        assert np.isclose(np.sort(window[:2])[1] - np.sort(window[:2])[0], 1 / 0.9, atol=0.02)
        edges = {0: (0, 1.11, 0, 1.11), 1: (0, 1.11, -0.11, 1), 5: (0, 1.11, -0.11, 1), 6: (-0.11, 1, 0, 1.11)}
        np.testing.assert_allclose(window, edges[number], atol=0.03)
    else:
        np.testing.assert_allclose(window, (0, 0.9, 0, 0.9), atol=0.02)


def test_different_lesions_are_not_matched(originals):
    assert find_same(scanned(originals), threads=1).empty


def test_uniform_and_unreadable_photographs_match_nothing(originals, tmp_path):
    flat = [write(tmp_path / f"{grey}.png", Image.new("RGB", SIZE, (grey,) * 3)) for grey in (0, 120, 121, 255)]
    table = scanned([*originals, *flat, *flat])
    table.loc[0, ["fingerprint", "error_kind"]] = [pd.NA, "truncated"]
    table.loc[1, "error_kind"] = "truncated"
    pairs = find_same(table, threads=1)
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [(12, 16), (13, 17), (14, 18), (15, 19)]
    assert pairs["identical_bytes"].all()


def test_no_rows_and_one_row(originals):
    for rows in (0, 1):
        pairs = find_same(scanned(originals[:rows]) if rows else scanned(originals[:1]).iloc[:0], threads=1)
        assert pairs.empty
        assert list(pairs.columns) == list(COLUMNS)


def test_identical_bytes_are_a_star_around_the_first(originals):
    table = scanned([originals[0], originals[1], originals[0], originals[0]])
    pairs = find_same(table, threads=1)
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [(0, 2), (0, 3)]
    assert pairs["identical_bytes"].all()
    assert set(pairs["relation"]) == {"same_photograph"}


def test_two_shots_of_one_lesion_are_a_repeat(tmp_path):
    image = np.asarray(photograph(5)).astype(float)
    other = image.copy()
    # The light fell from another side, and a glint has moved.
    across = np.linspace(-1, 1, SIZE[0])[None, :, None]
    other += 8 * np.sin(4 * across) * np.cos(np.linspace(0, 5, SIZE[1]))[:, None, None]
    other[30:32, 50:52] += 60
    image[60:62, 20:22] += 60
    paths = [
        write(tmp_path / f"{number}.jpg", Image.fromarray(np.clip(shot, 0, 255).astype(np.uint8)))
        for number, shot in enumerate((image, other))
    ]
    pairs = find_same(scanned(paths), threads=1)
    assert list(pairs["relation"]) == ["lesion_repeat"]
    assert pairs["evidence"].str.startswith("two shots of one lesion").all()


def test_a_retouched_copy_is_the_same_photograph(originals, tmp_path):
    image = np.asarray(photograph(8)).copy()
    image[20:60, 31] = 60
    path = write(tmp_path / "with a hair.jpg", Image.fromarray(image))
    (pair,) = find_same(scanned([*originals, path]), threads=1).to_dict("records")
    assert (pair["a"], pair["b"], pair["relation"]) == (8, 12, "same_photograph")
    assert 0.005 < pair["retouched"] < 0.1
    assert "retouched" in pair["evidence"]


def test_against_another_table(originals, tmp_path):
    crop = write(tmp_path / "crop.jpg", photograph(2).crop((0, 0, 108, 81)))
    larger = write(tmp_path / "larger.png", photograph(6).resize((240, 180)))
    # A crop in the first table of a whole in the second is found as well as the other way round.
    pairs = find_same(
        scanned([crop, originals[3], originals[3], originals[6]]), scanned([*originals, larger]), threads=1
    )
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [(0, 2), (1, 3), (2, 3), (3, 6), (3, 12)]
    assert list(pairs["identical_bytes"]) == [False, True, True, True, False]
    back = find_same(scanned([*originals, larger]), scanned([crop, originals[3]]), threads=1)
    assert list(zip(back["a"], back["b"], strict=True)) == [(2, 0), (3, 1)]


def test_copies_of_one_content_each_meet_the_other_table(originals, tmp_path):
    copy = write(tmp_path / "copy.jpg", photograph(4), quality=60)
    pairs = find_same(scanned([originals[4], originals[4]]), scanned([copy]), threads=1)
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [(0, 0), (1, 0)]


def test_a_file_that_has_gone_confirms_nothing(originals, tmp_path):
    copy = write(tmp_path / "copy.jpg", photograph(4), quality=60)
    table = scanned([*originals, copy])
    copy.unlink()
    assert find_same(table, threads=1).empty


def test_progress_and_interruption(originals, tmp_path):
    copy = write(tmp_path / "copy.jpg", photograph(4), quality=60)
    stages = []
    find_same(scanned([*originals, copy]), threads=2, progress=lambda *now: stages.append(now))
    assert [stage for stage, done, total in stages if done == total] == ["searching", "comparing pixels"]

    def interrupt(stage: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_same(scanned([*originals, copy]), threads=2, progress=interrupt)


@pytest.mark.real_data
def test_sets_of_the_archive_meet_under_their_own_ids(shared_data):
    """The nine-class set's squashed 180 px images, among HAM10000's 200 x 150."""
    ham = {path.stem: path for path in (shared_data / "ham10000" / "images").glob("*.jpg")}
    nine = [path for path in sorted((shared_data / "isic9").rglob("*.jpg")) if path.stem in ham][:150]
    others = [ham[name] for name in sorted(ham)[:300]]
    right = sorted({ham[path.stem] for path in nine} | set(others))
    pairs = find_same(scanned(nine), scanned(right))
    same = pairs[pairs["relation"] == "same_photograph"]
    met = {nine[a].stem for a, b in zip(same["a"], same["b"], strict=True) if nine[a].stem == right[b].stem}
    assert len(met) >= 0.98 * len({path.stem for path in nine})
