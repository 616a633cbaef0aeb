"""From trained weights to the ONNX network of a bundle, proven equal to what was trained.

The conversion goes through TensorFlow whatever the backend of training was,
and TensorFlow writes at length to stderr, so it runs in a process of its own:
`python -m melascope.training.export`. There the network is built again in
float32 and filled with the weights; here the file is run by the engine that
serves it, and compared.

Two things were seen to fail otherwise: the model must have been called once
before it is exported, and its preprocessing must be a plain `Rescaling`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from melascope.bundle.engine import Engine
from melascope.bundle.graph import INPUT, signature
from melascope.errors import BundleError, MissingExtraError
from melascope.statistics.calibration import softmax
from melascope.training import backend

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe

TOLERANCE = 1e-3
"""The largest difference in probability between the trained and the exported network."""


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        path: The ONNX file.
        difference: The largest difference in probability from the trained network.
        images: On how many images that was measured.
    """

    path: Path
    difference: float
    images: int

    @property
    def onnx(self) -> bytes:
        """The file's bytes, for `melascope.bundle.write_bundle`."""
        return self.path.read_bytes()


def export_onnx(
    recipe: Recipe,
    classes: Sequence[str],
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    images: np.ndarray,
    threads: int | None = None,
) -> Exported:
    """Write a recipe's trained network as ONNX, and prove it equal to the trained one.

    The file appears whole or not at all, and only if it passed.

    Args:
        recipe: With which the network was trained.
        classes: Its diagnoses, in the order of the logits.
        weights: `weights.npz`, as `fit` wrote it.
        out: The ONNX file.
        images: `(n, h, w, 3)` uint8, real photographs as packed; some dozens are enough.
        threads: CPU threads.

    Raises:
        BundleError: When the conversion fails, or the two differ by more than
            `TOLERANCE` in a probability.
        MissingExtraError: When TensorFlow or tf2onnx is not installed.
    """
    if not len(images):
        raise BundleError("An export needs at least one image to compare the exported network with the trained one.")
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.export-"
    for leftover in target.parent.glob(f"{prefix}*"):  # of an export that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as name:
        folder = Path(name)
        plain = recipe.replace(schedule={"precision": "float32"}, network={"weights": None})
        (folder / "recipe.toml").write_text(plain.dumps(), encoding="utf-8")
        np.save(folder / "images.npy", np.ascontiguousarray(images), allow_pickle=False)
        _in_own_process(folder, Path(weights), len(classes), threads)
        onnx = (folder / "model.onnx").read_bytes()
        logits = np.load(folder / "logits.npy", allow_pickle=False)
        difference = check_parity(onnx, images, logits, threads)
        (folder / "model.onnx").replace(target)
    return Exported(target, difference, len(images))


def export_model(model: Any) -> bytes:
    """Return any Keras model as the ONNX network of a bundle; needs Keras on the TensorFlow backend.

    Args:
        model: From uint8 `(n, h, w, 3)` to a dict of `logits (n, c)`,
            `embedding (n, d)` and, optionally, `heatmap (n, c, h', w')`.

    Raises:
        BundleError: When it has other inputs or outputs, or cannot be converted.
        MissingExtraError: When tf2onnx is not installed.
    """
    keras = backend.load()
    if keras.backend.backend() != "tensorflow":
        raise BundleError(
            f"Exporting needs Keras on TensorFlow, and it runs on {keras.backend.backend()} here; "
            "set KERAS_BACKEND=tensorflow, or use export_onnx, which starts a process of its own."
        )
    if not _installed("tf2onnx"):
        raise MissingExtraError("train", "Exporting")
    shape = tuple(model.inputs[0].shape[1:])
    model(np.zeros((1, *shape), np.uint8))
    specification = [keras.InputSpec(shape=(None, *shape), dtype="uint8", name=INPUT)]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        try:
            model.export(str(path), format="onnx", input_signature=specification, verbose=False)
        except Exception as error:  # the converter raises almost anything
            raise BundleError(f"The network cannot be converted to ONNX ({_last_line(str(error))}).") from error
        onnx = _with_shapes(path.read_bytes(), {name: tuple(output.shape) for name, output in _outputs(model).items()})
    signature(onnx)
    return onnx


