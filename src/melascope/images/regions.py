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


def framed(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return values `(h, w, ...)` with their edges repeated by some rows and columns on each side."""
    height, width = values.shape[:2]
    # `np.pad` takes ten times as long for images of this size.
    wide = np.empty((height + 2 * rows, width + 2 * columns, *values.shape[2:]), values.dtype)
    wide[rows : rows + height, columns : columns + width] = values
    if columns:
        wide[rows : rows + height, :columns] = wide[rows : rows + height, columns : columns + 1]
        wide[rows : rows + height, columns + width :] = wide[
            rows : rows + height, columns + width - 1 : columns + width
        ]
    if rows:
        wide[:rows] = wide[rows]
        wide[rows + height :] = wide[rows + height - 1]
    return wide


def window_sums(flat: np.ndarray, step: int, count: int) -> np.ndarray:
    """Return the sums of `count` values, each `step` further on: `(n - (count - 1) step,)` of `(n,)`.

    A framed image's pixels as one row are several times as fast as its rows one by one.
    """
    done, together = 1, flat
    found = flat if count & 1 else None
    # One, two, four values at a time; what the count needs of them is put together from the end.
    while 2 * done <= count:
        together = together[: -done * step] + together[done * step :]
        done *= 2
        if count & done:
            found = together if found is None else together[: len(found) - done * step] + found[done * step :]
    assert found is not None
    return found


def window_extremes(flat: np.ndarray, step: int, count: int, extreme: np.ufunc) -> np.ndarray:
    """Return the extremes (`np.maximum` or `np.minimum`) of windows as `window_sums` has them."""
    done = 1
    while done < count:
        more = min(done, count - done)
        flat = extreme(flat[: -more * step], flat[more * step :])
        done += more
    return flat


def smooth(values: np.ndarray, reach: int) -> np.ndarray:
    """Return the means `(h, w)` over squares of `2 reach + 1`, edges repeated."""
    height, width = values.shape
    means = windowed_means(framed(values, reach, reach), 2 * reach + 1)
    return means.reshape(height, width)


def windowed_means(wide: np.ndarray, count: int) -> np.ndarray:
    """Return the means over squares of `count` pixels that lie within `(h, w)`: `(h - count + 1, w - count + 1)`."""
    height, width = wide.shape
    sums = window_sums(window_sums(wide.ravel(), width, count), 1, count)
    # The last row lacks the windows that would run over its end, which are not asked for.
    found = np.lib.stride_tricks.as_strided(
        sums, (height - count + 1, width - count + 1), (width * sums.itemsize, sums.itemsize), writeable=False
    )
    mean: np.ndarray = found * np.asarray(1 / count**2, sums.dtype)
    return mean


def grown(mask: np.ndarray, reach: int = 3) -> np.ndarray:
    """Return a mask `(h, w)` bool, grown by some pixels."""
    levels = mask.view(np.uint8)
    for step in ((0, 1), (1, 0)):
        levels = slide(levels, step, reach, np.maximum)
    return np.ascontiguousarray(levels).view(bool)


def slide(levels: np.ndarray, step: tuple[int, int], reach: int, extreme: np.ufunc) -> np.ndarray:
    """Return the extreme `(h, w, ...)` over `2 reach + 1` pixels along a direction, edges repeated.

    Args:
        levels: `(h, w, ...)`.
        step: Rows (0 or more) and columns from one pixel to the next, such as (0, 1), (1, 1), (1, -1) or (2, -1).
        reach: Pixels to both sides.
        extreme: `np.maximum` or `np.minimum`.
    """
    rows, columns = abs(step[0]), abs(step[1])
    wide = framed(levels, reach * rows, reach * columns)
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
    low, high = float(values.min()), float(values.max())
    if not high > low:
        low, high = low - 0.5, high + 0.5
    width = (high - low) / 64
    counts = np.bincount(np.minimum(((values - low) * (1 / width)).astype(np.int64), 63), minlength=64)
    edges = low + width * np.arange(65)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middles)
    apart = np.square(total[-1] * below / below[-1] - total) / np.maximum(below * above, 1)
    return float(edges[int(apart[:-1].argmax()) + 1])
