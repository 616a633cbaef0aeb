"""Small operations on images and masks that finding lesions, hair and blur need, without SciPy."""

from __future__ import annotations

import numpy as np

_LONGEST = 8  # a strip of 10,000 x 64 pixels must not make every later step slow


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    """Return a photograph `(h, w, 3)` uint8 with a short side of `side` pixels; a smaller one is enlarged."""
    from PIL import Image

    height, width = image.shape[:2]
    scale = side / min(height, width)
    most = _LONGEST * side
    size = (min(most, max(1, round(width * scale))), min(most, max(1, round(height * scale))))
    if size == (width, height):
        return np.ascontiguousarray(image)
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    picture = Image.fromarray(np.ascontiguousarray(image))
    # Very large photographs first average whole pixels, which is several times as fast.
    return np.asarray(picture.resize(size, how, reducing_gap=3.0 if scale < 1 else None))


def enlarged(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a mask `(h, w)` bool on another grid `(height, width)` bool, its outline smoothed."""
    from PIL import Image

    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) > 127


def smooth(values: np.ndarray, reach: int) -> np.ndarray:
    """Return the means `(h, w)` over squares of `2 reach + 1`, edges repeated."""
    count = 2 * reach + 1
    for axis in (0, 1):
        around = [(reach, reach) if axis == other else (0, 0) for other in (0, 1)]
        wide = np.pad(values, around, mode="edge")
        length = values.shape[axis]
        parts = [
            wide[start : start + length] if axis == 0 else wide[:, start : start + length] for start in range(count)
        ]
        values = sum(parts[1:], parts[0]) / count
    return values


def grown(mask: np.ndarray, reach: int = 3) -> np.ndarray:
    """Return a mask `(h, w)` bool, grown by some pixels."""
    found: np.ndarray = smooth(mask.astype(np.float32), reach) > 1e-6
    return found


def slide(levels: np.ndarray, step: tuple[int, int], reach: int, extreme: np.ufunc) -> np.ndarray:
    """Return the extreme `(h, w, ...)` over `2 reach + 1` pixels along a direction, edges repeated.

    Args:
        levels: `(h, w, ...)`.
        step: Rows (0 or more) and columns from one pixel to the next, such as (0, 1), (1, 1), (1, -1) or (2, -1).
        reach: Pixels to both sides.
        extreme: `np.maximum` or `np.minimum`.
    """
    rows, columns = abs(step[0]), abs(step[1])
    around = [(reach * rows, reach * rows), (reach * columns, reach * columns)] + [(0, 0)] * (levels.ndim - 2)
    wide = np.pad(levels, around, mode="edge")
    if step[1] < 0:
        wide = wide[:, ::-1]
    done, whole = 1, 2 * reach + 1
    # One, two, four pixels at a time, and the rest.
    while done < whole:
        more = min(done, whole - done)
        y, x = more * rows, more * columns
        wide = extreme(wide[: wide.shape[0] - y, : wide.shape[1] - x], wide[y:, x:])
        done += more
    return wide[:, ::-1] if step[1] < 0 else wide


def without_thin_dark(image: np.ndarray, reach: int) -> np.ndarray:
    """Return an image `(h, w, ...)` in which dark things narrower than `2 reach + 1` pixels are filled (a closing)."""
    for extreme in (np.maximum, np.minimum):
        for step in ((0, 1), (1, 0)):
            image = slide(image, step, reach, extreme)
    return image


def components(mask: np.ndarray) -> np.ndarray:
    """Return the 4-connected components of a mask `(h, w)` bool: `(h, w)` int, 0 outside, numbers with gaps inside.

    Rows are cut into runs, and runs that touch are joined (union-find, Rosenfeld and Pfaltz 1966).
    """
    height, width = mask.shape
    wide = np.zeros((height, width + 2), np.int8)
    wide[:, 1:-1] = mask
    change = np.diff(wide, axis=1)
    rows, starts = np.nonzero(change == 1)
    _, ends = np.nonzero(change == -1)
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first = np.searchsorted(rows, np.arange(height + 1)).tolist()
    begin, end = starts.tolist(), ends.tolist()
    for row in range(1, height):
        above, below = first[row - 1], first[row]
        last_above, last_below = first[row], first[row + 1]
        while above < last_above and below < last_below:
            if begin[above] < end[below] and begin[below] < end[above]:
                one, other = root(above), root(below)
                parent[max(one, other)] = min(one, other)
            if end[above] < end[below]:
                above += 1
            else:
                below += 1
    labels = np.zeros(height * width, np.int64)
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    pixels = np.repeat(rows * width + starts - before, lengths) + np.arange(int(lengths.sum()))
    labels[pixels] = np.repeat(np.array([root(run) + 1 for run in range(len(rows))], np.int64), lengths)
    return labels.reshape(height, width)


def otsu(values: np.ndarray) -> float:
    """Return the threshold that parts values `(n,)` into two groups with the largest variance between them."""
    counts, edges = np.histogram(values, 64)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middles)
    apart = np.square(total[-1] * below / below[-1] - total) / np.maximum(below * above, 1)
    return float(edges[int(apart[:-1].argmax()) + 1])
