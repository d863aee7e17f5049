"""Export a structure once: the graph of a second model with the same structure differs only in its weights.

Torch computes for half a minute to export even a tiny UNet, because it traces symbolic shapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

__all__ = ["Place", "Template", "Templates", "emptied", "structure_of"]

Inputs = tuple[torch.Tensor, ...]
Export = Callable[..., onnx.ModelProto]

PLAIN = (bool, int, float, str, tuple, type(None))
CONSTANT_ELEMENTS = 4
"""A floating-point initialiser with more elements must be a parameter. A Resize node has a constant scale per axis."""


@dataclass(frozen=True)
class Place:
    """A parameter of a module, as it is or transposed."""

    name: str
    transposed: bool


@dataclass(frozen=True)
class Template:
    """A graph without the values of the initialisers that `places` names."""

    graph: onnx.ModelProto
    places: Mapping[str, Place]

    def filled(self, module: nn.Module) -> onnx.ModelProto | None:
        """Return the graph with the parameters of a module of the same structure.

        None if two of the parameters are equal, because the exporter would write them as one initialiser.
        """
        values = module.state_dict()
        if _by_content(values) is None:
            return None
        model = onnx.ModelProto()
        model.CopyFrom(self.graph)
        for tensor in model.graph.initializer:
            if place := self.places.get(tensor.name):
                array = values[place.name].detach().cpu().numpy()
                tensor.raw_data = np.ascontiguousarray(array.T if place.transposed else array).tobytes()
        return model


class Templates:
    """The templates of the structures that were exported so far."""

    def __init__(self) -> None:
        self._found: dict[str, Template] = {}

    def export(self, export: Export, module: nn.Module, inputs: Inputs, *options: Any) -> onnx.ModelProto:
        """Return `export(module, inputs, *options)`, but call it once for modules of one structure."""
        key = structure_of(module.eval(), inputs, *options)
        if (template := self._found.get(key)) and (model := template.filled(module)):
            return model
        model = export(module, inputs, *options)
        template = emptied(model, module)
        if template is None:
            return model
        self._found[key] = template
        filled = template.filled(module)
        assert filled is not None, "its parameters differ from each other, or there would be no template"
        return filled


def emptied(model: onnx.ModelProto, module: nn.Module) -> Template | None:
    """Make a template of the graph that was exported from a module. Its weights leave the graph, because a model of
    Stable Diffusion's size must not be in memory twice.

    None, and the graph is as before, if the places of the parameters are not certain: every parameter must be an
    initialiser, as it is or transposed, and no other initialiser may depend on a parameter.
    """
    known = _by_content(module.state_dict())
    if known is None:
        return None
    places = {}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.HasField("raw_data") and (place := known.get(_digest(array))):
            places[tensor.name] = place
        elif array.dtype.kind == "f" and array.size > CONSTANT_ELEMENTS:
            return None
    if {place.name for place in places.values()} != set(module.state_dict()):
        return None
    for tensor in model.graph.initializer:
        if tensor.name in places:
            tensor.ClearField("raw_data")
            tensor.ClearField("data_location")
    return Template(model, places)


def _by_content(values: Mapping[str, torch.Tensor]) -> dict[str, Place] | None:
    """Return the place of each tensor by the digest of its content, or None if two contents are equal."""
    known: dict[str, Place] = {}
    for name, tensor in values.items():
        array = tensor.detach().cpu().numpy()
        for key, transposed in _both_ways(array):
            if known.setdefault(key, Place(name, transposed)).name != name:
                return None
    return known


def _both_ways(array: np.ndarray[Any, Any]) -> Iterator[tuple[str, bool]]:
    yield _digest(array), False
    if array.ndim == 2:
        yield _digest(array.T), True


def _digest(array: np.ndarray[Any, Any]) -> str:
    head = f"{array.dtype} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def structure_of(module: nn.Module, inputs: Inputs, *options: Any) -> str:
    """Return a digest of everything that a graph depends on, except the values of the module's tensors."""
    digest = hashlib.sha256(repr([(tensor.shape, tensor.dtype) for tensor in inputs]).encode())
    digest.update(repr(options).encode())
    for name, part in module.named_modules():
        settings = {key: value for key, value in vars(part).items() if isinstance(value, PLAIN)}
        settings |= {key: type(value) for key, value in vars(part).items() if key not in settings}
        # Where a model was read from does not change its graph. A tuple that was read from JSON is a list.
        config = {key: value for key, value in getattr(part, "_internal_dict", {}).items() if key[0] != "_"}
        settings |= {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
        settings.pop("name_or_path", None)
        digest.update(repr((name, type(part), part.extra_repr(), settings)).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    return digest.hexdigest()
