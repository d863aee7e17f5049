"""Group normalisation with channels last, against torch's in float64."""

import numpy as np
import openvino as ov
import pytest
import torch
from onnx import TensorProto, helper, save

from engine.backends.group_norm import keep_channels_last
from engine.backends.openvino import OpenVINOBackend

GROUPS, EPSILON = 3, 1e-5


@pytest.fixture
def graph(tmp_path):
    """One normalisation of any shape, with 12 channels."""
    names = ("x", "scale", "shift")
    node = helper.make_node("GroupNormalization", names, ["y"], num_groups=GROUPS, epsilon=EPSILON)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [12]) for name in names[1:]]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y"))
    model = helper.make_model(
        helper.make_graph([node], "norm", [x, *values], [y]), opset_imports=[helper.make_opsetid("", 23)]
    )
    model.ir_version = 10
    path = tmp_path / "norm.onnx"
    save(model, path)
    return path


@pytest.mark.parametrize(
    ("shape", "replaced"), [((2, 12, 80, 72), 1), ((600, 12, 5, 4), 1), ((2, 12, 16, 16), 0), ((2, 12, 9000), 0)]
)
def test_it_is_torchs(graph, shape, replaced):
    rng = np.random.default_rng(0)
    # The mean is far from 0 compared with the spread, as in a decoder's channels.
    x = (rng.standard_normal(shape) + 300 * rng.standard_normal((1, 12, *[1] * (len(shape) - 2)))).astype(np.float32)
    inputs = {"x": x, **{name: rng.standard_normal(12).astype(np.float32) for name in ("scale", "shift")}}
    model = ov.Core().read_model(graph)
    model.reshape({name: value.shape for name, value in inputs.items()})
    assert keep_channels_last(model) == replaced
    assert sum(node.get_type_name() == "GroupNormalization" for node in model.get_ops()) == 1 - replaced

    signature = {name: value.shape for name, value in inputs.items()}
    found = OpenVINOBackend(precision="f32", cached=False).open(graph, signature, ("y",)).run(inputs)["y"]
    wanted = torch.nn.functional.group_norm(
        torch.from_numpy(x).double(),
        GROUPS,
        *(torch.from_numpy(inputs[n]).double() for n in ("scale", "shift")),
        EPSILON,
    )
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
