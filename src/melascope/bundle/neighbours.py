"""The most similar photographs of known diagnosis: `neighbours.npz` of a bundle. No image is in it.

Embeddings are brought to length one, projected onto their 128 directions of
largest variance and kept as whole numbers of one byte; search is exact over
those. `docs/novelty.md` has what that costs against exact distances, and how
often a neighbour has the photograph's own diagnosis, against chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from melascope import diagnosis
from melascope.bundle import arrays
from melascope.errors import BundleError
from melascope.image_id import canonical_id

MEMBER = "neighbours.npz"
LIMIT = 256 << 20
"""Bytes; 12,000 photographs take 2.2 MB."""
DIRECTIONS = 128
_SCHEMA = 1
_HASH = 8
"""Bytes of a sha256 that are kept: two of 12,000 photographs share them once in 250 billion sets."""
_SHAPES: dict[str, tuple[str, ...]] = {
    "centre": ("d",),
    "basis": ("d", "r"),
    "coordinates": ("n", "r"),
    "rest": ("n",),
    "step": (),
    "image_ids": ("n",),
    "lesions": ("n",),
    "diagnoses": ("n",),
    "sources": ("n",),
    "licences": ("n",),
    "sha256": ("n", "h"),
}


class Neighbours:
    """Finds similar photographs of known diagnosis; made by `Neighbours.of`. Safe to use from several threads.

    Attributes:
        images: How many photographs it knows.
        embedding: Length of the embedding.

    Example:
        >>> Neighbours.of(make(embeddings, ids, lesions, codes, sources)).nearest(embedding, k=1)
        [{'image_id': 'ISIC_0024468', 'diagnosis': 'AK', 'distance': 0.08, 'source': 'ham10000', 'licence': None}]
    """

    def __init__(self, about: dict[str, Any], parts: dict[str, np.ndarray]) -> None:
        self._about, self._parts = about, parts
        self.images, self.embedding = len(parts["coordinates"]), len(parts["centre"])
        self._centre = np.asarray(parts["centre"], np.float32)
        self._basis = np.asarray(parts["basis"], np.float32)
        self._known = parts["coordinates"].astype(np.float32) * np.float32(parts["step"])
        self._length = (self._known**2).sum(axis=1) + np.asarray(parts["rest"], np.float32)

    @classmethod
    def of(cls, data: bytes) -> Neighbours:
        """Read `neighbours.npz`.

        Raises:
            BundleError: When it is damaged, of another version, or its parts do not fit each other.
        """
        about, parts = arrays.unpack(MEMBER, data)
        if about.get("schema") != _SCHEMA:
            raise BundleError(f"{MEMBER} is of version {about.get('schema')}, not {_SCHEMA}.")
        sizes = arrays.check(MEMBER, parts, _SHAPES)
        if min(sizes.values()) < 1:
            raise BundleError(f"{MEMBER} holds no photographs.")
        kinds = {"coordinates": "i1", "sha256": "u1", "lesions": "i4", "image_ids": "S"}
        kinds |= {"diagnoses": "u2", "sources": "u2", "licences": "u2"}
        for name, array in parts.items():
            if not array.dtype.str.lstrip("<|").startswith(kinds.get(name, "f")):
                raise BundleError(f"{MEMBER}: {name} is an array of {array.dtype}.")
        for name in ("diagnoses", "sources", "licences"):
            named = about.get(name)
            if not isinstance(named, list) or not all(isinstance(text, str) for text in named):
                raise BundleError(f"{MEMBER} names no {name}.")
            if int(parts[name].max()) >= len(named):
                raise BundleError(f"{MEMBER}: a photograph's number in {name} is {int(parts[name].max())}.")
        unknown = sorted(set(about["diagnoses"]) - set(diagnosis.DIAGNOSES))
        if unknown:
            raise BundleError(f"{MEMBER} names diagnoses that Melascope does not know: {', '.join(unknown)}.")
        return cls(about, parts)

    def nearest(
        self, embedding: np.ndarray, k: int = 5, image_id: str | None = None, sha256: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the k most similar photographs of different lesions, the most similar first.

        The photograph itself is left out where its id or its sha256 is known here, and so is the rest of its lesion.

        Args:
            embedding: `(d,)`.
            k: How many; fewer come where fewer lesions are known.
            image_id: The photograph's own id, in any spelling.
            sha256: The photograph's own, hexadecimal.

        Returns:
            `{"image_id", "diagnosis", "distance", "source", "licence"}` each; source
            and licence are None where they are not known. The distance is one less the
            cosine between embeddings, estimated: what lies outside the directions kept
            is taken for unlike, so that it is never quite 0.

        Raises:
            ValueError: When the embedding has another length.
        """
        x = np.asarray(embedding, np.float32)
        if x.shape != self._centre.shape:
            raise ValueError(f"An embedding of shape {x.shape} does not fit neighbours of {self.embedding} numbers.")
        if k < 1:
            return []
        moved = x / max(float(np.linalg.norm(x)), 1e-12) - self._centre
        # Not by BLAS: for one photograph its threads wait for longer than they work.
        place = np.einsum("d,dr->r", moved, self._basis)
        rest = max(float(moved @ moved) - float(place @ place), 0.0)
        squared = self._length - 2 * np.einsum("nr,r->n", self._known, place) + np.float32(float(place @ place) + rest)
        left_out = self._own(image_id, sha256)
        found: list[dict[str, Any]] = []
        seen = set(left_out)
        # Six photographs of a lesion are the most in HAM10000; where more stand in the way, all are sorted.
        for many in (min(8 * (k + 1), self.images), self.images):
            order = np.argpartition(squared, many - 1)[:many]
            found, seen = [], set(left_out)
            # Equal distances in the order of the rows, so that nothing depends on how a partition swaps.
            for row in order[np.lexsort((order, squared[order]))]:
                lesion = int(self._parts["lesions"][row])
                if lesion in seen:
                    continue
                seen.add(lesion)
                found.append(self._row(int(row), float(squared[row])))
                if len(found) == k:
                    return found
        return found

    def _own(self, image_id: str | None, sha256: str | None) -> set[int]:
        """Return the lesions that the photograph itself is of."""
        own = np.zeros(self.images, bool)
        if image_id is not None:
            own |= self._parts["image_ids"] == canonical_id(image_id).encode()
        if sha256 is not None:
            known = self._parts["sha256"]
            asked = np.frombuffer(bytes.fromhex(sha256)[: known.shape[1]], np.uint8)
            # All zeros stand for a photograph whose sha256 was not given.
            own |= (known == asked).all(axis=1) & known.any(axis=1)
        return {int(number) for number in self._parts["lesions"][own]}

    def _row(self, row: int, squared: float) -> dict[str, Any]:
        parts, about = self._parts, self._about
        return {
            "image_id": bytes(parts["image_ids"][row]).decode(),
            "diagnosis": about["diagnoses"][parts["diagnoses"][row]],
            "distance": round(max(squared, 0.0) / 2, 4),
            "source": about["sources"][parts["sources"][row]] or None,
            "licence": about["licences"][parts["licences"][row]] or None,
        }


