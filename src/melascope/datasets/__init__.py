"""Data sets: reading, identity, groups, splitting and packing."""

from melascope.datasets.fixed import FIXED, fixed, split_as_told
from melascope.datasets.groups import ambiguous_names, connected, groups, lesion_counts, photographs
from melascope.datasets.identity import canonical_id, perceptual_hash, scan, sha256
from melascope.datasets.origins import origins
from melascope.datasets.pack import Pack, pack
from melascope.datasets.readers import READERS, Reader, Source, read
from melascope.datasets.same import find_same
from melascope.datasets.split import SplitResult, folds, split
from melascope.datasets.table import check, load, save
from melascope.datasets.trainable import check_parts, check_trainable

__all__ = [
    "FIXED",
    "READERS",
    "Pack",
    "Reader",
    "Source",
    "SplitResult",
    "ambiguous_names",
    "canonical_id",
    "check",
    "check_parts",
    "check_trainable",
    "connected",
    "find_same",
    "fixed",
    "folds",
    "groups",
    "lesion_counts",
    "load",
    "origins",
    "pack",
    "perceptual_hash",
    "photographs",
    "read",
    "save",
    "scan",
    "sha256",
    "split",
    "split_as_told",
]
