from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tests import tiny_bundle as tiny

from melascope.bundle.graph import signature
from melascope.errors import BundleError


def test_the_signature_of_a_network() -> None:
    found = signature(tiny.network())
    assert (found.height, found.width, found.classes, found.embedding, found.heatmap) == (32, 32, 4, 6, (8, 8))
    assert signature(tiny.network(heatmap=False)).heatmap is None


@pytest.mark.parametrize("data", [b"", b"hello", bytes(100), tiny.network()[:200]])
def test_bytes_that_are_no_network(data: bytes) -> None:
    with pytest.raises(BundleError, match="not an ONNX network"):
        signature(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "photo"}, 'inputs "photo"; it needs exactly one, "image"'),
        ({"image_type": TensorProto.FLOAT}, '"image" of model.onnx is not uint8'),
        ({"batch": 1}, "fixed batch of 1"),
        ({"channels": 4}, "4 channels"),
        ({"outputs": ("logits",)}, "needs logits and embedding"),
    ],
)
def test_other_inputs_and_outputs_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError) as caught:
        signature(tiny.network(**options))
    assert message in str(caught.value)


def second_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, ["n", 1]))


def fewer_maps(model: ModelProto) -> None:
    model.graph.output[2].type.tensor_type.shape.dim[1].dim_value = 3


def open_size(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"


def flat_logits(model: ModelProto) -> None:
    del model.graph.output[0].type.tensor_type.shape.dim[1]


def own_operator(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (second_input, "exactly one"),
        (fewer_maps, "4 logits but 3 heat maps"),
        (open_size, "open size"),
        (flat_logits, "1 dimensions"),
        (own_operator, "com.example"),
    ],
)
def test_other_graphs_are_refused(change: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        signature(tiny.network(changed=change))


def _external(tensor: TensorProto) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def _outside() -> TensorProto:
    return _external(numpy_helper.from_array(np.zeros(4, np.float32), "outside"))


def in_initializer(model: ModelProto) -> None:
    _external(model.graph.initializer[1])


def in_attribute(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=_outside()))


def in_subgraph(model: ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=_outside())], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def in_function(model: ModelProto) -> None:
    nodes = [helper.make_node("Constant", [], ["c"], value=_outside())]
    model.functions.append(helper.make_function("own", "f", [], ["c"], nodes, [helper.make_opsetid("", 13)]))


def in_sparse_initializer(model: ModelProto) -> None:
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(_outside(), numpy_helper.from_array(np.arange(4), "at"), [8])
    )


def in_training_part(model: ModelProto) -> None:
    model.training_info.add().initialization.initializer.append(_outside())


@pytest.mark.parametrize(
    "change", [in_initializer, in_attribute, in_subgraph, in_function, in_sparse_initializer, in_training_part]
)
def test_numbers_kept_outside_the_file_are_refused(change: Any) -> None:
    with pytest.raises(BundleError, match="external data"):
        signature(tiny.network(changed=change))
