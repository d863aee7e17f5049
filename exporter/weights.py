"""Weights by content: tensors that all classes share go to the shared file, all others to the class's own file.

The first class of a bundle decides what the shared file holds: every tensor that the merge of a hypernetwork cannot
change. A later class refers to the tensors that it finds there. So a class with a whole trained UNet stores only what
differs. exporter.changes makes a class with a LoRA smaller still.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import onnx
import torch
from diffusers import UNet2DConditionModel
from onnx import numpy_helper

__all__ = [
    "Place",
    "mergeable_digests",
    "move_weights",
    "place_weights",
    "places_of",
    "shared_places",
    "write_graph",
]

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


Place = tuple[str, int, int]
"""File, offset and length of a tensor."""


def shared_places(graphs: Iterable[Path], weights: Path) -> dict[str, Place]:
    """Return the places of the tensors that graphs have in a file of weights, by digest."""
    places: set[tuple[int, int]] = set()
    for path in graphs:
        for tensor in onnx.load(path, load_external_data=False).graph.initializer:
            fields = {entry.key: entry.value for entry in tensor.external_data}
            if fields.get("location") == weights.name:
                places.add((int(fields["offset"]), int(fields["length"])))
    found = {}
    with weights.open("rb") as file:
        for offset, length in sorted(places):
            file.seek(offset)
            found[digest(file.read(length))] = weights.name, offset, length
    return found


def places_of(graph: Path, files: Iterable[str]) -> dict[str, Place]:
    """Return where a graph has its tensors in these files beside it, by digest."""
    return {key: place for name in files for key, place in shared_places([graph], graph.with_name(name)).items()}


def place_weights(
    model: onnx.ModelProto, places: dict[str, Place], name: str, file: BinaryIO, inline_bytes: int
) -> None:
    """Move every tensor of this size or more into external data, except whole numbers, which runtimes read as shapes.

    places: where tensors are, by digest. All others are appended to the file with this name, and added to `places`.
    """
    whole = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
    for tensor in model.graph.initializer:
        data = b"" if tensor.data_type in whole else _raw(tensor)
        if len(data) >= inline_bytes:
            key = digest(data)
            if key not in places:
                places[key] = (name, *_append(file, data))
            _refer(tensor, *places[key])


def move_weights(
    model: onnx.ModelProto,
    folder: Path,
    shared_name: str,
    class_name: str,
    own: set[str],
    shared: Mapping[str, Place] | None = None,
) -> None:
    """Move every large tensor of the model that is in memory into external data: two files in `folder`.

    Tensors whose digest is in `own` go to the file `class_name`, all others to the file `shared_name`. If that file
    exists already, `shared` says what it holds by digest: all other tensors go to the file `class_name`. Each tensor is
    written once, in the order of the digests, so that equal weights make equal files for every graph. A tensor leaves
    memory when it is written, so that a model of Stable Diffusion's size is never in memory twice.
    """
    by_digest: dict[str, list[onnx.TensorProto]] = {}
    for tensor in model.graph.initializer:
        data = _raw(tensor)
        if len(data) >= INLINE_BYTES:
            by_digest.setdefault(digest(data), []).append(tensor)
    with ExitStack() as opened:
        written = {shared_name, class_name} if shared is None else {class_name}
        files = {name: opened.enter_context((folder / name).open("wb")) for name in written}
        for key in sorted(by_digest):
            known = None if shared is None else shared.get(key)
            if known is not None:
                name, offset, length = known
            else:
                name = class_name if key in own or shared is not None else shared_name
                offset, length = _append(files[name], _raw(by_digest[key][0]))
            for tensor in by_digest[key]:
                _refer(tensor, name, offset, length)


def write_graph(model: onnx.ModelProto, folder: Path, name: str, weights: str) -> tuple[str, str]:
    """Write a graph and a file with all of its weights. Return the names of the written files."""
    move_weights(model, folder, weights, weights, set())
    (folder / name).write_bytes(model.SerializeToString(deterministic=True))
    return name, weights


def _append(file: BinaryIO, data: bytes) -> tuple[int, int]:
    """Write a tensor at the end of a file. Return its offset and length."""
    file.write(bytes(-file.tell() % ALIGNMENT))
    return file.tell(), file.write(data)


def _refer(tensor: onnx.TensorProto, name: str, offset: int, length: int) -> None:
    """Let a tensor refer to its data in a file."""
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
