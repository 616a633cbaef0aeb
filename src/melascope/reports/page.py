"""One self-contained HTML page out of blocks: text, tables, figures, galleries.

A page asks for nothing outside itself (its content security policy forbids
it), works without JavaScript, prints with everything unfolded, and follows the
reader's light or dark scheme. Everything that comes from data (file names,
class names, messages) is escaped by the templates; control characters and
broken Unicode in file names are replaced.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from melascope.reports.figures.style import to_svg

_SCRIPT = "addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(d => { d.open = true }));"


@dataclass(frozen=True)
class Text:
    """A paragraph; `level` is `plain`, `lead`, `small`, `good`, `note` or `warning`."""

    kind: ClassVar[str] = "text"
    text: str
    level: str = "plain"


@dataclass(frozen=True)
class Points:
    """A list of remarks `(level, text)`, level `good`, `note` or `warning`."""

    kind: ClassVar[str] = "points"
    points: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Drawing:
    """A matplotlib figure with what it shows in words (`alt`) and its caption."""

    kind: ClassVar[str] = "drawing"
    figure: Figure
    alt: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Picture:
    """A photograph as base64 JPEG; `tag` is a short word over its corner, `source` None where it cannot be shown."""

    source: str | None
    alt: str
    caption: str
    tag: str = ""
    level: str = "note"


@dataclass(frozen=True)
class Gallery:
    """Photographs in a grid that reflows; `large` for those with heat maps."""

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]
    title: str = ""
    note: str = ""
    stamp: str = ""
    large: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row; cells are text already formatted."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: bool = False
    """Whether the cells are words, aligned left, rather than numbers."""


@dataclass(frozen=True)
class Facts:
    """Terms with their values."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Text to copy: a command, a recipe."""

    kind: ClassVar[str] = "code"
    text: str
    label: str = ""


@dataclass(frozen=True)
class Measure:
    """One headline score: its name, the number in large type, the sentence, and its interval as a strip.

    `value`, `low`, `high` and `target` are fractions, None where unknown.
    """

    name: str
    number: str
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    target: float | None = None


@dataclass(frozen=True)
class Measures:
    """The headline scores side by side."""

    kind: ClassVar[str] = "measures"
    measures: Sequence[Measure]


@dataclass(frozen=True)
class Row:
    """Blocks that stand side by side where the screen is wide enough."""

    kind: ClassVar[str] = "row"
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Details:
    """Blocks folded under a line of summary; printing unfolds them."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: Sequence[Any]
    opened: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the page, with its entry in the navigation; empty sections are left out."""

    name: str
    title: str
    blocks: Sequence[Any]
    reader: str = ""
    """For whom it is, such as `statistics`; printed beside the title."""


@dataclass(frozen=True)
class Page:
    """A report's page.

    Attributes:
        title: In the heading and the window's title.
        subtitle: One sentence below it.
        stamps: `(level, text)`: audited or not, the protocol, and whatever else limits the numbers.
        sections: In order.
        footer: Sentences at the end of the page.
    """

    title: str
    sections: Sequence[Section]
    subtitle: str = ""
    stamps: Sequence[tuple[str, str]] = ()
    footer: Sequence[str] = field(default_factory=tuple)

    def render(self) -> str:
        """Return the page as one HTML text, encodable as UTF-8."""
        sections = [section for section in self.sections if section.blocks]
        drawings = [block for section in sections for block in walk(section.blocks) if isinstance(block, Drawing)]
        svgs: Mapping[int, tuple[int, Markup]] = {
            id(drawing): (number, to_svg(drawing.figure, f"f{number}", clean(drawing.alt)))
            for number, drawing in enumerate(drawings, start=1)
        }
        html = _environment().get_template("page.html").render(
            page=self,
            sections=sections,
            drawn=lambda drawing: svgs[id(drawing)],
            script=Markup(_SCRIPT),
            script_hash=base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode(),
        )  # fmt: skip
        return clean(html)


def walk(blocks: Iterable[Any]) -> Iterator[Any]:
    """Yield blocks, those inside rows and details too, in reading order."""
    for block in blocks:
        yield block
        if isinstance(block, (Row, Details)):
            yield from walk(block.blocks)


def clean(text: str) -> str:
    """Replace what cannot stand in a UTF-8 HTML page: control characters, and bytes that were no Unicode."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)
    return text.encode("utf-8", "replace").decode("utf-8")


def jpeg(picture: np.ndarray, longest: int = 150, quality: int = 80) -> str:
    """Return a photograph `(h, w, 3) uint8` as a JPEG data URI, its longer side at most `longest` pixels."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture, dtype=np.uint8))
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("melascope.reports", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["style"] = Markup(environment.get_template("style.css").render())
    return environment
