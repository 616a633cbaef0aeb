"""What all sections of a recipe share: how strict they are, and how an unknown name is answered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=16, le=4096)]
T = TypeVar("T")
# TOML knows lists only; what stands in them is as strict as everywhere.
Several = Annotated[tuple[T, ...], Field(strict=False)]
Pair = Annotated[tuple[T, T], Field(strict=False)]


class Section(BaseModel):
    """Base of the sections: frozen, finite numbers only, no unknown keys, no `true` or `"0.5"` for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint at the known name nearest to a word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f' (did you mean "{near[0]}"?)' if near else ""
