from __future__ import annotations

import numpy as np
import pytest

from melascope.images.contact_strip import SIDE, Tile, draw

RED, GREEN = (200, 20, 20), (20, 160, 30)


def plain(colour: tuple[int, int, int], height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def middle(picture: np.ndarray, number: int) -> tuple[int, ...]:
    """What is in the middle of a frame."""
    left = 12 + number * (SIDE + 12) + (16 if number else 0)
    return tuple(picture[12 + SIDE // 2, left + SIDE // 2].tolist())


def test_photographs_stand_side_by_side_in_order() -> None:
    tiles = [
        Tile(plain(RED), "first"),
        Tile(plain(GREEN, 300, 20), "second"),
        Tile(plain((0, 0, 255), 30, 900), "third"),
    ]
    picture = draw(tiles)
    assert picture.dtype == np.uint8
    assert picture.shape[1] > 3 * SIDE
    assert [middle(picture, number) for number in range(3)] == [RED, GREEN, (0, 0, 255)]


def test_an_empty_frame_has_words_in_it() -> None:
    blank = draw([Tile(None, "x")])
    told = draw([Tile(None, "x", missing="ISIC_0000001\nis not there")])
    assert blank.shape == told.shape
    inside = np.s_[40 : SIDE - 20, 20 : SIDE - 10]
    assert np.ptp(blank[inside]) < 5
    assert np.ptp(told[inside]) > 80


def test_long_and_foreign_words_stay_within_their_column() -> None:
    words = ("a very long sentence " * 8, "x" * 300, "\u041c\u0435\u043b\u0430\u043d\u043e\u043c\u0430", "")
    picture = draw([Tile(plain(RED), "heading", words), Tile(plain(RED), "y")])
    short = draw([Tile(plain(RED), "heading"), Tile(plain(RED), "y")])
    assert picture.shape[0] > short.shape[0]
    assert picture.shape[1] == short.shape[1]
    # The gap between the first column and its line stays white below the frames.
    assert (picture[SIDE + 14 :, 12 + SIDE + 2 : 12 + SIDE + 12] == 255).all()


def test_a_warning_is_red() -> None:
    def reddest(picture: np.ndarray) -> int:
        return int((picture[SIDE + 14 :, :, 0].astype(int) - picture[SIDE + 14 :, :, 2]).max())

    assert reddest(draw([Tile(plain(GREEN), "melanoma", warning=True)])) > 80
    assert reddest(draw([Tile(plain(GREEN), "nevus")])) < 10


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="one at least"):
        draw([])
