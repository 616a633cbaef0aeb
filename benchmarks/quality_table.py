"""Write docs/quality.md's tables of what quality and damage do to error, from what `benchmarks.quality --json` left.

python -m benchmarks.quality_table quality.json --write docs/quality.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.champion.page import filled

WORDS = {
    "blur": "{0:g} % of the short side, sigma",
    "motion": "{0:g} % of the short side",
    "dark": "{1:g} stops",
    "bright": "{1:g} stops",
    "flat": "{0:g} % of contrast kept",
    "cut": "{0:g} % of the lesion",
    "far away": "{0:g} % of the picture",
    "hair": "{1:g} hairs",
    "ink": "{0:g} % of the picture",
    "ruler": "{0:g} % opacity",
    "few pixels": "{1:g} px short side",
    "vignette": "{0:g} % lit",
    "text": "{0:g} % of the short side, letters",
}
"""What a strength is of: {0} in percent, {1} as it is."""


def share(number: float) -> str:
    return f"{number:.2f}" if number >= 0.995 else f"{number:.2f}".removeprefix("0")


def told(row: Mapping[str, Any]) -> str:
    return f"{share(row['value'])} [{share(row['low'])}, {share(row['high'])}]"


def thirds(error: Mapping[str, Any]) -> list[str]:
    """Return the table of a model's scores by thirds of the photographs' quality."""
    lines = ["| third by score | scores | n | balanced accuracy | melanoma AUC |", "|---|---|---|---|---|"]
    for name, row in error["thirds"].items():
        low, high = row["scores"]
        lines.append(
            f"| {name} | {low:.2f} to {high:.2f} | {row['auc']['n']} | {told(row['balanced_accuracy'])} | "
            f"{told(row['auc'])} |"
        )
    return lines


def damage(error: Mapping[str, Any]) -> list[str]:
    """Return the table of a model's scores and alerts before and after each damage."""
    lines = [
        "| damage | strength | n | balanced accuracy | melanoma AUC | same most probable diagnosis | "
        "melanomas that alert | others that do not |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in error["damage"].items():
        for row in rows:
            strength = WORDS[name].format(round(100 * row["strength"], 6), row["strength"])
            moved = [
                f"{share(before[key]['value'])} → {told(after[key])}"
                for before, after, keys in (
                    (row["before"], row["after"], ("balanced_accuracy", "auc")),
                    (row["alerts_before"], row["alerts_after"], ("sensitivity", "specificity")),
                )
                for key in keys
            ]
            cells = [name, strength, str(row["after"]["auc"]["n"]), *moved[:2], share(row["same_answer"]), *moved[2:]]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="what benchmarks.quality --bundle FILE --json FILE wrote")
    parser.add_argument("--write", type=Path, required=True, help="the page, with the tables' marks")
    options = parser.parse_args(arguments)
    error = json.loads(options.found.read_text(encoding="utf-8"))["error"]
    page = options.write.read_text(encoding="utf-8")
    written = {"thirds": "\n".join(thirds(error)), "damage": "\n".join(damage(error))}
    options.write.write_text(filled(page, written, "benchmarks.quality_table"), encoding="utf-8")


if __name__ == "__main__":
    main()
