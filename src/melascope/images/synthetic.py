"""Generated lesions and data sets: what they are for, and where to find them.

`lesion` gives one photograph, `render` further photographs of the same lesion,
and `write_dataset` a whole set with an authority's table and planted problems.
"""

from melascope.images.synthetic_lesion import lesion, render
from melascope.images.synthetic_set import SHARES, write_dataset

__all__ = ["SHARES", "lesion", "render", "write_dataset"]