def _outputs(model: Any) -> dict[str, Any]:
    if not isinstance(model.output, dict):
        raise BundleError('The network must give a dict with "logits" and "embedding".')
    return model.output


def _with_shapes(onnx: bytes, shapes: dict[str, tuple[int | None, ...]]) -> bytes:
    """Write the outputs' sizes, as Keras knows them, into the file: the converter loses some behind a reshape."""
    import onnx as library

    model = library.load_model_from_string(onnx)
    for output in model.graph.output:
        sizes = output.type.tensor_type.shape.dim
        for place, (written, size) in enumerate(zip(sizes, shapes.get(output.name, ()), strict=False)):
            if size is not None:
                written.dim_value = size
            elif place == 0:
                written.dim_param = "n"
    return bytes(model.SerializeToString(deterministic=True))


def check_parity(onnx: bytes, images: np.ndarray, logits: np.ndarray, threads: int | None = None) -> float:
    """Return the largest difference in probability between an ONNX network as served and the trained one.

    Args:
        onnx: The network's bytes.
        images: `(n, h, w, 3)` uint8.
        logits: `(n, c)` of the trained network for them.
        threads: CPU threads.

    Raises:
        BundleError: When it is more than `TOLERANCE`, or not a number.
    """
    served = Engine(onnx, threads).run(images).logits
    if served.shape != logits.shape:
        raise BundleError(
            f"The exported network gives {served.shape[1]} logits and the trained one {logits.shape[1]}; "
            "export it with the classes that it was trained on."
        )
    difference = float(np.abs(softmax(served) - softmax(logits)).max())
    if not difference <= TOLERANCE:
        raise BundleError(
            f"The exported network differs from the trained one by {difference:.4f} in probability on "
            f"{len(images)} images (allowed: {TOLERANCE}), so no bundle was written."
        )
    return difference


def _in_own_process(folder: Path, weights: Path, classes: int, threads: int | None) -> None:
    # -P: a file of the user's folder must not take the place of a module.
    command = [
        sys.executable,
        "-P",
        "-m",
        "melascope.training.export",
        str(folder),
        str(weights.resolve()),
        str(classes),
    ]
    quiet = {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONWARNINGS": "ignore",
    }
    if threads is not None:
        command += ["--threads", str(threads)]
    done = subprocess.run(
        command, env={**os.environ, **quiet}, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode == 0:
        return
    problem = folder / "problem.txt"
    if problem.exists():
        raise BundleError(problem.read_text(encoding="utf-8"))
    if done.returncode < 0:
        raise BundleError(f"The export was killed (signal {-done.returncode}), perhaps for lack of memory; repeat it.")
    raise BundleError(f"The export failed: {_last_line(done.stderr)}.")


def _convert(folder: Path, weights: Path, classes: int, threads: int | None) -> None:
    """Do the work of the other process: `model.onnx`, and the trained network's logits for `images.npy`."""
    backend.configure(threads)
    from melascope.training import networks
    from melascope.training.recipe import load

    model = networks.build(load(folder / "recipe.toml"), classes)
    networks.load_weights(model, weights)
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    logits = [
        np.asarray(model(np.asarray(images[start : start + 16]), training=False)["logits"])
        for start in range(0, len(images), 16)
    ]
    np.save(folder / "logits.npy", np.concatenate(logits), allow_pickle=False)
    (folder / "model.onnx").write_bytes(export_model(model))


def _installed(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no reason given"


def _main() -> int:
    from melascope.errors import MelascopeError

    parser = argparse.ArgumentParser(prog="python -m melascope.training.export")
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("classes", type=int)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    try:
        _convert(asked.folder, asked.weights, asked.classes, asked.threads)
    except MelascopeError as error:
        (asked.folder / "problem.txt").write_text(str(error), encoding="utf-8")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
