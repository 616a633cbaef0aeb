"""How every figure looks: type, colours, the stamp, and how it becomes a file.

Figures use matplotlib's object interface, never its global state, so that
they can be drawn in a server's threads. Each one carries its stamp (whether the
data passed the audit, which protocol) inside the picture, because figures are
copied out of reports. Colours are those of Okabe and Ito (2008), which readers
with a colour vision deficiency tell apart; labels, markers or line styles
always say the same thing again.

Text stays text in the SVG: it is half the size of outlined glyphs, can be
searched and read aloud, and the width is laid out for DejaVu Sans, than which
the fallbacks are narrower.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import matplotlib
import matplotlib.ticker
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from melascope import diagnosis

UNAUDITED = "unaudited"
"""The stamp of a figure about which nothing is known."""

INK = "#1f2a37"
MUTED = "#5b6675"
GRID = "#e3e8ee"
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#00795a"
PURPLE = "#a8508a"
ORANGE = "#c98300"
SKY = "#3d9bd1"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)), "-", (0, (5, 2)), (0, (1.5, 1.5)))

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#aab4c0",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    # Class and run names come from users: a dollar sign in one is not mathematics.
    "text.parse_math": False,
    "text.usetex": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "svg.fonttype": "none",
}

P = ParamSpec("P")
R = TypeVar("R")


class Plot(Figure):
    """A matplotlib figure that also shows itself in Jupyter without pyplot."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw under the house style, and without warnings about letters that the font lacks."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            return draw(*args, **kwargs)

    return wrapper


def new(width: float, height: float, stamp: str) -> Figure:
    """Return an empty figure of `width` x `height` inches with its stamp in the lower right corner."""
    figure = Plot(figsize=(width, height), layout="constrained")
    room = 0.2 / height
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, room, 1, 1 - room))  # type: ignore[call-arg]
    figure.text(1 - 0.06 / width, 0.05 / height, stamp, ha="right", va="bottom", fontsize=7, color=MUTED)
    return figure


def empty(message: str, stamp: str) -> Figure:
    """Return a small figure that says why there is nothing to draw."""
    figure = new(4.6, 1.1, stamp)
    figure.text(0.5, 0.55, message, ha="center", va="center", color=MUTED)
    return figure


def percent_axis(axis: Any, label: str) -> None:
    """Turn a 0-to-1 axis into percent with quiet grid lines."""
    axis.set_major_locator(matplotlib.ticker.FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0, symbol=" %"))
    axis.set_label_text(label)
    axis.grid(True)


def bare(axes: Axes) -> None:
    """Remove ticks and frame from axes that hold a picture or a drawing."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def class_name(code: object) -> str:
    """Return a diagnosis's name for an axis, or the text itself where it is no code."""
    text = str(code)
    known = diagnosis.DIAGNOSES.get(text)
    return known.name if known else text


def short(text: object, length: int = 28) -> str:
    """Shorten a label to `length` characters with an ellipsis."""
    plain = str(text)
    return plain if len(plain) <= length else plain[: length - 1] + "…"


@styled
def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """Return the figure as PNG bytes."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi)
    _freeze(figure)
    return out.getvalue()


def _freeze(figure: Figure) -> None:
    """Keep the layout of the first drawing: laid out again, a figure would move by fractions of a pixel."""
    figure.set_layout_engine("none")


def to_svg(figure: Figure, name: str, alt: str) -> Markup:
    """Return the figure as an inline SVG, the same bytes every time.

    Args:
        figure: The figure.
        name: A name unique in the page; every id inside the SVG starts with it.
        alt: What the figure shows, for those who do not see it.
    """
    out = io.StringIO()
    style = _STYLE | {"svg.hashsalt": name}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        _freeze(figure)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = text[text.index(">") + 1 :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<defs>\s*<style.*?</defs>", "", text, flags=re.DOTALL)
    # matplotlib's ids are hashes of coordinates, whose last bits differ from run to run: number them instead.
    used = dict.fromkeys(re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', text))
    ids = {identifier: f"{name}-{number}" for number, identifier in enumerate(used, start=1)}
    text = re.sub(r"<[^>]*>", lambda tag: _tag(tag[0], ids), text)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    opening = (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {width * 0.75:g} {height * 0.75:g}" '
        f'style="max-width:{width}px" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return Markup(opening + re.sub(r">\s+<", "><", text).strip())


def _tag(tag: str, ids: Mapping[str, str]) -> str:
    """Make one SVG tag small and its ids unique in a page; what stands between tags is left alone."""
    tag = re.sub(r'\s+id="([^"]+)"', lambda m: f' id="{ids[m[1]]}"' if m[1] in ids else "", tag)
    tag = re.sub(r'(url\(#|xlink:href="#)([^)"]+)', lambda m: m[1] + ids[m[2]], tag)
    # The page's style sheet names the font once; matplotlib would name it at every label.
    tag = re.sub(r" ?font-family: [^;\"]*;?", "", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", tag)
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
    return re.sub(r"\s*\n", "", tag) if tag.startswith("<path") else tag
