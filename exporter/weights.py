"""Weights by content: a tensor that merging cannot change lies in the shared file, the rest in the class's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import onnx
import torch
from diffusers import UNet2DConditionModel
from onnx import numpy_helper

from exporter.graphs import to_half

__all__ = ["mergeable_digests", "move_weights"]

INLINE_BYTES = 1024
"""Smaller tensors stay in the graph: a runtime reads shapes and axes from them."""
ALIGNMENT = 64
MERGEABLE = re.compile(r"\.to_[kv]\.|\.to_out\.0\.bias$")
"""The parameters that a merged hypernetwork changes or brings along."""


def digest(data: bytes) -> str:
    """SHA-256 of a tensor's bytes."""
    return hashlib.sha256(data).hexdigest()


def mergeable_digests(unet: UNet2DConditionModel) -> set[str]:
    """Digests of the float16 bytes of every parameter that a merge can change, as stored and transposed.

    ONNX initialisers lose their names in the exporter's optimiser, which also transposes some, so parameters are
    found again by content. A value that another parameter shares (two zero biases) is not the class's own.
    """
    own: set[str] = set()
    shared: set[str] = set()
    for name, parameter in to_half(unet).named_parameters():
        (own if MERGEABLE.search(name) else shared).update(_both_ways(parameter.detach()))
    return own - shared


def _both_ways(tensor: torch.Tensor) -> Iterable[str]:
    yield digest(tensor.numpy().tobytes())
    if tensor.dim() == 2:
        yield digest(tensor.T.contiguous().numpy().tobytes())


def move_weights(model: onnx.ModelProto, shared_name: str, class_name: str, own: set[str]) -> dict[str, bytes]:
    """Move every large tensor of the model into external data; returns the content of the two files by name.

    Tensors whose digest is in `own` go to `class_name`, all others to `shared_name`, each once, in the order of their
    digests, so that equal weights make equal files whatever graph they came from.
    """
    tensors = [tensor for tensor in model.graph.initializer if len(_raw(tensor)) >= INLINE_BYTES]
    contents = {digest(_raw(tensor)): _raw(tensor) for tensor in tensors}
    files: dict[str, bytearray] = {shared_name: bytearray(), class_name: bytearray()}
    places: dict[str, tuple[str, int]] = {}
    for key in sorted(contents):
        name = class_name if key in own else shared_name
        files[name].extend(bytes(-len(files[name]) % ALIGNMENT))
        places[key] = (name, len(files[name]))
        files[name].extend(contents[key])
    for tensor in tensors:
        data = _raw(tensor)
        name, offset = places[digest(data)]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", name), ("offset", str(offset)), ("length", str(len(data)))):
            tensor.external_data.add(key=key, value=value)
    return {name: bytes(content) for name, content in files.items()}


def _raw(tensor: onnx.TensorProto) -> bytes:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return b""
    if not tensor.HasField("raw_data"):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return tensor.raw_data
