"""What docs/reproduction.md says of recipes beside what needs no network: colours, and the number in the name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks.field_baselines import NUMBER
from benchmarks.field_record import OURS, SCORES
from benchmarks.reproduction_words import filled
from melascope.counted import plural
from melascope.evaluation.cross_validated import COLOURS, by_fold
from melascope.statistics import repeated_cv_difference

BASELINES = {COLOURS: "colours alone", NUMBER: "the number in the name"}
"""Of each baseline that says more than one diagnosis: how it is called here."""
DECIDES = "balanced_accuracy"
Differences = dict[str, dict[str, Any]]


def less(mine: pd.DataFrame, theirs: pd.DataFrame) -> Differences:
    """Return by how much the first is above the second by score, over the repeats that both have; empty for none."""
    both = set(mine["seed"]) & set(theirs["seed"])
    one, other = (table[table["seed"].isin(both)] for table in (mine, theirs))
    found = {}
    for score in SCORES if both else ():
        apart = repeated_cv_difference(by_fold(one, score) - by_fold(other, score), lowest=-1.0, highest=1.0).to_json()
        if apart["value"] is not None:
            found[score] = apart
    return found


def span(estimate: Mapping[str, Any], sign: str = "") -> str:
    """Return a number with its interval, in words."""
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return f"{estimate['value']:{sign}.3f}"
    value, low, high = (f"{estimate[key]:{sign}.3f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def beside_baselines(found: Mapping[str, pd.DataFrame], baselines: Mapping[str, pd.DataFrame]) -> str:
    """Return who is shown above the baselines, who below, and who neither; empty where nothing can be told.

    Args:
        found: Of each recipe the rows of its whole repeats.
        baselines: The same of each baseline.
    """
    pairs = {
        name: {recipe: less(rows, baselines[name]) for recipe, rows in found.items()}
        for name in BASELINES
        if name in baselines
    }
    if not any(each for of in pairs.values() for each in of.values()):
        return ""
    words = (
        f"Beside baselines that need no network: {_stands_on(found, baselines)}. Beside each, "
        f"{plural(len(found), 'recipe')} by {plural(len(SCORES), 'score')} are compared, and no interval is corrected "
        "for that. Numbers are the recipe less the baseline."
    )
    meant = " ".join(one for one in (_conclusion(name, of) for name, of in pairs.items()) if one)
    lines = [filled(words), "", *([filled(meant), ""] if meant else [])]
    for name, of in pairs.items():
        told = {words: _by_score(score, of) for score, words in SCORES.items()}
        lines += [f"Beside *{name}*:", ""]
        lines += [*(filled(f"by {words} {one}.", bullet=True) for words, one in told.items() if one), ""]
    return "\n".join(lines[:-1])


def beside_colours(published: Mapping[str, pd.DataFrame], baselines: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return in a sentence how the published recipes stand beside colours alone; nothing where it is not known."""
    if COLOURS not in baselines or not published:
        return []
    split = _split(DECIDES, {name: less(rows, baselines[COLOURS]) for name, rows in published.items()})
    above, below, neither = (len(split[place]) for place in ("above", "below", "neither"))
    if not above + below + neither:
        return []
    return [
        f"Beside a logistic regression on colours alone, {above or 'none'} of these {above + below + neither} "
        f"published recipes {'is' if above < 2 else 'are'} shown better, {below or 'none'} worse."
    ]


def _stands_on(found: Mapping[str, pd.DataFrame], baselines: Mapping[str, pd.DataFrame]) -> str:
    """Return on which repeats the differences stand, in words."""
    there = {seed for name in BASELINES if name in baselines for seed in baselines[name]["seed"]}
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for recipe, rows in found.items():
        both = tuple(sorted(int(seed) for seed in set(rows["seed"]) & there))
        by_seeds.setdefault(both, []).append(recipe)
    told = []
    for seeds, names in by_seeds.items():
        which = f" ({', '.join(names)})" if len(by_seeds) > 1 else ""
        told += [f"seed {' and '.join(map(str, seeds))}{which}"] if seeds else []
    return (
        f"paired fold by fold, on the repeats that both have ({'; '.join(told)}; the baselines' means above stand on "
        f"{plural(len(there), 'repeat')})"
    )


def _split(score: str, of: Mapping[str, Differences]) -> dict[str, list[str]]:
    """Return the recipes that are shown `above`, `below` and `neither` by a score."""
    found: dict[str, list[str]] = {"above": [], "below": [], "neither": []}
    for recipe, each in of.items():
        if score in each:
            low, high = each[score]["low"], each[score]["high"]
            place = "neither" if low is None or low <= 0 <= high else "above" if low > 0 else "below"
            found[place].append(recipe)
    return found


def _by_score(score: str, of: Mapping[str, Differences]) -> str:
    """Return who is shown above, who below and who neither, ours with the numbers."""
    told = []
    for place, words in (("above", "shown above"), ("below", "shown below"), ("neither", "not shown")):
        names = _split(score, of)[place]
        each = [f"`{name}` {span(of[name][score], '+')}" if name in OURS else name for name in names]
        told += [f"{words}: {', '.join(each)}"] if each else []
    return "; ".join(told)


def _conclusion(name: str, of: Mapping[str, Differences]) -> str:
    """Return in words what that means: of the published recipes and of ours, and where none is shown above."""
    called, told = BASELINES[name], []
    published = _split(DECIDES, {recipe: each for recipe, each in of.items() if recipe not in OURS})
    count = sum(map(len, published.values()))
    if count:
        above, below = len(published["above"]), len(published["below"])
        first = (
            f"{above or 'None'} of the {count} published recipes {'is' if above < 2 else 'are'} shown above {called}"
        )
        told.append(f"**{first} by {SCORES[DECIDES]}, {below or 'none'} below.**")
    mine = _split(DECIDES, {recipe: each for recipe, each in of.items() if recipe in OURS})
    words = {
        "above": "is shown above it",
        "below": "is shown below it",
        "neither": "is shown neither above nor below it",
    }
    ours = [f"`{recipe}` {words[place]}" for place, recipes in mine.items() for recipe in recipes]
    told += [f"Of ours, {', '.join(ours)}."] if ours else []
    by_score = {score: _split(score, of) for score in SCORES}
    nobody = [SCORES[score] for score, one in by_score.items() if not one["above"] and (one["below"] or one["neither"])]
    told += [f"By {', by '.join(nobody)} no recipe is shown above {called}."] if nobody else []
    return " ".join(told)
