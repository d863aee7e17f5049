"""Weights as changes of stored ones: what is referred to, what has factors, what stays whole, and how exact it is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from exporter.changes import change_weights, stored_weights
from exporter.computed import fold
from exporter.weights import move_weights

RNG = np.random.default_rng(0)
SHAPE = (96, 64)


def model_of(**tensors):
    """A graph that reads each tensor once."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in tensors]
    outputs = [helper.make_tensor_value_info(f"{name}_out", onnx.TensorProto.FLOAT16, None) for name in tensors]
    weights = [numpy_helper.from_array(value.astype(np.float16), name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "g", [], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def random(*shape, scale=0.1):
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


@pytest.fixture(scope="module")
def weights():
    return {name: random(*SHAPE).astype(np.float16) for name in ("equal", "lora", "other", "small", "shape")}


@pytest.fixture(scope="module")
def wanted(weights):
    return weights | {
        "lora": weights["lora"] + random(96, 3) @ random(3, 64),
        "other": weights["other"] + random(*SHAPE),
        "small": weights["small"] + random(96, 3) @ random(3, 64),
        "shape": random(64, 96),
        "new": random(*SHAPE),
    }


@pytest.fixture(scope="module")
def bundle(weights, tmp_path_factory):
    """A folder with a graph of these weights. The weight `small` has two rows."""
    folder = tmp_path_factory.mktemp("bundle")
    model = model_of(**weights | {"small": weights["small"][:2]})
    move_weights(model, folder, "unet.bin", "unet.bin", set())
    onnx.save(model, folder / "unet.one.onnx")
    return folder


def test_each_weight_gets_the_smallest_exact_form(bundle, wanted):
    model = model_of(**wanted | {"small": wanted["small"][:2]})
    forms = change_weights(model, stored_weights(bundle / "unet.one.onnx"), smallest_bytes=1024)
    assert str(forms) == "1 weights of low rank (rank 3 to 3), 1 whole"
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    assert {name for name, tensor in tensors.items() if tensor.external_data} == {"equal", "lora W"}
    assert {"other", "small", "shape", "new"} <= tensors.keys()
    # The error is that of float16: the root mean square of what rounding both weights explains, and 5 % more.
    onnx.save(model, bundle / "changed.onnx")
    folded = onnx.load(bundle / "changed.onnx")
    fold(folded)
    found = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in folded.graph.initializer}
    target = wanted["lora"].astype(np.float16)
    spacing = [np.spacing(np.abs(one)).astype(np.float32) for one in (target, found["lora"].astype(np.float16))]
    error = found["lora"] - target.astype(np.float32)
    assert 0 < np.sqrt(np.mean(error**2)) < 1.5 * np.sqrt(sum(np.mean(one**2) for one in spacing) / 12)
    assert np.array_equal(found["equal"], wanted["equal"].astype(np.float32))


def test_a_change_of_a_change_begins_at_the_stored_weight(bundle, weights, wanted):
    """The graph of a class with factors has W, from which the next class's change is of low rank, too."""
    first = model_of(lora=wanted["lora"])
    change_weights(first, stored_weights(bundle / "unet.one.onnx"))
    onnx.save(first, bundle / "unet.two.onnx")
    stored = stored_weights(bundle / "unet.two.onnx")
    assert stored.keys() == {"lora"}
    assert np.array_equal(stored["lora"].values(), weights["lora"])
    assert stored["lora"].file == "unet.bin"
    second = model_of(lora=weights["lora"] + random(96, 2) @ random(2, 64))
    assert change_weights(second, stored).ranks == (2,)
