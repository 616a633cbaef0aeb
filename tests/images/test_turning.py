from __future__ import annotations

import math

import numpy as np
import pytest

from melascope.images.turning import inscribed, turned


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 64), (64, 48), (20, 90), (90, 20)])
@pytest.mark.parametrize("degrees", [-45, -10, 0, 3.3, 10, 30, 45])
def test_the_inscribed_rectangle_lies_inside_the_turned_photograph_and_touches_its_rim(height, width, degrees):
    high, wide = inscribed(height, width, degrees)
    turn = math.radians(degrees)
    corners = [(sx * wide / 2, sy * high / 2) for sx in (-1, 1) for sy in (-1, 1)]
    back = [(x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)) for x, y in corners]
    reach = max(max(abs(x) - width / 2, abs(y) - height / 2) for x, y in back)
    assert abs(reach) < 1e-9


@pytest.mark.parametrize("shape", [(40, 40, 3), (30, 60, 3)])
def test_no_black_corner_arises_and_the_size_stays(shape):
    white = np.full(shape, 255, dtype=np.uint8)
    for degrees in (-10.0, 4.5, 10.0, 45.0):
        assert turned(white, degrees).shape == shape
        assert turned(white, degrees).min() == 255


def test_a_turn_is_anticlockwise_and_none_changes_nothing():
    image = np.zeros((61, 61, 3), dtype=np.uint8)
    image[28:33, 50:55] = 255  # to the right of the centre
    assert turned(image, 0.0) is image
    rows, _ = np.nonzero(turned(image, 10.0)[..., 0] > 128)
    assert rows.mean() < 28  # it went up
