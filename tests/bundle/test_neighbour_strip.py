from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import tiny_bundle as tiny

from melascope.bundle import StripWriter, find
from melascope.errors import DataError
from melascope.finding import Finding, Model

NEIGHBOURS = tuple(
    {"image_id": f"ISIC_{i:07d}", "diagnosis": code, "distance": 0.1 * i, "source": source, "licence": None}
    for i, code, source in ((1, "NV", "drawn"), (2, "MEL", None), (9, "BKL", "drawn"))
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return tiny.folder(tmp_path / "photographs", 4)


def finding(path: Path) -> Finding:
    return Finding(
        str(path), None, None, "ok", Model("tiny", "1", "0"), decision="refer", diagnosis="NV",
        probabilities={"NV": 0.7, "MEL": 0.3}, neighbours=NEIGHBOURS,
    )  # fmt: skip


def test_a_strip_shows_the_photograph_and_its_neighbours(files: list[Path], tmp_path: Path) -> None:
    writer = StripWriter(tmp_path / "strips", [tmp_path / "photographs"], files)
    target = writer.write(finding(files[0]))
    assert target == tmp_path / "strips" / "ISIC_0000000.neighbours.png"
    with Image.open(target) as image:
        assert image.format == "PNG"
        picture = np.asarray(image)
    assert picture.shape[1] > 4 * 200
    assert (writer.shown, writer.absent) == (2, 1)
    # Frames of the two that are there are full of colour, that of the third is not.
    coloured = np.ptp(picture.astype(int), axis=2)[60:180].mean(axis=0)
    frames = [coloured[12 + n * 232 + 16 * (n > 0) :][60:160].mean() for n in range(4)]
    assert min(frames[:3]) > 10 > frames[3]


def test_a_doubt_about_an_alert_stands_beneath_it(files: list[Path], tmp_path: Path) -> None:
    writer = StripWriter(tmp_path / "strips", [tmp_path / "photographs"], files)
    sure = replace(finding(files[0]), decision="alert")
    doubted = replace(sure, doubts=("It looks unlike the photographs that the model knows.",))
    plain, told = (np.asarray(Image.open(writer.write(each))) for each in (sure, doubted))
    height = plain.shape[0]
    # The words of the first tile alone are more, in lines of their own.
    assert (told[:, :230].min(axis=2) < 128).sum() > (plain[:, :230].min(axis=2) < 128).sum() + 100
    assert (told[:height, 300:] == plain[:, 300:]).all()


def test_names_are_unique_and_no_photograph_is_overwritten(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    kept = folder / "ISIC_0000000.neighbours.png"
    kept.write_bytes(files[1].read_bytes())
    writer = StripWriter(folder, [folder], [*files, kept])
    assert writer.write(finding(files[0])) == folder / "ISIC_0000000-2.neighbours.png"
    assert writer.write(finding(files[0])) == folder / "ISIC_0000000-3.neighbours.png"
    assert kept.read_bytes() == files[1].read_bytes()
    assert find([folder]).files == files


def test_nothing_to_draw(files: list[Path], tmp_path: Path) -> None:
    writer = StripWriter(tmp_path / "strips", files[:1])
    assert writer.write(replace(finding(files[0]), neighbours=None)) is None
    assert writer.write(replace(finding(files[0]), neighbours=())) is None
    assert writer.write(finding(tmp_path / "gone.jpg")) is None
    files[1].write_bytes(b"broken")
    broken = StripWriter(tmp_path / "strips", files)
    assert broken.write(finding(files[0])) is not None
    assert (broken.shown, broken.absent) == (1, 2)
    with pytest.raises(DataError, match="does not exist"):
        StripWriter(tmp_path / "strips", [tmp_path / "none"])
