"""A search space: the values of a recipe that `melascope tune` may change, drawn and put into the recipe.

How it is written in a recipe file, and what is refused, is in `search_section`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from melascope.training.recipe import Recipe

_DIGITS = 4
"""Significant digits of a sampled value: more of them mean nothing and make recipes hard to read."""


class Suggests(Protocol):
    """What is needed of an Optuna trial."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Draw a number."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Draw an integer."""
        ...

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        """Draw one of some labels."""
        ...


@dataclass(frozen=True)
class Dimension:
    """One value of the recipe that is searched.

    Attributes:
        key: Such as `network.dropout`.
        low: Lowest value; for choices, 0.
        high: Highest value; for choices, 0.
        log: Whether factors count rather than differences.
        step: Of the grid, or None.
        whole: Whether values are integers.
        choices: Label to value; empty for a range.
        when: Only where this other key has one of these labels.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    whole: bool = False
    choices: Mapping[str, Any] | None = None
    when: tuple[str, frozenset[str]] | None = None

    def suggest(self, trial: Suggests) -> Any:
        """Draw a value; a choice is told by its label."""
        if self.choices is not None:
            return trial.suggest_categorical(self.key, list(self.choices))
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def value(self, drawn: Any) -> Any:
        """Return what stands in the recipe for what was drawn."""
        if self.choices is not None:
            return self.choices[drawn]
        if self.whole:
            return int(drawn)
        return min(max(float(f"{float(drawn):.{_DIGITS}g}"), self.low), self.high)

    def drawn(self, value: Any) -> Any:
        """Return what would have to be drawn to get a value, or None where it lies outside."""
        if self.choices is not None:
            return next((name for name, choice in self.choices.items() if plain(choice) == plain(value)), None)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        if self.step and not divides(self.step, value - self.low):
            return None
        return int(value) if self.whole else float(value)

    def ends(self) -> list[Any]:
        """Return the outermost values that can be drawn."""
        if self.choices is not None:
            return list(self.choices)
        return [int(self.low), int(self.high)] if self.whole else [self.low, self.high]

    def active(self, drawn: Mapping[str, Any]) -> bool:
        """Whether this is searched, given what was drawn before."""
        return self.when is None or drawn.get(self.when[0]) in self.when[1]

    def told(self) -> str:
        """Return the range or the choices in words."""
        if self.choices is not None:
            words = " or ".join(self.choices)
        else:
            words = f"{self.low:g} to {self.high:g}"
            words += f", step {self.step:g}" if self.step else ", by factors" if self.log else ""
        if self.when is not None:
            words += f"; where {self.when[0]} is {' or '.join(sorted(self.when[1]))}"
        return words


@dataclass(frozen=True)
class Space:
    """All values of a recipe that are searched.

    Attributes:
        base: The recipe that is changed.
        dimensions: In the order in which they are drawn.
        spec: The section as it stood in the file, JSON-ready.
    """

    base: Recipe
    dimensions: tuple[Dimension, ...]
    spec: Mapping[str, Any]

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """Draw a value for each dimension that applies."""
        drawn: dict[str, Any] = {}
        for dimension in self.dimensions:
            if dimension.active(drawn):
                drawn[dimension.key] = dimension.suggest(trial)
        return drawn

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return what stands in the recipe for what was drawn, by key."""
        known = {dimension.key: dimension for dimension in self.dimensions}
        return {key: known[key].value(value) for key, value in drawn.items() if key in known}

    def recipe(self, drawn: Mapping[str, Any]) -> Recipe:
        """Return the recipe with what was drawn; raises RecipeError where it is impossible."""
        sections: dict[str, dict[str, Any]] = {}
        for key, value in self.values(drawn).items():
            section, name = key.split(".", 1)
            sections.setdefault(section, {})[name] = value
        return self.base.changed(sections)

    def start(self) -> dict[str, Any] | None:
        """Return what must be drawn to get the recipe as it stands, or None where it lies outside the space."""
        drawn: dict[str, Any] = {}
        for dimension in self.dimensions:
            if not dimension.active(drawn):
                continue
            section, name = dimension.key.split(".", 1)
            value = dimension.drawn(getattr(getattr(self.base, section), name))
            if value is None:
                return None
            drawn[dimension.key] = value
        return drawn


def divides(step: float, length: float) -> bool:
    """Whether some whole number of steps, at least one unless the length is 0, makes up a length."""
    return abs(length / step - round(length / step)) < 1e-6 and (length == 0 or round(length / step) >= 1)


def label(value: Any) -> str:
    """Return a value as the text by which a choice is known."""
    return value if isinstance(value, str) else json.dumps(plain(value))


def plain(value: Any) -> Any:
    """Return a value with lists for tuples, as it stands in a file."""
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
