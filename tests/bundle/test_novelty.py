from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests import tiny_bundle as tiny

from melascope.bundle import arrays, load_bundle, modality, novelty, write_bundle
from melascope.errors import BundleError
from melascope.images import strangers
from melascope.images.synthetic import lesion
from melascope.statistics import novelty as methods

DIMENSIONS = 12


def some(n: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    x = np.eye(3, DIMENSIONS)[labels] * 4 + rng.normal(0, 0.5, (n, DIMENSIONS)) + 1
    x[:, -1] += shift
    return x.astype(np.float32), (x[:, :3] * 2 - x[:, 3:6]).astype(np.float32), labels


def made(method: str = "vim", **options: object) -> bytes:
    return novelty.make(method, some(300, 1), some(200, 2)[:2], **options)


@pytest.mark.parametrize("method", methods.METHODS)
def test_it_says_the_same_as_the_statistics(method: str) -> None:
    read = novelty.Novelty.of(made(method))
    x, logits, _ = some(40, 3, 2.0)
    fitted = methods.fit(method, *(some(300, 1)[i] for i in (0, 2, 1)))
    known = methods.score(method, fitted, *some(200, 2)[:2])
    wanted = methods.p_values(methods.score(method, fitted, x, logits).astype(np.float32), known.astype(np.float32))
    np.testing.assert_allclose(read.scores(x, logits), wanted, atol=1.5 / 201)
    said = [read.judge(row, z) for row, z in zip(x, logits, strict=True)]
    np.testing.assert_allclose([each["score"] for each in said], wanted, atol=1.5 / 201)
    assert {each["method"] for each in said} == {method}
    assert read.known == 200


def test_strangers_are_outside_and_known_ones_hardly_ever() -> None:
    read = novelty.Novelty.of(made())
    outside = [read.judge(x, z)["outside"] for x, z in zip(*some(200, 5, 12.0)[:2], strict=True)]
    inside = [read.judge(x, z)["outside"] for x, z in zip(*some(200, 6)[:2], strict=True)]
    assert np.mean(outside) == 1.0
    assert np.mean(inside) < 0.05


def test_lesions_count_once_and_too_few_call_nothing_outside() -> None:
    read = novelty.Novelty.of(made(groups=[f"L{i // 4}" for i in range(200)]))
    assert read.known == 50
    assert read.judge(some(1, 5, 90.0)[0][0], np.zeros(3)) == {"score": 1 / 51, "outside": False, "method": "vim"}


def test_equal_input_gives_equal_bytes_and_they_are_few() -> None:
    assert made() == made()
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(0.2, 1, (600, 1280)), 0)
    z = x[:, :8] * 2
    for method in ("mahalanobis", "vim"):  # the largest
        data = novelty.make(method, (x, z, rng.integers(0, 8, 600)), (x[:200], z[:200]))
        assert len(data) < 2_000_000, method


def broken(data: bytes, **changes: np.ndarray | None) -> bytes:
    about, parts = arrays.unpack("x", data)
    parts |= {name: array for name, array in changes.items() if array is not None}
    return arrays.pack(about, {name: array for name, array in parts.items() if changes.get(name, 0) is not None})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"basis": None}, "it needs basis, centre, known, weight"),
        ({"extra": np.zeros(3, np.float32)}, "it needs"),
        ({"basis": np.zeros((5, 2), np.float32)}, "where others have"),
        ({"basis": np.zeros(DIMENSIONS, np.float32)}, "has 1 dimensions"),
        ({"weight": np.array(np.nan, np.float32)}, "not finite"),
        ({"known": np.array([2.0, 1.0], np.float32)}, "do not rise"),
        ({"known": np.zeros(0, np.float32)}, "empty"),
        ({"centre": np.zeros(DIMENSIONS, np.int8)}, "not floating-point"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, np.ndarray | None], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        novelty.Novelty.of(broken(made(), **changes))


def test_other_methods_versions_and_shares_are_refused() -> None:
    about, parts = arrays.unpack("x", made())
    for change, words in (
        ({"method": "odin"}, "odin"), ({"schema": 2}, "version 2"), ({"share": 1.0}, "between 0 and 1"),
        ({"share": None}, "between 0 and 1"),
    ):  # fmt: skip
        with pytest.raises(BundleError, match=words):
            novelty.Novelty.of(arrays.pack({**about, **change}, parts))
    gauss = made("mahalanobis")
    with pytest.raises(BundleError, match="variance"):
        novelty.Novelty.of(broken(gauss, noise=np.array(0, np.float32)))


def test_damaged_bytes_are_refused_and_never_anything_else() -> None:
    data = made()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), 400):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        # A flip in a number may pass here; the bundle's own hashes find it.
        with contextlib.suppress(BundleError):
            novelty.Novelty.of(bytes(damaged))
    for bad in (b"", b"PK", data[:-30], b"x" * 500):
        with pytest.raises(BundleError, match="make it again"):
            novelty.Novelty.of(bad)


