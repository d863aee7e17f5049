"""The store of exported graphs: a structure is exported once for all processes, and gets each module's weights."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from tests.shared_exports import SOURCES, lasting_store, stored


class Scaled(nn.Module):
    """A module with a weight, a setting that no tensor holds, and a part."""

    def __init__(self, scale: float = 2.0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.scale, self.inner = scale, nn.Linear(2, 3).half()


def test_only_what_differs_is_exported(tmp_path):
    exported = []

    def export(module, inputs, *options):
        exported.append(module)
        tensors = [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in module.state_dict().items()]
        return onnx.ModelProto(producer_name=str(len(exported)), graph=onnx.GraphProto(initializer=tensors))

    shared = stored(export, tmp_path)
    inputs = (torch.zeros(1, 2),)
    first = shared(Scaled(), inputs, ({0: "B"},), ["x"], ["y"])
    again = shared(Scaled(seed=1), (torch.ones(1, 2),), ({0: "B"},), ["x"], ["y"])
    assert (first.producer_name, again.producer_name, len(exported)) == ("1", "1", 1)
    for model, seed in ((first, 0), (again, 1)):
        wanted = Scaled(seed=seed).inner.weight.detach().numpy()
        np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), wanted)
    others = [
        (Scaled(3.0), inputs, ({0: "B"},), ["x"], ["y"]),
        (Scaled(), (torch.zeros(2, 2),), ({0: "B"},), ["x"], ["y"]),
        (Scaled(), inputs, ({},), ["x"], ["y"]),
        (Scaled(), inputs, ({0: "B"},), ["x"], ["z"]),
    ]
    assert [shared(*other).producer_name for other in others] == ["2", "3", "4", "5"]
    # Another store over the same folder finds the stored graphs, as another process does.
    assert stored(export, tmp_path)(Scaled(3.0), *others[0][1:]).producer_name == "2"


def test_a_store_lasts_until_a_source_changes(tmp_path):
    for name in SOURCES:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "module.py").write_text("scale = 2")
    first = lasting_store(tmp_path)
    first.mkdir()
    (first / "graph.onnx").write_bytes(b"graph")
    assert lasting_store(tmp_path) == first
    (tmp_path / "trainer/module.py").write_text("scale = 3")
    second = lasting_store(tmp_path)
    assert second != first
    assert not first.exists()
