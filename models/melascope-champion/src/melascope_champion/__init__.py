"""The model that Melascope uses unless it is given another: `champion.melascope`, for non-commercial research only.

It is found through the entry point group `melascope.models`; nothing here imports Melascope. `card.md` beside it says
what it was made of, how it did and what it is not for. It is not a medical device.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def bundle() -> Path:
    """Return the bundle's file."""
    return _HERE / "champion.melascope"


def card() -> str:
    """Return the model card, Markdown."""
    return (_HERE / "card.md").read_text(encoding="utf-8")
