from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests import tiny_bundle as tiny

from melascope.bundle import arrays, load_bundle
from melascope.bundle.neighbours import Neighbours, make
from melascope.errors import BundleError

N, D = 90, 20
CODES = ("MEL", "NV", "BCC")
IDS = [f"ISIC_{row:07d}" for row in range(N)]
LESIONS = [f"HAM_{row // 3}" for row in range(N)]
DIAGNOSES = [CODES[row // 3 % 3] for row in range(N)]
DIGESTS = [f"{row + 1:064x}"[::-1] for row in range(N)]


def embeddings(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    lesion = np.repeat(rng.normal(0, 1, (N // 3, D)), 3, axis=0)
    return (lesion + rng.normal(0, 0.2, (N, D)) + 1).astype(np.float32)


def member(**options: object) -> bytes:
    sources = ["ham10000" if row % 2 else None for row in range(N)]
    licences = ["CC BY-NC 4.0" if row % 2 else None for row in range(N)]
    given = {"sources": sources, "licences": licences, "sha256": DIGESTS, **options}
    return make(embeddings(), IDS, LESIONS, DIAGNOSES, **given)


def exact(asked: np.ndarray, leave_out: tuple[str, ...] = ()) -> list[str]:
    x = embeddings()
    cosine = (x @ asked) / np.linalg.norm(x, axis=1) / np.linalg.norm(asked)
    found: list[str] = []
    seen = set(leave_out)
    for row in np.argsort(-cosine):
        if LESIONS[row] not in seen:
            seen.add(LESIONS[row])
            found.append(IDS[row])
    return found


def test_the_nearest_are_those_of_an_exact_search_one_for_each_lesion() -> None:
    index = Neighbours.of(member())
    agree = []
    for asked in embeddings(7)[:40]:
        found = index.nearest(asked, k=5)
        agree += [row["image_id"] for row in found if row["image_id"] in exact(asked)[:5]]
        distances = [row["distance"] for row in found]
        assert distances == sorted(distances)
        assert len({LESIONS[IDS.index(row["image_id"])] for row in found}) == 5
    assert len(agree) >= 0.97 * 200


def test_a_row_says_what_is_known_of_the_photograph() -> None:
    x = embeddings()
    index = Neighbours.of(member())
    first = index.nearest(x[31], k=1)[0]
    assert first == {"image_id": IDS[31], "diagnosis": DIAGNOSES[31], "distance": first["distance"],
                     "source": "ham10000", "licence": "CC BY-NC 4.0"}  # fmt: skip
    assert first["distance"] < 0.002
    assert index.nearest(x[30], k=1)[0]["source"] is None
    cosine = float(x[31] @ x[60] / np.linalg.norm(x[31]) / np.linalg.norm(x[60]))
    far = next(row for row in index.nearest(x[31], k=90) if row["image_id"] in IDS[60:63])
    assert far["distance"] <= 1 - cosine + 0.02


def test_the_photograph_itself_and_its_lesion_are_left_out() -> None:
    x = embeddings()
    index = Neighbours.of(member())
    for known in (
        {"image_id": "isic_0000031_downsampled.JPG"},
        {"sha256": DIGESTS[31]},
        {"image_id": "mine.jpg", "sha256": DIGESTS[31]},
    ):
        found = [row["image_id"] for row in index.nearest(x[31], k=5, **known)]
        assert not set(found) & set(IDS[30:33])
        assert len(set(found) & set(exact(x[31], (LESIONS[31],))[:5])) >= 4
    assert index.nearest(x[31], k=1, image_id="other", sha256="ab" * 32)[0]["image_id"] == IDS[31]


def test_a_photograph_without_a_sha256_is_not_taken_for_another() -> None:
    index = Neighbours.of(member(sha256=None))
    assert index.nearest(embeddings()[31], k=1, sha256="00" * 32)[0]["image_id"] == IDS[31]


def test_fewer_lesions_than_asked_for() -> None:
    index = Neighbours.of(member())
    assert len(index.nearest(embeddings()[0], k=500)) == N // 3
    assert index.nearest(embeddings()[0], k=0) == []
    # One lesion with many photographs must not hide the others.
    crowded = make(embeddings(), IDS, ["one"] * 80 + [f"L{row}" for row in range(10)], DIAGNOSES, [None] * N)
    assert len(Neighbours.of(crowded).nearest(embeddings()[0], k=5)) == 5
    unknown = make(embeddings(), IDS, [None] * N, DIAGNOSES, [None] * N)
    assert len(Neighbours.of(unknown).nearest(embeddings()[0], k=50)) == 50


def test_what_a_table_leaves_missing_is_missing() -> None:
    import pandas as pd

    lesions = pd.array(["a", None] * (N // 2), dtype="string")
    index = Neighbours.of(make(embeddings(), IDS, list(lesions), DIAGNOSES, [pd.NA] * N, [float("nan")] * N))
    found = index.nearest(embeddings()[1], k=60)
    assert len(found) == N // 2 + 1
    assert {row["source"] for row in found} == {row["licence"] for row in found} == {None}


def test_equal_input_gives_equal_bytes_and_a_member_is_small() -> None:
    assert member() == member()
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(0.3, 1, (3000, 512)), 0)
    data = make(x, [f"ISIC_{row:07d}" for row in range(3000)], [None] * 3000, ["NV"] * 3000, ["ham10000"] * 3000)
    assert len(data) < 700_000


def test_a_bundle_carries_it_without_changing_the_identity(tmp_path: Path) -> None:
    data = make(embeddings()[:, :6], IDS, LESIONS, DIAGNOSES, [None] * N)
    plain = tiny.bundle(tmp_path / "a.melascope")
    tiny.bundle(tmp_path / "b.melascope", arrays={"neighbours.npz": data})
    read = load_bundle(tmp_path / "b.melascope")
    assert read.neighbours is not None
    assert read.neighbours.images == N
    assert read.identity == plain.identity
    with pytest.raises(BundleError, match=r"neighbours\.npz needs 20"):
        tiny.bundle(tmp_path / "c.melascope", arrays={"neighbours.npz": member()})


def test_lists_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match="lists of"):
        make(embeddings(), IDS[:-1], LESIONS, DIAGNOSES, [None] * N)
    with pytest.raises(ValueError, match="wart"):
        make(embeddings(), IDS, LESIONS, ["wart"] * N, [None] * N)
    with pytest.raises(ValueError, match="finite"):
        make(embeddings() * np.nan, IDS, LESIONS, DIAGNOSES, [None] * N)
    with pytest.raises(ValueError, match="longer than"):
        make(embeddings(), ["x" * 300, *IDS[1:]], LESIONS, DIAGNOSES, [None] * N)
    with pytest.raises(ValueError, match="does not fit"):
        Neighbours.of(member()).nearest(np.zeros(3))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("coordinates", np.zeros((N, 3), np.int8), "where others have"),
        ("coordinates", np.zeros((N, D), np.float32), "coordinates is an array of float32"),
        ("diagnoses", np.full(N, 9, np.uint16), "number in diagnoses is 9"),
        ("lesions", np.zeros(N - 1, np.int32), "where others have"),
        ("centre", np.full(D, np.inf, np.float32), "not finite"),
        ("image_ids", np.zeros(N, np.int32), "image_ids is an array of int32"),
    ],
)
def test_parts_that_do_not_fit_are_refused(name: str, array: np.ndarray, words: str) -> None:
    about, parts = arrays.unpack("x", member())
    with pytest.raises(BundleError, match=words):
        Neighbours.of(arrays.pack(about, {**parts, name: array}))
    for change in ({"schema": 3}, {"diagnoses": ["wart", "MEL", "NV"]}, {"sources": None}):
        with pytest.raises(BundleError, match=r"neighbours\.npz"):
            Neighbours.of(arrays.pack({**about, **change}, parts))


def test_damage_is_refused_and_never_anything_else() -> None:
    data = member()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), 300):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        # A flip in a number may pass here; the bundle's own hashes find it.
        with contextlib.suppress(BundleError):
            Neighbours.of(bytes(damaged)).nearest(embeddings()[0])


def test_asking_needs_neither_tables_nor_sklearn() -> None:
    code = (
        "import sys; from melascope.bundle import neighbours, novelty, modality; "
        "bad = {'pandas', 'sklearn', 'scipy', 'keras', 'matplotlib'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
