"""What docs/reproduction.md says of the field's cross-validation: who is shown to be better than whom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.field_baselines import NEIGHBOURS, NUMBER, OLDEST
from benchmarks.field_beside import DECIDES, beside_baselines, beside_colours, less, span
from benchmarks.field_record import COPIED, OURS, SCORES, field_recipes, read, same
from benchmarks.reproduction_words import filled
from melascope.counted import plural
from melascope.evaluation.cross_validated import by_fold, grouping, widened
from melascope.reports.wording import listed
from melascope.statistics import repeated_cv_difference
from melascope.training import recipe as recipes
from melascope.training.recipe import Recipe

COMMAND = (
    "python -m benchmarks.field isic9 --authority ISIC_2019_Training_GroundTruth.csv "
    "ISIC_2019_Training_Metadata.csv --out field --weights mobilenetv2_imagenet.npz "
    "--write docs/reproduction_clean.json"
)
NOT_YET = (
    "Nothing of the repeated grouped cross-validation is computed yet: none of its {pairs} is made, of {ours} with "
    "each of {count} published recipes ({copied} of them with copies, made in each fold of what is trained on there). "
    "That ours beat the published recipes is not shown. What was compared on one fold stands below."
)
SEEN_BEFORE = (
    "Our recipes had met these photographs before. `small-cnn` and `plain-cnn` were compared on these very folds "
    "(README) before it was said which of ours are to be compared here; `small-cnn` got its settings in the change "
    "that added that comparison, and on what they were chosen is not recorded, so that it may owe something to these "
    "folds. The recipe `champion` was designed on HAM10000, to which {of_ham10000:,} of them belong, and both stood "
    "beside recipes trained on copies on one fold (below). Said before any of the others was trained on these folds: "
    "balanced accuracy decides, `small-cnn` is the default and `mobilenetv2-finetuned` the best for a set of this "
    "size. Since then one thing was changed, and these folds led to it: the moving average of weights of `champion` "
    "reached back as far as these trainings are long, so that two fifths of what was kept was the network before its "
    "fine-tuning. It now shortens itself in such a training, which alters no other recipe here. As it was, `champion` "
    "had a balanced accuracy of 0.522 (0.464 to 0.581) over the first repeat, shown above 5 of 10 published recipes. "
    "What stands here of it is made anew, after that was seen."
)
OF_SOURCES = (
    "In this set all AK, BCC, DF, SCC and VASC of Train are HAM10000's, and no melanoma is: who tells the source tells "
    "much of the diagnosis. So the melanoma AUC stands beside that among photographs that are not HAM10000's by their "
    "lesion id. Their sources are not known, and that one is not free of them either: all nevi among them have numbers "
    f"up to {OLDEST} in the archive, and two thirds of the melanomas later ones. The last column compares those up to "
    f"{OLDEST} alone. *{NUMBER}* says what the {NEIGHBOURS} photographs of the nearest numbers are: what it reaches "
    "is told by how the set was collected. Accuracies cannot be freed of it."
)
SHUFFLED = f"the third baseline (`{OURS[0]}` on shuffled labels, which must be at chance)"


def complete(rows: Sequence[Mapping[str, Any]], folds: int) -> pd.DataFrame:
    """Return the rows of those repeats of which all folds are done."""
    table = pd.DataFrame(list(rows), columns=["seed", "fold", "n", *SCORES, "log_loss"])
    whole = table.groupby("seed")["fold"].transform("nunique") == folds
    return table[whole].astype({"seed": int, "fold": int} | dict.fromkeys([*SCORES, "log_loss"], float))


def means(rows: pd.DataFrame, groups: int) -> dict[str, dict[str, Any]]:
    """Return the mean over folds of each score with its interval; that of the accuracy is no narrower than Wilson's."""
    found = {score: repeated_cv_difference(by_fold(rows, score), lowest=0.0, highest=1.0) for score in SCORES}
    if math.isfinite(found["accuracy"].value):
        found["accuracy"] = widened(found["accuracy"], groups)
    return {score: one.to_json() for score, one in found.items()}


