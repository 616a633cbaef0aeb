"""Photographs: decoding, fitting to a network's input, and generated lesions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from melascope.images.decode import DECODER_VERSION, decode, read_file
from melascope.images.geometry import Geometry, prepare, resize
from melascope.images.header import Header, Limits, read_header

if TYPE_CHECKING:
    from melascope.images.synthetic import lesion, write_dataset

__all__ = [
    "DECODER_VERSION",
    "Geometry",
    "Header",
    "Limits",
    "decode",
    "lesion",
    "prepare",
    "read_file",
    "read_header",
    "resize",
    "write_dataset",
]


def __getattr__(name: str) -> Any:
    # Predicting never needs the generator, so it is loaded when asked for.
    if name in ("lesion", "write_dataset"):
        from melascope.images import synthetic

        return getattr(synthetic, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
