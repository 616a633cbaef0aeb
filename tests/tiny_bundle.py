"""A network of a few hundred numbers, made by hand, and a bundle with it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from melascope.bundle import Bundle, write_bundle

CLASSES = ("MEL", "NV", "BCC", "BKL")
SIDE = 32


def network(
    classes: int = len(CLASSES),
    side: int = SIDE,
    heatmap: bool = True,
    seed: int = 0,
    image: str = "image",
    image_type: int = TensorProto.UINT8,
    batch: int | str = "n",
    channels: int = 3,
    outputs: tuple[str, ...] = ("logits", "embedding"),
    gain: float = 40.0,
    changed: Any = None,
) -> bytes:
    """A convolution, a global average and a linear head, as ONNX; melanoma's logit follows dark blue pixels."""
    rng = np.random.default_rng(seed)
    weights = {
        "scale": np.array(1 / 255, np.float32),
        "conv": rng.normal(0, 0.3, (6, channels, 3, 3)).astype(np.float32),
        "head": rng.normal(0, gain / 4, (6, classes)).astype(np.float32),
        "bias": rng.normal(0, 0.1, classes).astype(np.float32),
    }
    weights["maps"] = np.ascontiguousarray(weights["head"].T[:, :, None, None])
    nodes = [
        helper.make_node("Cast", [image], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "conv"], ["convolved"], strides=[4, 4], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["embedding"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["embedding", "head", "bias"], ["logits"]),
    ]
    shapes = {"logits": [batch, classes], "embedding": [batch, 6]}
    if heatmap:
        nodes.append(helper.make_node("Conv", ["features", "maps"], ["heatmap"]))
        shapes["heatmap"] = [batch, classes, side // 4, side // 4]
        outputs = (*outputs, "heatmap")
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(image, image_type, [batch, side, side, channels])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if changed is not None:
        changed(model)
    data: bytes = model.SerializeToString()
    assert onnx.load_model_from_string(data).graph.name == "tiny"
    return data


def decision(**changes: Any) -> dict[str, Any]:
    """A `decision.json` for it."""
    point = {
        "threshold": 0.3,
        "target": 0.95,
        "assured": False,
        "sensitivity": {"value": 0.95, "low": 0.8, "high": 0.99, "n": 40},
        "specificity": {"value": 0.6, "low": 0.5, "high": 0.7, "n": 90},
        "n_positive": 40,
        "n_negative": 90,
    }
    return {
        "schema": 1,
        "name": "tiny",
        "version": "1",
        "classes": list(CLASSES),
        "geometry": {"height": SIDE, "width": SIDE, "mode": "crop"},
        "calibration": {"method": "temperature", "temperature": 1.5},
        "operating_points": {
            "melanoma": {"screening": point},
            "malignant": {"screening": {**point, "threshold": 0.6, "assured": True}},
        },
        "prediction_set": {"coverage": 0.9, "quantiles": [0.8, 0.7, None, 0.5]},
        "novelty": None,
        "protocol": "clean",
        "audited": True,
        **changes,
    }


def bundle(path: Path, **options: Any) -> Bundle:
    """Write a bundle with it."""
    options.setdefault("onnx", network())
    options.setdefault("decision", decision())
    return write_bundle(path, **options)


def photograph(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture `(height, width, 3)` uint8 that differs with the seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def jpeg(seed: int, height: int = 48, width: int = 64) -> bytes:
    """The same as a JPEG file's content."""
    buffer = io.BytesIO()
    Image.fromarray(photograph(seed, height, width)).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def folder(path: Path, count: int) -> list[Path]:
    """Write `count` photographs and return their paths."""
    path.mkdir(parents=True, exist_ok=True)
    files = [path / f"ISIC_{i:07d}.jpg" for i in range(count)]
    for i, file in enumerate(files):
        file.write_bytes(jpeg(i))
    return files
