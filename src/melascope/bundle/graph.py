"""What may stand in a bundle's `model.onnx`, checked before it is run.

The network is a file from somewhere else: it must bring all its numbers with
it, use standard operators only, and have the inputs and outputs that the
predictor knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from melascope.errors import BundleError

INPUT = "image"
OUTPUTS = ("logits", "embedding", "heatmap")
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# As onnx.TensorProto numbers them.
_FLOAT, _UINT8, _EXTERNAL = 1, 2, 1


@dataclass(frozen=True)
class Signature:
    """The shapes of a network: `(n, height, width, 3)` uint8 in, `classes` logits out.

    Attributes:
        height: Pixels.
        width: Pixels.
        classes: How many diagnoses it tells apart.
        embedding: Length of the embedding.
        heatmap: `(h', w')` of the class activation maps, or None where the network has none.
    """

    height: int
    width: int
    classes: int
    embedding: int
    heatmap: tuple[int, int] | None


def signature(onnx: bytes) -> Signature:
    """Return the shapes of an ONNX network after checking that it is one that may be run.

    Args:
        onnx: The file's bytes.

    Raises:
        BundleError: When it is no ONNX file, keeps numbers outside itself,
            uses operators of its own, or has other inputs or outputs than
            `image` (uint8) and `logits`, `embedding` and, optionally, `heatmap` (float32).
    """
    model = _parse(onnx)
    for tensor in _tensors(model):
        if tensor.data_location == _EXTERNAL or len(tensor.external_data):
            raise BundleError(
                f'model.onnx keeps the numbers of "{tensor.name}" in a file of its own (external data), which is not '
                "allowed in a bundle; export it with all weights inside."
            )
    foreign = sorted({item.domain for item in model.opset_import} - _DOMAINS)
    if foreign:
        raise BundleError(f"model.onnx uses operators that are not standard ONNX ({', '.join(foreign)}).")
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in initial}
    if list(inputs) != [INPUT]:
        raise BundleError(f'model.onnx has the inputs {_names(inputs)}; it needs exactly one, "{INPUT}".')
    outputs = {value.name: value for value in model.graph.output}
    if not {"logits", "embedding"} <= set(outputs) <= set(OUTPUTS) or len(outputs) != len(model.graph.output):
        raise BundleError(
            f"model.onnx has the outputs {_names(outputs)}; it needs logits and embedding, and may have heatmap."
        )
    _, height, width, channels = _shape(inputs[INPUT], _UINT8, "uint8", 4)
    if channels != 3:
        raise BundleError(f"model.onnx takes images of {channels} channels; it needs (n, height, width, 3), RGB.")
    _, classes = _shape(outputs["logits"], _FLOAT, "float32", 2)
    _, embedding = _shape(outputs["embedding"], _FLOAT, "float32", 2)
    heatmap = None
    if "heatmap" in outputs:
        _, maps, rows, columns = _shape(outputs["heatmap"], _FLOAT, "float32", 4)
        if maps != classes:
            raise BundleError(f"model.onnx gives {classes} logits but {maps} heat maps; it needs one for each class.")
        heatmap = rows, columns
    return Signature(height, width, classes, embedding, heatmap)


def _parse(onnx: bytes) -> Any:
    import onnx as library

    try:
        model = library.load_model_from_string(onnx)
        if not model.graph.node or not model.ir_version:
            raise ValueError("no graph")
    except Exception:  # protobuf raises types of its own for damaged bytes
        raise BundleError("model.onnx is not an ONNX network.") from None
    return model


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor, also those in attributes, subgraphs and functions."""
    nodes: list[Any] = []
    graphs = [model.graph]
    for training in model.training_info:
        graphs += [training.initialization, training.algorithm]
    for function in model.functions:
        nodes += function.node
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                yield from (sparse.values, sparse.indices)
            graphs += attribute.graphs
            if attribute.HasField("g"):
                graphs.append(attribute.g)


def _shape(value: Any, kind: int, kind_name: str, rank: int) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    if tensor.elem_type != kind:
        raise BundleError(f'"{value.name}" of model.onnx is not {kind_name}.')
    sizes = tuple(d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim)
    if len(sizes) != rank:
        raise BundleError(f'"{value.name}" of model.onnx has {len(sizes)} dimensions; it needs {rank}.')
    if sizes[0] != 0:
        raise BundleError(f'"{value.name}" of model.onnx has a fixed batch of {sizes[0]}; the first size must be open.')
    if min(sizes[1:]) < 1:
        raise BundleError(f'"{value.name}" of model.onnx has an open size {sizes}; all but the first must be fixed.')
    return sizes


def _names(values: Any) -> str:
    return ", ".join(f'"{name}"' for name in values) or "(none)"
