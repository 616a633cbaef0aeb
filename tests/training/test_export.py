from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import tiny_bundle as tiny

from melascope.bundle import Predictor
from melascope.bundle.engine import Engine
from melascope.bundle.graph import signature
from melascope.errors import BundleError
from melascope.training import backend, networks, recipe
from melascope.training.export import check_parity, export_model, export_onnx

CLASSES = ("MEL", "NV", "BCC", "BKL")
SMALL: dict[str, Any] = {
    "data": {"size": 32, "geometry": "crop", "batch_size": 8},
    "network": {"name": "cnn", "widths": [8, 16]},
    "schedule": {"epochs": 1},
}
pytestmark = pytest.mark.train


def images(n: int = 12) -> np.ndarray:
    return np.stack([tiny.photograph(seed, 32, 32) for seed in range(n)])


def stirred(asked: recipe.Recipe) -> Any:
    """A network whose weights are far from their start, so that its probabilities differ."""
    model = networks.build(asked, len(CLASSES))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = np.asarray(weight)
        if "variance" in weight.path:
            weight.assign(rng.uniform(0.5, 2.0, value.shape))
        else:
            weight.assign(value * 3 + rng.normal(0, 0.1, value.shape))
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[recipe.Recipe, Any, Path]:
    asked = recipe.parse(SMALL)
    model = stirred(asked)
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    networks.save_weights(model, path)
    return asked, model, path


def test_what_is_exported_is_what_was_trained(trained: tuple[recipe.Recipe, Any, Path], tmp_path: Path) -> None:
    asked, model, weights = trained
    found = export_onnx(asked, CLASSES, weights, tmp_path / "run" / "model.onnx", images(), threads=1)
    assert found.difference < 1e-4
    assert found.images == 12
    assert list((tmp_path / "run").iterdir()) == [found.path]
    shapes = signature(found.onnx)
    assert (shapes.height, shapes.classes, shapes.embedding) == (32, 4, 16)
    assert shapes.heatmap is not None
    bundle = tiny.bundle(tmp_path / "a.melascope", onnx=found.onnx)
    outputs = Predictor(bundle).run(images())
    expected = {name: np.asarray(value) for name, value in model(images(), training=False).items()}
    assert np.ptp(expected["logits"]) > 1
    np.testing.assert_allclose(outputs.logits, expected["logits"], atol=1e-3)
    np.testing.assert_allclose(outputs.embedding, expected["embedding"], atol=1e-3)
    np.testing.assert_allclose(outputs.heatmap, expected["heatmap"], atol=1e-3)


def test_a_network_trained_in_bfloat16_is_exported_in_float32(tmp_path: Path) -> None:
    asked = recipe.parse({**SMALL, "schedule": {"epochs": 1, "precision": "bfloat16"}})
    networks.save_weights(stirred(asked), tmp_path / "weights.npz")
    found = export_onnx(asked, CLASSES, tmp_path / "weights.npz", tmp_path / "model.onnx", images(4), threads=1)
    assert found.difference < 1e-4


def test_weights_of_another_network_are_refused(trained: tuple[recipe.Recipe, Any, Path], tmp_path: Path) -> None:
    asked, _, weights = trained
    with pytest.raises(BundleError, match="weights of another network") as caught:
        export_onnx(asked, CLASSES[:2], weights, tmp_path / "model.onnx", images(2), threads=1)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_export_needs_images(trained: tuple[recipe.Recipe, Any, Path], tmp_path: Path) -> None:
    asked, _, weights = trained
    with pytest.raises(BundleError, match="at least one image"):
        export_onnx(asked, CLASSES, weights, tmp_path / "model.onnx", images()[:0])


def test_a_network_that_differs_is_refused_and_the_difference_named() -> None:
    onnx = tiny.network()
    logits = np.zeros((12, 4), np.float32)
    with pytest.raises(BundleError, match=r"differs from the trained one by 0\.\d+ in probability on 12 images"):
        check_parity(onnx, images(), logits)
    with pytest.raises(BundleError, match="nan"):
        check_parity(onnx, images(), np.full((12, 4), np.nan, np.float32))
    with pytest.raises(BundleError, match="4 logits and the trained one 9"):
        check_parity(onnx, images(), np.zeros((12, 9), np.float32))


