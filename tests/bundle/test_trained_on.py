from __future__ import annotations

import numpy as np
import pytest

from melascope.bundle import TrainedOn
from melascope.errors import BundleError


def some(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(32).hex() for _ in range(n)], rng.integers(0, 256, (n, 32), np.uint8)


@pytest.mark.parametrize("n", [0, 1, 500])
def test_it_survives_being_written(n: int) -> None:
    digests, hashes = some(n)
    read = TrainedOn.from_members(TrainedOn.of(digests, hashes).members())
    assert read is not None
    assert read.images == n
    np.testing.assert_array_equal(read.perceptual, hashes)
    assert read.contains(digests).all()


def test_without_perceptual_hashes() -> None:
    digests, hashes = some(3)
    read = TrainedOn.from_members(TrainedOn.of(digests).members())
    assert read is not None
    assert read.perceptual is None
    assert read.contains(["00" * 32, digests[2]], hashes[:2]).tolist() == [False, True]
    assert read.nearest(hashes).tolist() == [256] * 3
    assert TrainedOn.from_members({}) is None


def test_a_copy_that_was_encoded_again_is_found_by_its_perceptual_hash() -> None:
    digests, hashes = some(300)
    known = TrainedOn.of(digests, hashes)
    asked = hashes[[7, 7, 299]].copy()
    asked[1, 0] ^= 0b111
    strangers, other = some(2, seed=1)
    all_hashes = np.concatenate([asked, other])
    assert known.nearest(all_hashes)[:3].tolist() == [0, 3, 0]
    assert known.contains([None] * 5, all_hashes).tolist() == [True, False, True, False, False]
    assert known.contains([None] * 5, all_hashes, distance=3).tolist() == [True, True, True, False, False]
    assert known.contains(strangers).tolist() == [False, False]


def test_many_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    digests, hashes = some(50)
    known = TrainedOn.of(digests, hashes)
    whole = known.nearest(some(40, seed=2)[1])
    monkeypatch.setattr("melascope.bundle.trained_on._CHUNK", 130)
    np.testing.assert_array_equal(known.nearest(some(40, seed=2)[1]), whole)


def test_arrays_that_do_not_fit_are_refused() -> None:
    digests, hashes = some(3)
    with pytest.raises(BundleError, match="one of each"):
        TrainedOn.of(digests, hashes[:2])
    with pytest.raises(BundleError, match="array of uint8"):
        TrainedOn(hashes.astype(np.int64))
    with pytest.raises(BundleError, match="array of uint8"):
        TrainedOn(hashes[:, :16])
    with pytest.raises(BundleError, match="64 hexadecimal"):
        TrainedOn.of(["abc"])
    with pytest.raises(BundleError, match=r"without trained_on/sha256.npy"):
        TrainedOn.from_members({"trained_on/perceptual.npy": b""})
    members = TrainedOn.of(digests, hashes).members()
    with pytest.raises(BundleError, match=r"perceptual\.npy is not"):
        TrainedOn.from_members({**members, "trained_on/perceptual.npy": members["trained_on/perceptual.npy"] + b"x"})