def section(path: Path) -> str:
    """Return the page's section, of the record at a path; how to make it where nothing of it is there."""
    lines = ["## Ours on the same photographs", ""]
    told = read(path) if path.exists() else {"recipes": {}}
    today, old, found = _whole(told)
    published = [name for name in today if name not in OURS]
    if not found:
        words = NOT_YET.format(
            pairs=plural(len(OURS) * len(published), "pair"), ours=", ".join(f"`{name}`" for name in OURS),
            count=len(published), copied=sum(COPIED in name for name in published),
        )  # fmt: skip
        return "\n".join([*lines, filled(words), "", "```sh", COMMAND, "```"])
    ours = [name for name in OURS if name in found]
    data, repeats = told["data"], max(rows["seed"].nunique() for rows in found.values())
    count = (len(found) - len(ours)) * len(ours)
    said = (
        f"Under `clean`, Test closed: {data['photographs']:,} photographs in {data['groups']:,} groups of photograph "
        f"and lesion, {told['folds']} folds, {plural(repeats, 'repeat')} (baselines: {_repeats(told)}). All recipes "
        "stand on the same folds; differences are taken fold by fold. Differences and means have the corrected "
        "resampled t interval (95 %); that of an accuracy is never narrower than Wilson's of as many groups. "
        "An interval that contains zero shows no difference. "
    )
    said += (
        f"{plural(count, 'pair')} of recipes are compared by each score and no interval is corrected for that: that "
        "ours beat all of the others needs every single one of them."
        if count
        else "No comparison with a published recipe is finished yet."
    )
    columns = ["recipe", "trainings", "precision", *SCORES.values()]
    columns += [f"{mine} less it, balanced accuracy" for mine in ours]
    lines += [filled(said), "", filled(SEEN_BEFORE.format(**data)), "", "```sh", COMMAND, "```", ""]
    lines += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    scores = {name: means(rows, data["groups"]) for name, rows in found.items()}
    rest = sorted(set(found) - set(ours), key=lambda name: -(scores[name]["balanced_accuracy"]["value"] or 0.0))
    for name in [*ours, *rest]:
        of = sorted({row["precision"] for row in told["recipes"][name]["by_fold"]})
        cells = [str(len(found[name])), " and ".join(of), *(span(scores[name][score]) for score in SCORES)]
        for mine in ours:
            apart = {} if name in ours else less(found[mine], found[name])
            cells.append(span(apart["balanced_accuracy"], "+") if "balanced_accuracy" in apart else "")
        lines.append(f"| {f'**{name}**' if name in ours else name} | {' | '.join(cells)} |")
    baselines = _baselines(told)
    for name, rows in baselines.items():
        of_name = means(rows, data["groups"])
        cells = [str(len(rows)), "", *(span(of_name[score]) for score in SCORES), *("" for _ in ours)]
        lines.append(f"| *{name}* | {' | '.join(cells)} |")
    missing = [name for name in dict.fromkeys([*OURS, *today]) if name not in found and name not in old]
    absent = [", ".join(missing)] if missing else []
    absent += [] if "shuffled_labels" in told else [SHUFFLED]
    lines += ["", filled(_standing(found, published)), ""]
    lines += [filled(_verdict(mine, found), bullet=True) for mine in ours if set(found) - set(OURS)]
    lines += [filled(f"Not computed yet: {'; '.join(absent)}.", bullet=True)] if absent else []
    lines += [f"- Left out, since the recipe has changed since: {', '.join(old)}."] if old else []
    beside = beside_baselines(found, baselines)
    lines += ["", beside] if beside else []
    if "shuffled_labels" in told:
        lines += ["", filled(_on_shuffled(told["shuffled_labels"]))]
    lines += ["", *(filled(note, bullet=True) for note in [*grouping(data), OF_SOURCES]), "", filled(_made_by(told))]
    return "\n".join(lines)


def _on_shuffled(found: Mapping[str, Any]) -> str:
    """Return in words how a recipe does that was taught shuffled labels; above chance is what must not be."""
    value, area = found["balanced_accuracy"], found["melanoma_auc"]
    words = "not above chance, as it must be"
    if not found["at_chance"]:
        words = "ABOVE CHANCE, so that no number here can be trusted"
    return (
        f"`{found['recipe']}` on shuffled labels, {plural(found['epochs'], 'epoch')}, judged on the first fold "
        f"(n = {found['n']:,}): balanced accuracy {span(value)}, melanoma AUC {span(area)}: {words}. These intervals "
        "are of the photographs alone. A network that tells nothing still goes by some property of photographs, such "
        "as how dark they are, which may go with the diagnosis in either direction; so it may well lie below chance."
    )


