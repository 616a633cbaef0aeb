"""What a model was trained on, as fingerprints: never the photographs themselves.

`evaluate` asks it, so that no model is praised for photographs that it knew.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melascope.errors import BundleError

_CHUNK = 1 << 22
WIDTH = 32
"""Bytes of either fingerprint."""
SAME_PHOTOGRAPH = 40
"""Two photographs are taken for one where their perceptual hashes differ in at most so many of 256 bits.

Copies over the ISIC sets, resized or squashed, differ in up to 31. Among 15 million pairs of different lesions of
HAM10000 one pair is within 40 bits, but 135 are within 64: too many to call them copies.
"""


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """The fingerprints of every training photograph.

    Attributes:
        sha256: `(n, 32)` uint8, of the files' bytes.
        perceptual: `(n, 32)` uint8, the 256-bit perceptual hashes, or None where they were not taken.

    Raises:
        BundleError: For arrays of another shape or type.

    Example:
        >>> TrainedOn.of(["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]).images
        1
    """

    sha256: np.ndarray
    perceptual: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, array in (("sha256", self.sha256), ("perceptual", self.perceptual)):
            if array is None:
                continue
            if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.shape[1:] != (WIDTH,):
                raise BundleError(f"trained_on: {name} must be an (n, {WIDTH}) array of uint8.")
        if self.perceptual is not None and len(self.perceptual) != len(self.sha256):
            raise BundleError(
                f"trained_on: {len(self.sha256)} sha256 but {len(self.perceptual)} perceptual hashes; "
                "there must be one of each for every photograph."
            )

    @classmethod
    def of(cls, sha256: Sequence[str], perceptual: np.ndarray | None = None) -> TrainedOn:
        """Make it from hexadecimal sha256 strings and `(n, 32)` uint8 perceptual hashes."""
        try:
            digests = np.frombuffer(bytes.fromhex("".join(sha256)), np.uint8).reshape(len(sha256), WIDTH)
        except ValueError:
            raise BundleError("trained_on: a sha256 has 64 hexadecimal digits.") from None
        return cls(digests, None if perceptual is None else np.ascontiguousarray(perceptual))

    @property
    def images(self) -> int:
        """How many photographs the model was trained on."""
        return len(self.sha256)

    @property
    def digests(self) -> frozenset[bytes]:
        """The sha256 of each of them."""
        return frozenset(row.tobytes() for row in self.sha256)

    def contains(
        self, sha256: Sequence[str | None], perceptual: np.ndarray | None = None, distance: int = 0
    ) -> np.ndarray:
        """Return which photographs the model was trained on.

        Args:
            sha256: Hexadecimal, one for each photograph; None never matches.
            perceptual: `(m, 32)` uint8; None compares bytes only.
            distance: How many of the 256 bits may differ.

        Returns:
            `(m,)` bool.
        """
        known = self.digests
        found = np.array([digest is not None and bytes.fromhex(digest) in known for digest in sha256], bool)
        if perceptual is not None and self.perceptual is not None and len(self.perceptual):
            found |= self.nearest(perceptual) <= distance
        return found

    def nearest(self, perceptual: np.ndarray) -> np.ndarray:
        """Return for each perceptual hash of `(m, 32)` uint8 how many bits the nearest training photograph differs.

        Returns:
            `(m,)` int, 256 where nothing is known.
        """
        result = np.full(len(perceptual), 8 * WIDTH)
        if self.perceptual is None or not len(self.perceptual):
            return result
        mine = np.ascontiguousarray(self.perceptual).view(np.uint64)
        theirs = np.ascontiguousarray(perceptual, np.uint8).view(np.uint64)
        step = max(1, _CHUNK // len(mine))
        for start in range(0, len(theirs), step):
            part = theirs[start : start + step]
            bits = np.zeros((len(part), len(mine)), np.uint16)
            for word in range(mine.shape[1]):
                bits += np.bitwise_count(part[:, word, None] ^ mine[None, :, word])
            result[start : start + step] = bits.min(axis=1)
        return result

    def members(self) -> dict[str, bytes]:
        """Return the bundle's members that hold it, as `.npy` bytes."""
        arrays = {"trained_on/sha256.npy": self.sha256}
        if self.perceptual is not None:
            arrays["trained_on/perceptual.npy"] = self.perceptual
        return {name: _to_npy(array) for name, array in arrays.items()}

    @classmethod
    def from_members(cls, members: dict[str, bytes]) -> TrainedOn | None:
        """Read what `members` gave; None where the bundle holds none.

        Raises:
            BundleError: When a member is not such an array.
        """
        if "trained_on/sha256.npy" not in members:
            if "trained_on/perceptual.npy" in members:
                raise BundleError("trained_on/perceptual.npy is there without trained_on/sha256.npy.")
            return None
        arrays = {name: _from_npy(name, members[name]) for name in members if name.startswith("trained_on/")}
        return cls(arrays["trained_on/sha256.npy"], arrays.get("trained_on/perceptual.npy"))


def _to_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _from_npy(name: str, data: bytes) -> np.ndarray:
    """Read an `(n, 32)` uint8 array; its stated sizes are checked before anything is allocated."""
    buffer = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(buffer) != (1, 0):
            raise ValueError("another version")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
        if dtype != np.uint8 or fortran or len(shape) != 2 or shape[1] != WIDTH:
            raise ValueError("another array")
        if len(data) - buffer.tell() != shape[0] * WIDTH:
            raise ValueError("another length")
    except ValueError:
        raise BundleError(f"{name} is not an (n, {WIDTH}) array of uint8.") from None
    return np.frombuffer(data, np.uint8, offset=buffer.tell()).reshape(shape)
