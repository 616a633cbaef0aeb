"""Dermoscopic, clinical or neither: `modality.npz` of a bundle, a linear model of the network's embedding.

It leans towards `dermoscopic`: its constant is set on `calibrate`, so that at
most 1 % of dermoscopic photographs are called anything else. Clinical views are
simulated (`melascope.images.strangers`); no real one was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from melascope.bundle import arrays
from melascope.errors import BundleError
from melascope.statistics import novelty
from melascope.statistics.calibration import softmax
from melascope.statistics.intervals import Groups

MEMBER = "modality.npz"
LIMIT = 1 << 20
MODALITIES = ("dermoscopic", "clinical", "neither")
SHARE = 0.01
"""Of dermoscopic photographs, the largest share that is called anything else."""
_SCHEMA = 1
_PENALTY = 0.1
"""Inverse strength of the squared penalty; with more numbers than photographs an unpenalised fit always separates."""


class Modality:
    """Says how a photograph was taken; made by `Modality.of`.

    Attributes:
        embedding: Length of the embedding.
    """

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        self.embedding = len(weights)
        self._weights, self._bias = weights.astype(np.float32), bias.astype(np.float64)

    @classmethod
    def of(cls, data: bytes) -> Modality:
        """Read `modality.npz`.

        Raises:
            BundleError: When it is damaged, of another version, or its arrays do not fit each other.
        """
        about, parts = arrays.unpack(MEMBER, data)
        if about.get("schema") != _SCHEMA or about.get("modalities") != list(MODALITIES):
            raise BundleError(f"{MEMBER} is of another version, or of other modalities than {', '.join(MODALITIES)}.")
        sizes = arrays.check(MEMBER, parts, {"weights": ("d", "m"), "bias": ("m",)})
        if sizes["m"] != len(MODALITIES) or sizes["d"] < 1 or any(a.dtype.kind != "f" for a in parts.values()):
            raise BundleError(f"{MEMBER} holds weights for {sizes['m']} modalities; it needs {len(MODALITIES)}.")
        return cls(parts["weights"], parts["bias"])

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """Return `(n, 3)` in the order of `MODALITIES`, of embeddings `(n, d)`; not calibrated.

        Raises:
            ValueError: When the embedding has another length.
        """
        x = np.asarray(embeddings, np.float32)
        if x.shape[1:] != (self.embedding,):
            raise ValueError(f"Embeddings of shape {x.shape} do not fit a modality of {self.embedding} numbers.")
        return softmax((x @ self._weights).astype(float) + self._bias)

    def judge(self, embedding: np.ndarray) -> dict[str, Any]:
        """Return `{"modality", "probabilities"}` of one embedding `(d,)`; the modality is one of `MODALITIES`."""
        p = self.probabilities(np.asarray(embedding)[None])[0]
        named = {name: float(value) for name, value in zip(MODALITIES, p, strict=True)}
        return {"modality": MODALITIES[int(np.argmax(p))], "probabilities": named}


def make(
    embeddings: np.ndarray,
    modalities: Sequence[str],
    calibrate: np.ndarray,
    groups: Groups = None,
    share: float = SHARE,
) -> bytes:
    """Return the bytes of `modality.npz`, fitted by scikit-learn's logistic regression.

    Args:
        embeddings: `(n, d)`: photographs of `train` and pictures that are none of them.
        modalities: `(n,)`, of `MODALITIES`; each must occur, and counts alike however many pictures it has.
        calibrate: `(m, d)` embeddings of dermoscopic photographs that were not trained on.
        groups: `(m,)` their lesions; the first photograph of each counts.
        share: Of them, the largest share to call anything else.

    Raises:
        ValueError: When a modality is missing or unknown, or a number is not finite.
    """
    if set(modalities) != set(MODALITIES):
        raise ValueError(f"Modalities {sorted(set(modalities))} were given; each of {', '.join(MODALITIES)} is needed.")
    from sklearn.linear_model import LogisticRegression

    x = np.asarray(embeddings, np.float64)
    labels = np.array([MODALITIES.index(name) for name in modalities])
    centre, spread = x.mean(axis=0), x.std(axis=0)
    # A number that hardly varies must not decide because it was stretched.
    spread = np.maximum(spread, 0.01 * max(float(spread.max()), 1e-12))
    model = LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=2000)
    model.fit((x - centre) / spread, labels)
    weights = (model.coef_ / spread).T
    bias = model.intercept_ - centre @ weights
    logits = np.asarray(calibrate, np.float64) @ weights + bias
    margin = logits[:, 1:].max(axis=1) - logits[:, 0]
    needed = novelty.threshold(margin, share, groups)
    if not np.isfinite(needed):  # too few photographs for that share: none of them may be called anything else
        needed = float(margin.max())
    bias[0] += max(needed, 0.0) + 1e-6
    about = {"schema": _SCHEMA, "modalities": list(MODALITIES)}
    return arrays.pack(about, {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)})
