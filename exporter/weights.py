"""Weights by content: tensors that a merge cannot change go to the shared file, all others to the class's own file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import onnx
import torch
from diffusers import UNet2DConditionModel
from onnx import numpy_helper

__all__ = ["mergeable_digests", "move_weights"]

INLINE_BYTES = 1024
"""Smaller tensors stay in the graph, because a runtime reads shapes and axes from them."""
ALIGNMENT = 64
MERGEABLE = re.compile(r"\.to_[kv]\.|\.to_out\.0\.bias$")
"""Names of the parameters that a merged hypernetwork changes or adds."""


def digest(data: bytes) -> str:
    """Return the SHA-256 of a tensor's bytes."""
    return hashlib.sha256(data).hexdigest()


def mergeable_digests(unet: UNet2DConditionModel) -> set[str]:
    """Return the digests of all parameters of a float16 UNet that a merge can change, as stored and transposed.

    The ONNX exporter renames initialisers and transposes some of them, so this project finds parameters by content. A
    value that an unchanged parameter also has (for example a zero bias) belongs to the shared file.
    """
    own: set[str] = set()
    shared: set[str] = set()
    for name, parameter in unet.named_parameters():
        (own if MERGEABLE.search(name) else shared).update(_both_ways(parameter.detach()))
    return own - shared


def _both_ways(tensor: torch.Tensor) -> Iterable[str]:
    yield digest(tensor.numpy().tobytes())
    if tensor.dim() == 2:
        yield digest(tensor.T.contiguous().numpy().tobytes())


def move_weights(model: onnx.ModelProto, folder: Path, shared_name: str, class_name: str, own: set[str]) -> None:
    """Move every large tensor of the model into external data: two files in `folder`.

    Tensors whose digest is in `own` go to the file `class_name`, all others to the file `shared_name`. Each tensor is
    written once, in the order of the digests, so that equal weights make equal files for every graph. A tensor leaves
    memory when it is written, so that a model of Stable Diffusion's size is never in memory twice.
    """
    by_digest: dict[str, list[onnx.TensorProto]] = {}
    for tensor in model.graph.initializer:
        data = _raw(tensor)
        if len(data) >= INLINE_BYTES:
            by_digest.setdefault(digest(data), []).append(tensor)
    with ExitStack() as opened:
        files = {name: opened.enter_context((folder / name).open("wb")) for name in {shared_name, class_name}}
        for key in sorted(by_digest):
            name = class_name if key in own else shared_name
            file = files[name]
            file.write(bytes(-file.tell() % ALIGNMENT))
            offset = file.tell()
            length = file.write(_raw(by_digest[key][0]))
            for tensor in by_digest[key]:
                tensor.ClearField("raw_data")
                tensor.data_location = onnx.TensorProto.EXTERNAL
                for field, value in (("location", name), ("offset", str(offset)), ("length", str(length))):
                    tensor.external_data.add(key=field, value=value)


def _raw(tensor: onnx.TensorProto) -> bytes:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return b""
    if not tensor.HasField("raw_data"):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return tensor.raw_data
