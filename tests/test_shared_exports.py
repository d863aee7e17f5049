"""The store of exported graphs: equal modules are exported once, and every difference that matters is one."""

from __future__ import annotations

import onnx
import torch
from torch import nn

from tests.shared_exports import stored


class Scaled(nn.Module):
    """A module with a weight, a setting that no tensor holds, and a part."""

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.inner = scale, nn.Linear(2, 3).half()


def changed_weight() -> nn.Module:
    module = Scaled()
    with torch.no_grad():
        module.inner.weight[0, 0] += 1
    return module


def test_only_what_differs_is_exported(tmp_path):
    exported = []

    def export(module, inputs, *options):
        exported.append(module)
        return onnx.ModelProto(producer_name=str(len(exported)))

    shared = stored(export, tmp_path)
    inputs = (torch.zeros(1, 2),)
    first = shared(Scaled(), inputs, ({0: "B"},), ["x"], ["y"])
    again = shared(Scaled(), (torch.ones(1, 2),), ({0: "B"},), ["x"], ["y"])
    assert (first.producer_name, again.producer_name, len(exported)) == ("1", "1", 1)
    others = [
        (changed_weight(), inputs, ({0: "B"},), ["x"], ["y"]),
        (Scaled(3.0), inputs, ({0: "B"},), ["x"], ["y"]),
        (Scaled(), (torch.zeros(2, 2),), ({0: "B"},), ["x"], ["y"]),
        (Scaled(), inputs, ({},), ["x"], ["y"]),
        (Scaled(), inputs, ({0: "B"},), ["x"], ["z"]),
    ]
    assert [shared(*other).producer_name for other in others] == ["2", "3", "4", "5", "6"]
    # Another store over the same folder finds the stored graphs, as another process does.
    assert stored(export, tmp_path)(Scaled(3.0), *others[0][1:]).producer_name == "3"