def make(
    embeddings: np.ndarray,
    image_ids: Sequence[str],
    lesion_ids: Sequence[str | None],
    diagnoses: Sequence[str],
    sources: Sequence[str | None],
    licences: Sequence[str | None] | None = None,
    sha256: Sequence[str | None] | None = None,
    directions: int = DIRECTIONS,
) -> bytes:
    """Return the bytes of `neighbours.npz`.

    Args:
        embeddings: `(n, d)`, of training photographs only: a photograph of `test` has no place in a bundle.
        image_ids: Written in their canonical spelling.
        lesion_ids: Photographs of one lesion share one; without one a photograph is a lesion of its own.
        diagnoses: Codes.
        sources: The set, such as `ham10000`, or None.
        licences: Such as `CC BY-NC 4.0`, or None.
        sha256: Hexadecimal, of the files; a photograph is recognised by it under any name.
        directions: Of largest variance that are kept.

    Raises:
        ValueError: When the lists have other lengths than the embeddings, there
            are fewer than three, or a number is not finite or a diagnosis not known.
    """
    x = np.asarray(embeddings, np.float64)
    n = len(x)
    lists = [image_ids, lesion_ids, diagnoses, sources, *(given for given in (licences, sha256) if given is not None)]
    if x.ndim != 2 or n < 3 or any(len(given) != n for given in lists):
        raise ValueError(f"{n} embeddings were given with lists of {[len(given) for given in lists]}; 3 or more each.")
    if not np.isfinite(x).all():
        raise ValueError("Some embeddings are not finite.")
    unknown = sorted({str(code) for code in diagnoses} - set(diagnosis.DIAGNOSES))
    if unknown:
        raise ValueError(f"Diagnoses that Melascope does not know: {', '.join(unknown)}.")
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    centre = unit.mean(axis=0).astype(np.float32)
    moved = unit - centre
    vectors = np.linalg.eigh(moved.T @ moved)[1][:, ::-1]
    basis = vectors[:, : min(directions, n, x.shape[1])].astype(np.float16)
    inside = moved @ basis.astype(float)
    step = np.float32(max(float(np.abs(inside).max()), 1e-12) / 127)
    names = {
        "diagnoses": [str(code) for code in diagnoses],
        "sources": [_text(text) for text in sources],
        "licences": [_text(text) for text in licences or [None] * n],
    }
    listed = {name: sorted(set(values)) for name, values in names.items()}
    numbers = {
        name: np.array([listed[name].index(value) for value in values], np.uint16) for name, values in names.items()
    }
    of_lesion = [_text(lesion) for lesion in lesion_ids]
    own = {lesion: number for number, lesion in enumerate(dict.fromkeys(filter(None, of_lesion)))}
    lesions = [own[lesion] if lesion else len(own) + row for row, lesion in enumerate(of_lesion)]
    digests = b"".join((bytes.fromhex(_text(digest)) or bytes(_HASH))[:_HASH] for digest in sha256 or [None] * n)
    ids = np.array([canonical_id(name).encode() for name in image_ids])
    if ids.dtype.itemsize > arrays.LONGEST:
        raise ValueError(f"An image id of {ids.dtype.itemsize} bytes is longer than {arrays.LONGEST}.")
    return arrays.pack(
        {"schema": _SCHEMA, **listed},
        {
            "centre": centre,
            "basis": basis,
            "coordinates": np.clip(np.rint(inside / step), -127, 127).astype(np.int8),
            "rest": np.maximum((moved**2).sum(axis=1) - (inside**2).sum(axis=1), 0).astype(np.float32),
            "step": np.asarray(step, np.float32),
            "image_ids": ids,
            "lesions": np.array(lesions, np.int32),
            "sha256": np.frombuffer(digests, np.uint8).reshape(n, _HASH),
            **numbers,
        },
    )


def _text(value: object) -> str:
    """Return a table's text; what is missing there (None, NaN, NA) is empty."""
    return value if isinstance(value, str) else ""
