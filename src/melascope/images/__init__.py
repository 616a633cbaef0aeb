"""Photographs: decoding, fitting to a network's input, and generated lesions."""

from melascope.images.decode import DECODER_VERSION, decode, read_file
from melascope.images.geometry import Geometry, prepare, resize
from melascope.images.header import Header, Limits, read_header

__all__ = [
    "DECODER_VERSION",
    "Geometry",
    "Header",
    "Limits",
    "decode",
    "prepare",
    "read_file",
    "read_header",
    "resize",
]
