from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests import tiny_bundle

from melascope.audit import embeddings
from melascope.errors import DataError
from melascope.images import synthetic


def _table(paths, **columns) -> pd.DataFrame:
    frame = pd.DataFrame({"image_id": [path.stem for path in paths], "path": [str(path) for path in paths]})
    return frame.assign(error_kind=pd.array([pd.NA] * len(frame), dtype="string"), **columns)


def _image(seed: int) -> np.ndarray:
    return tiny_bundle.photograph(seed, 96, 96)


def test_descriptors_are_those_of_all_eight_symmetries():
    image = _image(0)
    turned = np.stack([np.rot90(way, turn) for way in (image, image[:, ::-1]) for turn in range(4)])
    found = embeddings.describe(turned)
    assert found.shape == (8, 1141)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), atol=2e-4)
    assert np.abs(embeddings.describe(_image(1)[None]) - found[0]).max() > 0.1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_uniform_images_have_finite_descriptors(level):
    assert np.isfinite(embeddings.describe(np.full((1, 96, 96, 3), level, np.uint8))).all()


def test_descriptors_need_their_own_size():
    with pytest.raises(DataError, match="describe needs"):
        embeddings.describe(np.zeros((1, 64, 64, 3), np.uint8))


def test_rows_follow_the_readable_rows_of_the_table(tmp_path):
    paths = tiny_bundle.folder(tmp_path, 5)
    table = _table([*paths, paths[1]])
    table.loc[2, "error_kind"] = "truncated"
    stages = []
    found = embeddings.embed(table, threads=2, progress=lambda *at: stages.append(at))
    assert found.shape == (5, 1141)
    np.testing.assert_array_equal(found[1], found[4])
    alone = embeddings.embed(table.iloc[[3]], threads=1)
    np.testing.assert_allclose(found[2], alone[0], rtol=1e-5, atol=1e-5)
    assert stages[0] == ("describing photographs", 0, 4)
    assert stages[-1] == ("describing photographs", 4, 4)
    assert embeddings.embed(table.iloc[:0]).shape == (0, 0)


def test_a_bundle_gives_its_own_embedding(tmp_path):
    bundle = tiny_bundle.bundle(tmp_path / "tiny.melascope")
    paths = tiny_bundle.folder(tmp_path / "photographs", 3)
    found = embeddings.embed(_table(paths), bundle=tmp_path / "tiny.melascope", threads=1)
    from melascope.bundle import Predictor

    expected = np.stack([raw.embedding for _, raw in Predictor(bundle, 1).stream(paths)])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


@pytest.mark.parametrize("with_bundle", [False, True])
def test_a_photograph_that_vanished_is_named(tmp_path, with_bundle):
    paths = tiny_bundle.folder(tmp_path / "photographs", 2)
    bundle = tiny_bundle.bundle(tmp_path / "tiny.melascope") if with_bundle else None
    paths[1].unlink()
    with pytest.raises(
        DataError, match=r"ISIC_0000001.jpg could be read by the scan and cannot be read now \(The file"
    ):
        embeddings.embed(_table(paths), bundle=bundle, threads=1)


def test_a_cache_keeps_vectors_by_content(tmp_path, monkeypatch):
    paths = tiny_bundle.folder(tmp_path / "photographs", 4)
    table = _table(paths, sha256=[f"{n:064d}" for n in range(4)])
    cache = tmp_path / "cache"
    first = embeddings.embed(table.iloc[:3], threads=1, cache=cache)
    asked = []
    describe = embeddings.describe
    monkeypatch.setattr(embeddings, "describe", lambda images: asked.append(len(images)) or describe(images))
    second = embeddings.embed(table, threads=1, cache=cache)
    np.testing.assert_array_equal(second[:3], first)
    assert asked == [1]
    embeddings.embed(table, threads=1, cache=cache)
    assert asked == [1]
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_allclose(embeddings.embed(table, threads=1, cache=cache), second, atol=1e-5)
    assert sum(asked) == 5


def test_alike_photographs_are_near(tmp_path):
    rng = np.random.default_rng(0)
    images = [np.asarray(synthetic.lesion(n, code, size=96)) for code in ("MEL", "VASC") for n in range(2)]
    noisy = [np.clip(image + rng.integers(-3, 4, image.shape), 0, 255).astype(np.uint8) for image in images]
    found = embeddings.describe(np.stack([*images, *noisy]))
    away = np.linalg.norm(found[:4, None] - found[None, 4:], axis=2)
    assert (away.argmin(axis=1) == np.arange(4)).all()