@pytest.fixture
def other_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let the other process run what the test says; the list gets the command's replacement."""
    replaced: list[list[str]] = []
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        return real([sys.executable, *replaced[0]] if replaced else command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    return replaced


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed (signal 9)"),
        ("raise RuntimeError('no luck')", "The export failed: RuntimeError: no luck."),
        ("raise SystemExit(3)", "no reason given"),
    ],
)
def test_a_process_that_fails_leaves_nothing_behind(
    trained: tuple[recipe.Recipe, Any, Path], tmp_path: Path, other_process: list[list[str]], code: str, words: str
) -> None:
    asked, _, weights = trained
    (tmp_path / "model.onnx").write_bytes(b"the old one")
    (tmp_path / ".model.onnx.export-killed").mkdir()
    other_process.append(["-c", code])
    with pytest.raises(BundleError) as caught:
        export_onnx(asked, CLASSES, weights, tmp_path / "model.onnx", images(2))
    assert words in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"the old one"


def test_any_keras_model_can_be_exported() -> None:
    keras = backend.load()
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    features = keras.layers.Conv2D(4, 3, strides=2)(keras.layers.Rescaling(1 / 255)(image))
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(image, {"logits": keras.layers.Dense(2)(pooled), "embedding": pooled})
    onnx = export_model(model)
    assert signature(onnx).heatmap is None
    check_parity(onnx, images(3), np.asarray(model(images(3))["logits"]))


def test_a_model_with_other_outputs_is_refused() -> None:
    keras = backend.load()
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    with pytest.raises(BundleError, match="dict"):
        export_model(keras.Model(image, pooled))
    with pytest.raises(BundleError, match="needs logits and embedding"):
        export_model(keras.Model(image, {"logits": pooled}))


@pytest.mark.parametrize("views", [2, 4])
def test_mirror_images_are_averaged_in_the_graph(
    trained: tuple[recipe.Recipe, Any, Path], views: int, tmp_path: Path
) -> None:
    asked, single, weights = trained
    several = asked.replace(network={"views": views})
    found = export_onnx(several, CLASSES, weights, tmp_path / "model.onnx", images(), threads=1)
    seen = Engine(found.onnx, threads=1, batch_size=12).infer(images())
    turns = [(1, 1), (1, -1), (-1, -1), (-1, 1)][:views]
    told = [single(np.ascontiguousarray(images()[:, ::down, ::across])) for down, across in turns]
    wanted = np.mean([np.asarray(one["logits"]) for one in told], axis=0)
    assert np.abs(wanted - np.asarray(told[0]["logits"])).max() > 0.05  # a mirror image is another photograph
    np.testing.assert_allclose(seen.logits, wanted, atol=1e-3)
    maps = [np.asarray(one["heatmap"])[:, :, ::d, ::a] for one, (d, a) in zip(told, turns, strict=True)]
    np.testing.assert_allclose(seen.heatmap, np.mean(maps, axis=0), atol=1e-3)
    if views == 4:
        mirrored = Engine(found.onnx, threads=1, batch_size=12).infer(np.ascontiguousarray(images()[:, :, ::-1]))
        np.testing.assert_allclose(mirrored.logits, seen.logits, atol=1e-3)


def test_colour_constancy_stands_in_the_graph_before_anything_else(
    trained: tuple[recipe.Recipe, Any, Path], tmp_path: Path
) -> None:
    asked, plain, weights = trained
    one_light = asked.replace(network={"colour_constancy": True, "views": 2})
    found = export_onnx(one_light, CLASSES, weights, tmp_path / "model.onnx", images(), threads=1)
    seen = Engine(found.onnx, threads=1, batch_size=12).infer(images())
    norm = ((images() / 255.0) ** 6).mean(axis=(1, 2), keepdims=True) ** (1 / 6) * 255
    lit = np.minimum(images() * (np.array([190, 150, 155]) / np.maximum(norm, 20)), 255)
    body = plain.get_layer("network")
    told = [np.asarray(body(view.astype(np.float32))["logits"]) for view in (lit, lit[:, :, ::-1])]
    np.testing.assert_allclose(seen.logits, np.mean(told, axis=0), atol=1e-3)
    # Another lamp: the network sees the same; without it, another photograph.
    lamp = (images() * np.array([0.9, 0.7, 0.5])).astype(np.uint8)
    again = Engine(found.onnx, threads=1, batch_size=12).infer(lamp)
    apart = np.abs(np.asarray(plain(lamp)["logits"]) - np.asarray(plain(images())["logits"])).max()
    assert np.abs(again.logits - seen.logits).max() < 0.2 * apart