def test_compressed_pickled_and_falsely_sized_arrays_are_refused() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(1000))
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f4", "fortran_order": False, "shape": (1 << 62, 16)})
    for entry in (pickled.getvalue(), huge.getvalue()):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr("about.json", "{}")
            archive.writestr("a.npy", entry)
        with pytest.raises(BundleError, match="make it again"):
            arrays.unpack("novelty.npz", inner.getvalue())
    with pytest.raises(BundleError, match="make it again"):
        arrays.unpack("novelty.npz", buffer.getvalue())


def six(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, _, labels = some(n, seed)
    return x[:, :6], x[:, 6:10], labels


def test_a_bundle_carries_it_and_it_is_part_of_the_identity(tmp_path: Path) -> None:
    data = novelty.make("mahalanobis", six(200, 1), six(120, 2)[:2])
    kinds = modality.make(
        np.r_[six(50, 1)[0], six(50, 2)[0] + 5, six(50, 3)[0] - 5],
        np.repeat(modality.MODALITIES, 50).tolist(),
        six(120, 4)[0],
    )
    plain = tiny.bundle(tmp_path / "a.melascope")
    whole = tiny.bundle(tmp_path / "b.melascope", arrays={"novelty.npz": data, "modality.npz": kinds})
    read = load_bundle(tmp_path / "b.melascope")
    assert read.novelty is not None
    assert read.modality is not None
    assert read.novelty.method == "mahalanobis"
    assert (plain.novelty, plain.modality, plain.neighbours) == (None, None, None)
    assert read.identity == whole.identity != plain.identity


def test_a_bundle_whose_embedding_it_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"6 numbers, novelty\.npz needs 12"):
        tiny.bundle(tmp_path / "a.melascope", arrays={"novelty.npz": made()})
    with pytest.raises(BundleError, match="does not belong"):
        write_bundle(tmp_path / "b.melascope", tiny.network(), tiny.decision(), arrays={"other.npz": made()})


def test_modalities_are_told_apart_and_dermoscopy_is_given_the_benefit_of_doubt() -> None:
    x = np.r_[some(150, 1)[0], some(60, 2)[0] + 1.2, some(60, 3)[0] - 1.2]
    names = ["dermoscopic"] * 150 + ["clinical"] * 60 + ["neither"] * 60
    read = modality.Modality.of(modality.make(x, names, some(300, 4)[0]))
    called = [read.judge(row)["modality"] for row in some(300, 5)[0]]
    assert np.mean([name != "dermoscopic" for name in called]) < 0.04
    assert read.judge(some(1, 6)[0][0] + 4)["modality"] == "clinical"
    far = read.judge(some(1, 6)[0][0] - 4)
    assert far["modality"] == "neither"
    assert sum(far["probabilities"].values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="is needed"):
        modality.make(x, ["dermoscopic"] * 270, x)
    with pytest.raises(ValueError, match="do not fit"):
        read.judge(x[0, :3])


def test_a_modality_of_another_shape_is_refused() -> None:
    about = {"schema": 1, "modalities": list(modality.MODALITIES)}
    good = {"weights": np.zeros((4, 3), np.float32), "bias": np.zeros(3, np.float32)}
    assert modality.Modality.of(arrays.pack(about, good)).embedding == 4
    with pytest.raises(BundleError, match="for 2 modalities"):
        modality.Modality.of(arrays.pack(about, {"weights": np.zeros((4, 2), "f4"), "bias": np.zeros(2, "f4")}))
    with pytest.raises(BundleError, match="of other modalities"):
        modality.Modality.of(arrays.pack({**about, "modalities": ["x"]}, good))


def test_strangers_are_drawn_the_same_again_and_differ_by_seed() -> None:
    photograph = lesion(1, "NV", size=(48, 64))
    for draw in (strangers.texture, strangers.document, lambda seed, size: strangers.clinical(seed, photograph, size)):
        one, again, other = draw(1, (40, 60)), draw(1, (40, 60)), draw(2, (40, 60))
        assert one.shape == (40, 60, 3)
        assert one.dtype == np.uint8
        assert (one == again).all()
        assert (one != other).any()
    for seed in range(30):
        strangers.texture(seed, 32)
        strangers.document(seed, 64)
        strangers.clinical(seed, photograph, 32)


def test_examples_of_both_other_modalities_are_drawn_without_loading_the_packages_they_come_from() -> None:
    made = list(strangers.examples([lesion(1, "NV", size=48)], count=4))
    names = [name for name, _ in made]
    assert names.count("clinical") == 4
    assert names.count("neither") >= 4 + 8
    assert all(pixels.dtype == np.uint8 and pixels.shape[2] == 3 for _, pixels in made)
    assert list(strangers.packaged(())) == []
    found = dict(strangers.packaged())
    assert {"sklearn/china", "sklearn/flower"} <= set(found)


@pytest.mark.parametrize("way", strangers.SPOILT)
def test_spoilt_photographs_differ_from_themselves(way: str) -> None:
    photograph = lesion(1, "NV", size=64)
    spoilt = strangers.spoil(photograph, way, 1)
    assert spoilt.shape == photograph.shape
    assert np.abs(spoilt.astype(int) - photograph).mean() > 4


def test_what_cannot_be_drawn_is_told() -> None:
    with pytest.raises(ValueError, match="use one of blurred"):
        strangers.spoil(lesion(1, "NV", size=32), "wet")
    with pytest.raises(ValueError, match="at least 16"):
        strangers.texture(1, 8)
