"""The checklists at the end of a model card: what each item asks for, and where it is answered or why it is not.

Answers that depend on the run are made from what the run knows. The items are worded in our own words, after
Tejani et al. 2024 (CLAIM 2024) and Daneshjou et al. 2022 (CLEAR Derm); the numbers are the articles'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from melascope.evaluation.card_data import UNRECORDED
from melascope.evaluation.card_groups import subgroups_of

Status = Literal["answered", "partly", "not done", "not applicable"]


BESIDE = {
    "designs": "Ideas tried",
    "left_out": "A source left out",
    "shuffles": "Shuffled labels",
    "heat_maps": "Heat maps and lesions",
    "robustness": "Unusual and damaged photographs",
}
"""What a run by itself cannot know, and the heading under which a card tells it where its maker does."""


class Item(NamedTuple):
    """One item of a checklist: its number, what it asks for, how far it is answered, and where or why not."""

    number: int
    asks: str
    status: Status
    answer: str


@dataclass(frozen=True)
class Facts:
    """What the run knows and the answers depend on.

    Attributes:
        metrics: `metrics.json`.
        decision: `decision.json`.
        recipe: The resolved recipe, read from its TOML; empty where it is not known.
        data: As `card_data.data_of` returns it, or None.
        software: Whether versions and machine are known.
        failures: Whether single failures are shown.
        beside: Which of `BESIDE` the card tells.
    """

    metrics: Mapping[str, Any]
    decision: Mapping[str, Any]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] | None = None
    software: bool = False
    failures: bool = False
    beside: frozenset[str] = frozenset()

    @property
    def part(self) -> Mapping[str, Any]:
        """The part that leads."""
        part: Mapping[str, Any] = self.metrics["parts"][self.metrics["headline"]]
        return part

    @property
    def sources(self) -> list[str]:
        """The names of the sources, as far as they were recorded."""
        return [name for name in (self.data or {}).get("sources", {}) if name != UNRECORDED]

    @property
    def external(self) -> list[str]:
        """The sources of which photographs were tested and none was learnt from."""
        found = (self.data or {}).get("sources", {})
        learnt = ("train", "tune", "calibrate")
        return [name for name in self.sources if found[name]["test"] and not sum(found[name][part] for part in learnt)]

    @property
    def subgroups(self) -> list[str]:
        """The columns by which subgroups were judged, in words."""
        return subgroups_of(self.part)

    @property
    def skin_tone(self) -> bool:
        """Whether skin tone was judged."""
        return "skin_tone" in (self.part.get("subgroups") or {})

    @property
    def confirmed(self) -> bool:
        """Whether it is known of some photographs how their diagnosis was confirmed."""
        return bool(set((self.data or {}).get("labels", {}).get("confirmed_by", {})) - {UNRECORDED})

    @property
    def heat_map(self) -> bool:
        """Whether the network's head gives heat maps."""
        return bool(self.recipe.get("network", {}).get("head") == "pooled")


def fixed_in_advance(recipe: Mapping[str, Any]) -> bool:
    """Return whether nothing is chosen while a recipe trains: all epochs are run, and the last one is kept."""
    schedule = recipe.get("schedule") or {}
    return schedule.get("keep") == "last" and not schedule.get("early_stopping_patience")


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets where Markdown is shown.

    Example:
        >>> anchor("Licences and citations")
        'licences-and-citations'
    """
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def to(*headings: str) -> str:
    """Return links to sections of the card."""
    return ", ".join(f"[{heading}](#{anchor(heading)})" for heading in headings)


def beside(facts: Facts, what: str, otherwise: tuple[Status, str], end: str = "") -> tuple[Status, str]:
    """Return the answer of an item that a run cannot give: the section that its maker wrote, else `otherwise`."""
    return ("answered", to(BESIDE[what]) + end) if what in facts.beside else otherwise


def report(*titles: str) -> str:
    """Return the names of sections of the run's report."""
    return "`report.html` (" + ", ".join(f"*{title}*" for title in titles) + ")"


def table(title: str, source: str, items: Sequence[Item]) -> list[str]:
    """Return the lines of one checklist: how many items are answered, then each of them."""
    counts = {status: sum(item.status == status for item in items) for status in get_args(Status)}
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    lines = [f"### {title}", "", f"{source} {len(items)} items: {told}.", "", "| | asks for | where |", "|---|---|---|"]
    for item in items:
        stated = item.answer if item.status == "answered" else f"**{item.status}:** {item.answer}"
        lines.append(f"| {item.number} | {item.asks} | {stated} |")
    return [*lines, ""]
