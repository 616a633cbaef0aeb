"""Photographs cut to their lesion: the lesion fills the cut, the ratio of sides stays, and nothing outside is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models.champion.crops import MARGIN, around, to_lesions
from PIL import Image


def _lesion(top: int, left: int, tall: int, wide: int) -> np.ndarray:
    lesion = np.zeros((150, 200), dtype=bool)
    lesion[top : top + tall, left : left + wide] = True
    return lesion


@pytest.mark.parametrize(
    "place", [(50, 60, 45, 60), (0, 0, 60, 30), (110, 170, 40, 30), (70, 90, 4, 4), (0, 0, 150, 200)]
)
def test_a_cut_holds_the_lesion_within_the_photograph_at_its_ratio(place: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = around(_lesion(*place))
    assert 0 <= left < right <= 200
    assert 0 <= top < bottom <= 150
    assert (right - left) / (bottom - top) == pytest.approx(200 / 150)
    assert left <= place[1]
    assert right >= place[1] + place[3]
    assert top <= place[0]
    assert bottom >= place[0] + place[2]


def test_the_margin_is_a_share_of_the_lesion() -> None:
    left, top, right, bottom = around(_lesion(50, 70, 45, 60))
    assert (right - left, bottom - top) == pytest.approx((60 * (1 + 2 * MARGIN), 45 * (1 + 2 * MARGIN)))
    assert (left + right, top + bottom) == pytest.approx((2 * 70 + 60, 2 * 50 + 45))
    assert around(np.zeros((150, 200), dtype=bool)) == (0, 0, 200, 150)


def test_photographs_are_cut_by_their_own_masks(tmp_path: Path) -> None:
    images = np.zeros((2, 150, 200, 3), dtype=np.uint8)
    lesion = _lesion(60, 80, 30, 40)
    images[:, lesion] = 200
    Image.fromarray((lesion * 255).astype(np.uint8)).save(tmp_path / "ISIC_0000001_segmentation.png")
    cut, whole = to_lesions(images, ["ISIC_0000001", "ISIC_0000002"], tmp_path, (96, 128))
    assert cut.shape == (96, 128, 3)
    assert (whole > 100).mean() == pytest.approx(lesion.mean(), abs=0.01)
    # A third of the photograph's sides is shown, the lesion is a fifth of them.
    assert (cut > 100).mean() == pytest.approx(lesion.mean() * 9, abs=0.03)
    with pytest.raises(SystemExit, match="segmentation"):
        to_lesions(images, ["a", "b"], tmp_path, (96, 128))
