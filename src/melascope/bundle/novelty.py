"""How unlike the training photographs a photograph looks: `novelty.npz` of a bundle.

The score shown is a share that a person can read: of the photographs that the
model knows how to judge (`calibrate`), how many look at least this unusual.
What fewer than 1 % of them reach is outside. `docs/novelty.md` says which
method was chosen, by what rule, and what it finds of each kind of picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from melascope.bundle import arrays
from melascope.errors import BundleError
from melascope.statistics import novelty
from melascope.statistics.intervals import Groups

MEMBER = "novelty.npz"
LIMIT = 4 << 20
"""Bytes; that of an embedding of 1,280 numbers and eight classes takes 0.9 MB."""
_SCHEMA = 1


class Novelty:
    """Says how novel a photograph is; made by `Novelty.of`.

    Attributes:
        method: One of `melascope.statistics.novelty.METHODS`.
        share: Of known photographs, the share that is called outside.
        embedding: Length of the embedding; None where the method looks at logits only.
        known: Number of photographs of `calibrate` behind the share.
    """

    def __init__(self, method: str, share: float, parameters: Mapping[str, np.ndarray], known: np.ndarray) -> None:
        self.method, self.share, self.known = method, share, len(known)
        self.embedding = len(parameters["centre"]) if "centre" in parameters else None
        # Once here rather than at every photograph.
        self._parameters = {name: np.asarray(array, np.float32) for name, array in parameters.items()}
        self._known = np.asarray(known, np.float64)

    @classmethod
    def of(cls, data: bytes) -> Novelty:
        """Read `novelty.npz`.

        Raises:
            BundleError: When it is damaged, of another version, or its arrays do not fit each other.
        """
        about, parts = arrays.unpack(MEMBER, data)
        if about.get("schema") != _SCHEMA:
            raise BundleError(f"{MEMBER} is of version {about.get('schema')}, not {_SCHEMA}.")
        method, share = about.get("method"), about.get("share")
        if method not in novelty.METHODS:
            raise BundleError(f"{MEMBER} names the method {method!r}; known are {', '.join(novelty.METHODS)}.")
        if not isinstance(share, float) or not 0 < share < 1:
            raise BundleError(f"{MEMBER}: the share called outside is {share!r}; it must lie between 0 and 1.")
        sizes = arrays.check(MEMBER, parts, {**novelty.shapes(method), "known": ("k",)})
        if min(sizes.values()) < 1 or any(array.dtype.kind != "f" for array in parts.values()):
            raise BundleError(f"{MEMBER} holds an empty array or one that is not floating-point.")
        known = parts.pop("known")
        if (np.diff(known) < 0).any():
            raise BundleError(f"{MEMBER}: the known scores do not rise.")
        if any((parts[name] <= 0).any() for name in ("noise", "spread") if name in parts):
            raise BundleError(f"{MEMBER}: a variance is not above 0.")
        return cls(method, share, parts, known)

    def scores(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Return p values `(n,)` in (0, 1] of embeddings `(n, d)` and logits `(n, c)`; smaller is more novel."""
        # The known scores were rounded to float32; so is what is compared with them.
        found = novelty.score(self.method, self._parameters, embeddings, logits).astype(np.float32)
        return np.asarray(novelty.p_values(found, self._known))

    def judge(self, embedding: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """Return `{"score", "outside", "method"}` of one embedding `(d,)` and its logits `(c,)`.

        `score` is the share of known photographs that look at least this unusual,
        in (0, 1]; `outside` is True where it is at most `share`.

        Raises:
            ValueError: When the embedding has another length.
        """
        score = float(self.scores(np.asarray(embedding)[None], np.asarray(logits)[None])[0])
        # 1/100 and 0.01 are the same share, whatever the last bit says.
        return {"score": score, "outside": score <= self.share + 1e-9, "method": self.method}


def make(
    method: str,
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    calibrate: tuple[np.ndarray, np.ndarray],
    groups: Groups = None,
    share: float = novelty.SHARE,
    seed: int = 0,
) -> bytes:
    """Return the bytes of `novelty.npz`.

    Args:
        method: One of `melascope.statistics.novelty.METHODS`.
        train: Embeddings `(n, d)`, logits `(n, c)` and class numbers `(n,)` of `train`, from the exported network.
        calibrate: Embeddings `(m, d)` and logits `(m, c)` of `calibrate`.
        groups: `(m,)` lesions of `calibrate`; the first photograph of each counts.
        share: Of known photographs, the share to call outside.
        seed: As in `melascope.statistics.novelty.fit`.

    Raises:
        ValueError: As `melascope.statistics.novelty.fit`, and for a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"A share of {share} is impossible; it lies in (0, 1).")
    embeddings, logits, labels = train
    parameters = novelty.fit(method, embeddings, labels, logits, seed)
    known = novelty.one_per_group(novelty.score(method, parameters, *calibrate), groups).astype(np.float32)
    about = {"schema": _SCHEMA, "method": method, "share": float(share)}
    return arrays.pack(about, {**parameters, "known": known})
