"""Models that are installed: packages offer theirs by the entry point group `melascope.models`."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from melascope.errors import BundleError

GROUP = "melascope.models"


def default_bundle() -> Path:
    """Return the file of the installed model.

    A package offers one by an entry point of the group `melascope.models`
    that names a function which returns the bundle's path. Of several, the
    first by name is taken.

    Raises:
        BundleError: When none is installed.
    """
    offers = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda offer: offer.name)
    if not offers:
        raise BundleError(
            "No model is installed. Melascope's own comes with its source: pip install ./models/melascope-champion "
            "(for non-commercial research). Or pass one with --bundle FILE; melascope run DATA --out RUN makes one "
            "(RUN/model.melascope)."
        )
    try:
        return Path(offers[0].load()())
    except Exception as error:
        raise BundleError(
            f'The installed model "{offers[0].name}" cannot be found ({error}); pass another with --bundle FILE.'
        ) from error
