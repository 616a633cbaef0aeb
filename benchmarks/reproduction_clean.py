"""The published recipes and ours on the same folds, under `clean`: what docs/reproduction.md says of who is better."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.reproduction_rows import trainings
from benchmarks.reproduction_words import filled
from melascope.counted import plural
from melascope.training import recipe as recipes

OURS = ("small-cnn", "champion")
"""The default recipe and the best."""
SCORES = {"balanced_accuracy": "balanced accuracy", "accuracy": "accuracy", "melanoma_auc": "melanoma AUC"}
COMMAND = (
    "python -m benchmarks.cross_validation isic9 --authority ISIC_2019_Training_GroundTruth.csv "
    "ISIC_2019_Training_Metadata.csv --out field --field --weights mobilenetv2_imagenet.npz --precision {precision} "
    "--write docs/reproduction_clean.json"
)


def field_recipes(folder: Path, precision: str, weights: Path | None) -> dict[str, str]:
    """Write the recipes that are to be compared into a folder; return their files by name, ours first.

    Args:
        folder: Made where it is not there.
        precision: Of the published ones; ours are trained as they are.
        weights: Of the champion's network; without them it is left out.
    """
    chosen = {"small-cnn": recipes.load("small-cnn")}
    if weights is not None:
        chosen["champion"] = recipes.load("champion").replace(network={"weights": str(weights.resolve())})
    for training in trainings():
        if training.design.copies == "none":
            name = training.name.partition(".")[0]
            chosen.setdefault(name, training.resolved(precision).model_copy(update={"name": name}))
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in chosen.items():
        (folder / f"{name}.toml").write_text(made.dumps(), encoding="utf-8")
    return {name: str(folder / f"{name}.toml") for name in chosen}


def record(result: Mapping[str, Any], ours: Sequence[str] = OURS) -> dict[str, Any]:
    """Return what the page needs of a cross-validation: every recipe's scores, and by how much ours are above them."""
    less: dict[str, dict[str, Any]] = {}
    for row in result["differences"]:
        for mine, other, sign in ((row["a"], row["b"], 1), (row["b"], row["a"], -1)):
            if mine in ours and other not in ours and row["value"] is not None:
                ends = (row["low"], row["high"]) if sign > 0 else (-row["high"], -row["low"])
                told = {"value": sign * row["value"], "low": ends[0], "high": ends[1], "n": row["n"]}
                less.setdefault(other, {}).setdefault(mine, {})[row["score"]] = told
    return {
        **{key: result[key] for key in ("photographs", "groups", "folds", "seeds")},
        "recipes": {
            name: {
                "scores": {score: one["scores"][score] for score in SCORES},
                "less": less.get(name, {}),
                "precision": recipes.parse(tomllib.loads(one["toml"])).schedule.precision,
            }
            for name, one in result["recipes"].items()
        },
        "date": date.today().isoformat(),
        "machine": result["environment"],
    }


def section(path: Path) -> str:
    """Return the page's section, of the record at a path; how to make it where there is none."""
    lines = ["## Ours on the same photographs", ""]
    if not path.exists():
        return "\n".join([*lines, "Not computed yet:", "", "```sh", COMMAND.format(precision="bfloat16"), "```"])
    told = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = told["recipes"]
    ours = [name for name in OURS if name in found]
    precisions = {one["precision"] for name, one in found.items() if name not in ours} or {"float32"}
    said = (
        f"Under `clean`, Test closed: {told['photographs']:,} photographs in {told['groups']:,} groups of lesion and "
        f"patient, {told['folds']} folds, {plural(len(told['seeds']), 'repeat')}. All recipes stand on the same folds; "
        "differences are taken fold by fold, with the corrected resampled t interval (95 %). An interval that contains "
        "zero shows no difference."
    )
    lines += [
        filled(said),
        "",
        "```sh",
        COMMAND.format(precision=" or ".join(sorted(precisions))),
        "```",
        "",
        "| recipe | " + " | ".join([*SCORES.values(), *(f"{mine} less it, balanced accuracy" for mine in ours)]) + " |",
        "|" + "---|" * (1 + len(SCORES) + len(ours)),
    ]
    for name in [*ours, *sorted(set(found) - set(ours), key=lambda name: _value(found[name]))]:
        cells = [_span(found[name]["scores"][score]) for score in SCORES]
        less = [found[name]["less"].get(mine, {}).get("balanced_accuracy") for mine in ours]
        cells += ["" if one is None else _span(one, "+") for one in less]
        lines.append(f"| {f'**{name}**' if name in ours else name} | {' | '.join(cells)} |")
    lines += ["", *(_verdict(mine, found) for mine in ours)]
    lines += ["", f"{told['date']}, {told['machine']['processor']}, {plural(told['machine']['cores'], 'core')}."]
    return "\n".join(lines)


def _value(one: Mapping[str, Any]) -> float:
    return -float(one["scores"]["balanced_accuracy"]["value"])


def _span(estimate: Mapping[str, Any], sign: str = "") -> str:
    if estimate["value"] is None:
        return "-"
    value, low, high = (f"{estimate[key]:{sign}.3f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _verdict(mine: str, found: Mapping[str, Any]) -> str:
    """Return which of the others a recipe is shown to be better than."""
    told = []
    for score, words in SCORES.items():
        less = {name: one["less"][mine][score] for name, one in found.items() if score in one["less"].get(mine, {})}
        better = [name for name, one in less.items() if one["low"] > 0]
        worse = [name for name, one in less.items() if one["high"] < 0]
        rest = sorted(set(less) - set(better) - set(worse))
        of = f"by {words} shown better than {len(better)} of {len(less)}"
        of += f" (not shown: {', '.join(rest)})" if rest else ""
        of += f" (worse than {', '.join(worse)})" if worse else ""
        told.append(of)
    return f"- `{mine}`: {'; '.join(told)}."
