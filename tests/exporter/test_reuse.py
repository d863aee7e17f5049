"""One export for modules of one structure: the bytes of an export of their own, and every difference that matters."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.export import Dim

from exporter import graphs
from exporter.load import load_merged
from exporter.reuse import Templates


class Part(nn.Module):
    """What a UNet's parts have: a convolution, a resize, a float32 norm, projections that the exporter transposes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 8, 3, padding=1).half(), nn.GroupNorm(2, 8)
        self.project, self.scale = nn.Linear(8, 6, bias=False).half(), 2.0
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = nn.functional.interpolate(self.conv(x.half()), scale_factor=2.0)
        return self.project(self.norm(large.float()).half().flatten(2).transpose(1, 2)) * self.scale


INPUTS = (torch.zeros(2, 2, 4, 4),)
OPTIONS = (({0: Dim.DYNAMIC},), ["x"], ["y"])


@pytest.mark.filterwarnings("ignore")  # Torch's exporter warns of its own future.
def test_a_second_module_of_a_structure_gets_the_bytes_of_its_own_export():
    templates, calls = Templates(), []

    def export(*arguments):
        calls.append(arguments)
        return graphs.export_graph(*arguments)

    for seed in (0, 1):
        found = templates.export(export, Part(seed), INPUTS, *OPTIONS)
        wanted = graphs.export_graph(Part(seed), INPUTS, *OPTIONS)
        assert found.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)
    assert len(calls) == 1


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_the_unet_of_a_second_class_has_the_bytes_of_its_own_export(whole_path, tiny_bundle):
    """The whole path exported both classes with one command."""
    for name in ("cyt_mast", "cyt_nep_mast"):
        model = load_merged(whole_path / "merged" / name)
        unet = graphs.to_half(model.unet)
        inputs = (torch.randn(2, 4, 8, 8), torch.randn(2, 16), torch.randn(2, 8, 16))
        shapes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
        names = ["latents", "time_features", "encoder_hidden_states"]
        wanted = graphs.export_graph(graphs.UNetGraph(unet), inputs, shapes, names, ["eps"])
        found = onnx.load(tiny_bundle / f"unet.{name}.onnx")
        for tensor in found.graph.initializer:
            tensor.ClearField("data_location")
        assert found.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)


def simple_export(change=lambda name, array: array):
    """An export that writes the parameters of a module, and counts its calls."""
    calls = []

    def export(module, inputs, *options):
        calls.append(module)
        arrays = {name: change(name, tensor.numpy()) for name, tensor in module.state_dict().items()}
        graph = onnx.GraphProto(initializer=[numpy_helper.from_array(array, name) for name, array in arrays.items()])
        return onnx.ModelProto(graph=graph)

    return export, calls


def changed(**attributes):
    module = Part()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def test_modules_whose_graphs_may_differ_are_exported_apart():
    export, calls = simple_export()
    templates = Templates()
    cases = [
        (Part(), INPUTS, *OPTIONS),
        (changed(scale=3.0), INPUTS, *OPTIONS),
        (changed(norm=nn.GroupNorm(4, 8)), INPUTS, *OPTIONS),
        (changed(project=nn.Linear(8, 6, bias=False)), INPUTS, *OPTIONS),
        (Part(), (torch.zeros(3, 2, 4, 4),), *OPTIONS),
        (Part(), INPUTS, ({},), ["x"], ["y"]),
        (Part(), INPUTS, ({0: Dim.DYNAMIC},), ["x"], ["z"]),
    ]
    for case in cases:
        templates.export(export, *case)
    assert len(calls) == len(cases)
    templates.export(export, Part(seed=5), *cases[4][1:])
    assert len(calls) == len(cases)


def test_equal_parameters_are_exported_as_they_are():
    """The exporter writes two equal parameters once, and one graph cannot serve both cases."""
    export, calls = simple_export()
    templates = Templates()
    equal = Part()
    equal.conv.bias.data = torch.ones(8).half()
    equal.extra = nn.Parameter(torch.ones(8).half())
    different = Part(1)
    different.extra = nn.Parameter(torch.zeros(8).half())
    for module in (equal, different, equal, different):
        templates.export(export, module, INPUTS, *OPTIONS)
    assert calls == [equal, different, equal]


@pytest.mark.parametrize("values", ["computed", "missing"])
def test_a_graph_with_values_computed_from_parameters_serves_no_other_module(values):
    def change(name, array):
        if name != "conv.weight":
            return array
        return 2 * array if values == "computed" else np.zeros(1, np.int64)

    export, calls = simple_export(change)
    templates = Templates()
    for seed in (0, 1):
        found = templates.export(export, Part(seed), INPUTS, *OPTIONS)
        (weight,) = (tensor for tensor in found.graph.initializer if tensor.name == "conv.weight")
        wanted = change("conv.weight", Part(seed).conv.weight.detach().numpy())
        np.testing.assert_array_equal(numpy_helper.to_array(weight), wanted)
    assert len(calls) == 2