def in_short(path: Path) -> list[str]:
    """Return how ours and the published recipes stand, of a record, a sentence for those of ours that stand alike."""
    told = read(path) if path.exists() else {"recipes": {}}
    today, _, found = _whole(told)
    published = [name for name in today if name not in OURS]
    compared = [name for name in published if name in found]
    ahead: dict[int, list[str]] = {}
    for mine in (name for name in OURS if name in found and compared):
        apart = [less(found[mine], found[name]).get(DECIDES) for name in compared]
        better = sum(one is not None and one["low"] is not None and one["low"] > 0 for one in apart)
        ahead.setdefault(better, []).append(f"`{mine}`")
    rest = f" compared so far; there are {len(published)}" if len(compared) < len(published) else ""
    sentences = []
    for better, ours in ahead.items():
        many = f"all {len(compared)}" if better == len(compared) else f"{better or 'none'} of the {len(compared)}"
        are = " is" if len(ours) == 1 else " are each"
        sentences.append(
            f"By balanced accuracy on the same folds (grouped cross-validation), {listed(ours)}{are} shown better than "
            f"{many} published recipes{rest}."
        )
    return [*sentences, *beside_colours({name: found[name] for name in compared}, _baselines(told))]


def accuracies(path: Path) -> dict[str, dict[str, Any]]:
    """Return the accuracy with its interval of each recipe of a record that has a whole repeat, by name."""
    told = read(path) if path.exists() else {"recipes": {}}
    return {name: means(rows, told["data"]["groups"])["accuracy"] for name, rows in _whole(told)[2].items()}


def _whole(told: Mapping[str, Any]) -> tuple[dict[str, Recipe], list[str], dict[str, pd.DataFrame]]:
    """Return the recipes of today, the names of those that have changed since, and the whole repeats of the others."""
    today = field_recipes("float32", None) | {name: recipes.load(name) for name in OURS[1:]}
    old = [name for name, one in told["recipes"].items() if name in today and not same(one, today[name])]
    found = {name: complete(one["by_fold"], told["folds"]) for name, one in told["recipes"].items() if name not in old}
    return today, old, {name: rows for name, rows in found.items() if len(rows)}


def _baselines(told: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the whole repeats of the baselines."""
    found = {name: complete(each, told["folds"]) for name, each in told.get("baselines", {}).items()}
    return {name: rows for name, rows in found.items() if len(rows)}


def _repeats(told: Mapping[str, Any]) -> int:
    """Return on how many repeats the baselines stand."""
    return max((complete(each, told["folds"])["seed"].nunique() for each in told["baselines"].values()), default=0)


def _made_by(told: Mapping[str, Any]) -> str:
    rows = [row for one in told["recipes"].values() for row in one["by_fold"]]
    machines = "; ".join(sorted({str(row["machine"]) for row in rows}))
    first, last = min(row["date"] for row in rows), max(row["date"] for row in rows)
    return f"{first if first == last else f'{first} to {last}'}, {machines}."


def _standing(found: Mapping[str, pd.DataFrame], published: Sequence[str]) -> str:
    """Return how many of all pairs are made, how many of them show ours ahead, and what that does not show."""
    told, short = [], False
    for mine in OURS:
        made = [less(found[mine], found[name]) for name in published if mine in found and name in found]
        apart = [one["balanced_accuracy"] for one in made if "balanced_accuracy" in one]
        ahead = sum(one["low"] is not None and one["low"] > 0 for one in apart)
        short = short or ahead < len(published)
        told.append(f"`{mine}` {len(apart)} made, {ahead} ahead")
    any_made = any(mine in found for mine in OURS) and any(name in found for name in published)
    return (
        f"There are {len(published)} published recipes, {sum(COPIED in name for name in published)} of them with "
        "copies, to compare each of ours with."
        + (f" By balanced accuracy, which decides: {'; '.join(told)}." if any_made else "")
        + (" **That ours beat all of the published recipes is not shown.**" if short else "")
    )


def _verdict(mine: str, found: Mapping[str, pd.DataFrame]) -> str:
    """Return which of the others a recipe is shown to be better than."""
    told = []
    others = {name: less(found[mine], rows) for name, rows in found.items() if name not in OURS}
    for score, words in SCORES.items():
        apart = {name: one[score] for name, one in others.items() if score in one}
        better = [name for name, one in apart.items() if one["low"] is not None and one["low"] > 0]
        worse = [name for name, one in apart.items() if one["high"] is not None and one["high"] < 0]
        rest = sorted(set(apart) - set(better) - set(worse))
        of = f"by {words} shown better than {len(better)} of {len(apart)}"
        of += f" (not shown: {', '.join(rest)})" if rest else ""
        of += f" (worse than {', '.join(worse)})" if worse else ""
        told.append(of)
    return f"`{mine}`: {'; '.join(told)}."
