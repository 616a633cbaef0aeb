"""The page that shows how balanced a split came out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from melascope.reports import figures, wording
from melascope.reports.data_report import FOOTER
from melascope.reports.figures.divided import MOST_PARTS
from melascope.reports.page import Drawing, Page, Points, Section, Table


def split_report(
    title: str, counts: pd.DataFrame, shares: pd.DataFrame, sentences: Sequence[str], stamp: str = figures.UNAUDITED
) -> str:
    """Return a split as one self-contained HTML page.

    Args:
        title: Of the page.
        counts: Photographs of each diagnosis (rows) in each part or fold (columns).
        shares: Of each diagnosis' photographs, the share in each.
        sentences: How balanced it is.
        stamp: For the figure.
    """
    parts = [str(part) for part in counts.columns]
    cells = zip(counts.to_numpy(), shares[counts.columns].to_numpy(), strict=True)
    rows = [
        [str(name), *(f"{wording.count(n)} ({wording.share(share)})" for n, share in zip(*pair, strict=True))]
        for name, pair in zip(counts.index, cells, strict=True)
    ]
    rows.append(["all", *[wording.count(counts[part].sum()) for part in counts]])
    columns = ["diagnosis", *parts]
    if len(parts) > MOST_PARTS:
        # A row for each fold, since a page is longer than wide.
        caption = "Of each diagnosis' photographs, the shares in the folds; balanced where the lines are short."
        told = f"{len(parts)} folds; the table below has the numbers."
        columns, rows = (
            ["fold", *(row[0] for row in rows)],
            [list(row) for row in zip(*[columns, *rows], strict=True)][1:],
        )
    else:
        caption = "Of each diagnosis' photographs, the share in each part; balanced where the bars look alike."
        told = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in rows)
    blocks = [
        Points([("note", sentence) for sentence in sentences]),
        Drawing(figures.shares(shares, stamp=stamp), f"{caption} {told}", caption, True),
        Table("Photographs, with shares of each diagnosis", columns, rows),
    ]
    whole = wording.plural(int(counts.to_numpy().sum()), "photograph")
    return Page(
        title=title,
        subtitle=f"{whole}, never torn apart within a group",
        stamps=[],
        sections=[Section("split", "How balanced it is", blocks)],
        footer=FOOTER,
    ).render()
