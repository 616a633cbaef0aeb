"""Writing burned into a photograph: whether a line of it stands near the upper or lower border.

Nothing is read. A line of writing is a row of narrow strokes, near white or
near black in every channel, that fills its length evenly, has quiet rows above and
below, and changes from one of its own rows to the next; hair and pigment network
fail one of these, and ticks of a ruler the last. White strokes are looked for in
the darkest channel and black ones in the brightest, in which skin, blood and
pigment make no such strokes.
"""

from __future__ import annotations

import numpy as np

SUSPECTED = 2.5
"""A score from here on is suspected to be writing.

Of names and dates drawn onto photographs of the ISIC sets, letters a 20th of the image high, three in four (256 x 256)
to nine in ten (200 x 150) reach it in a reduction with sides of 128 pixels or more; in one with 64 pixels one in five.
Of 14,534 photographs as they are, 12 do, all of them by a scale bar.
"""

# Heights of letters in pixels of the reduction, and how much their rows differ at least: high letters have long
# upright strokes too. Of drawn names 19 in 20 are above, of rulers, real and generated, nearly all below.
_HEIGHTS = {4: 0.27, 6: 0.27, 9: 0.27, 13: 0.19}
_LOWEST = 4
_PIECES = 6  # a line is at least so many times as long as it is high
_QUIET_ROWS = 2
_STRONGEST = 60
_LONGEST = 512


def text_score(small: np.ndarray, least: float = 0.0) -> float:
    """Return how much of a line of writing stands in the upper or lower quarter of a photograph.

    Letters need about five pixels of height in the reduction: one with sides
    of 128 pixels shows letters of a 25th of the image's height and more.

    Args:
        small: `(h, w, 3)` uint8, sRGB, upright; a longer side than 512 is reduced to that.
        least: A score below this need not be known exactly: then 0 may come back, sooner.

    Returns:
        Grey levels, 0 to 60: by how much the strokes of the line, on average
        over its weakest part, exceed twice what stands above and below it.
    """
    height, width = small.shape[:2]
    if max(height, width) > _LONGEST:
        from PIL import Image

        scale = _LONGEST / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = Image.fromarray(np.ascontiguousarray(small, dtype=np.uint8))
        small = np.asarray(image.resize(size, Image.Resampling.BOX))
        height, width = small.shape[:2]
    depth = height // 4
    if depth < _LOWEST + _QUIET_ROWS or width < _PIECES * _LOWEST + 4:
        return 0.0
    # Both bands run from the border inwards: beyond the border there is nothing, which counts as quiet.
    return _best_line(_strokes(np.stack([small[:depth], small[height - depth :][::-1]])), least)


def _strokes(bands: np.ndarray) -> np.ndarray:
    """Return by how much each pixel of bands `(2, rows, columns, 3)` stands out: `(4, rows, columns - 4)`, 0 to 60."""
    red, green, blue = bands[..., 0], bands[..., 1], bands[..., 2]
    darkest = np.minimum(np.minimum(red, green), blue).astype(np.int16)
    brightest = np.maximum(np.maximum(red, green), blue).astype(np.int16)
    white = darkest[..., 2:-2] - np.maximum(darkest[..., :-4], darkest[..., 4:])
    black = np.minimum(brightest[..., :-4], brightest[..., 4:]) - brightest[..., 2:-2]
    found: np.ndarray = np.clip(np.concatenate([white, black]), 0, _STRONGEST)
    return found


def _best_line(strokes: np.ndarray, least: float) -> float:
    """Return the score of the best line in strokes `(bands, rows, columns)`."""
    count, rows, columns = strokes.shape
    sums = np.zeros((count, rows + 1, columns + 1), dtype=np.int32)
    np.cumsum(strokes, axis=1, out=sums[:, 1:, 1:], dtype=np.int32)
    np.cumsum(sums[:, 1:, 1:], axis=2, out=sums[:, 1:, 1:])
    best = 0.0
    for high, least_change in _HEIGHTS.items():
        length = _PIECES * high
        if high + _QUIET_ROWS > rows or length > columns:
            break
        upright = sums[:, high:] - sums[:, :-high]
        pieces = upright[..., high:] - upright[..., :-high]
        starts = columns - length + 1
        weakest = pieces[..., :starts].copy()
        for piece in range(1, _PIECES):
            np.minimum(weakest, pieces[..., piece * high : piece * high + starts], out=weakest)
        if int(weakest.max()) < max(best, least) * high**2:
            continue  # no line of this height can be better
        # Strokes of two rows, over the line's length: above and below it.
        long = sums[..., length:] - sums[..., :-length]
        pairs = long[:, _QUIET_ROWS:] - long[:, :-_QUIET_ROWS]
        lines = rows - high - _QUIET_ROWS + 1
        beside = pairs[:, high : high + lines].copy()
        below = beside[:, _QUIET_ROWS:]  # the first lines have nothing but the border above them
        np.maximum(below, pairs[:, : below.shape[1]], out=below)
        scores = weakest[:, :lines] / np.float32(high**2) - beside * np.float32(2 / (_QUIET_ROWS * length))
        for band, highest in enumerate(scores.reshape(count, -1).argmax(axis=1)):
            y, x = divmod(int(highest), starts)
            score = float(scores[band, y, x])
            if score > best and _change(strokes[band, y : y + high, x : x + length]) >= least_change:
                best = score
    return best


def _change(line: np.ndarray) -> float:
    """Return how much the rows of a line differ from the next, 0 (upright bars) to 1 (nothing in common)."""
    both = int(line[1:].sum(dtype=np.int64) + line[:-1].sum(dtype=np.int64))
    return float(np.abs(np.diff(line, axis=0)).sum(dtype=np.int64)) / max(1, both)
