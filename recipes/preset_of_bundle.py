"""Restore the networks of the preset `turbo`: its LoRA from the UNets W + B A, and its small decoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from engine.bundle.folder import Bundle
from engine.errors import RequestError
from exporter.computed import computing_nodes
from trainer.base.base import Base
from trainer.base.small_decoder import SmallDecoder, SmallDecoderSettings, write_small_decoder
from trainer.lora.changes import Change
from trainer.lora.files import LoraFile, write_lora
from trainer.lora.names import Place
from trainer.lora.network import Lora

__all__ = ["initialisers", "write_preset", "write_trained"]

Array = NDArray[Any]
PRESET = "turbo"
SMALL = "small."
"""Beginning of the names of the small decoder's tensors in the graph of a decoder."""


def write_preset(
    bundle: Bundle, record: Mapping[str, Any], base: Base, places: Mapping[str, tuple[str, bool]], out: Path
) -> None:
    """Write the LoRA and the small decoder, if there is one, with their records, as the recipe names them.

    record: of the bundle. places: as in `_changes`. Raises RequestError.
    """
    manifest, preset, trained = bundle.manifest, bundle.manifest.presets[PRESET], record["distillation"]
    assert preset.unets is not None, "a distilled LoRA changes UNets"
    # A hypernetwork changes the factors of its class.
    name = next(name for name in preset.unets if name not in record["hypernetworks"])
    lora = Lora(base.unet, trained["settings"]["rank"], convolutions=True)
    before, after = bundle.path(manifest.classes[name].unet), bundle.path(preset.unets[name].unet)
    file = LoraFile(_changes(lora, before, after, places), PRESET, trained["training"]["steps_done"])
    write_trained(out / "matched" / f"{PRESET}.safetensors", trained, lambda path: write_lora(path, file))
    if preset.decoder is not None:
        trained = record["shrinking"]
        decoder = SmallDecoder(SmallDecoderSettings.from_json(trained["decoder"]))
        stored = initialisers(onnx.load(bundle.path(preset.decoder.decoder[0]))).items()
        known = {name.removeprefix(SMALL): value for name, value in stored if name.startswith(SMALL)}
        decoder.load_state_dict({key: torch.from_numpy(value.astype(np.float32)) for key, value in known.items()})
        path = out / "matched_decoder/small_decoder.safetensors"
        write_trained(path, trained, lambda path: write_small_decoder(decoder, path))


def write_trained(path: Path, record: Mapping[str, Any], write: Callable[[Path], None]) -> None:
    """Write the file of a network and the record of its training beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")


def initialisers(model: onnx.ModelProto) -> dict[str, Array]:
    """Return all weights of a graph by their names in the graph."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@torch.no_grad()
def _changes(lora: Lora, before: Path, after: Path, places: Mapping[str, tuple[str, bool]]) -> dict[Place, Change]:
    """Return the changes that a LoRA of `trainer distill` made, in the float16 precision of a bundle.

    Raises RequestError unless the graph has factors of the LoRA's weights, and of no others.

    Args:
        lora: A network with the layers and the rank of the LoRA.
        before: Graph of a class.
        after: Graph of this class in the preset.
        places: The place of each tensor of the UNet in `before`: its name there, and whether it is transposed there.
    """
    stored = initialisers(onnx.load(before))
    # Names in graphs of presets are shortened, so the values say which weight it is.
    names = {stored[place].tobytes(): (tensor, transposed) for tensor, (place, transposed) in places.items()}
    factors = {}
    for first, second, weight in _terms(after):
        tensor, transposed = names[weight.tobytes()]
        up, down = (torch.from_numpy(part.astype(np.float32)) for part in (first, second))
        factors[tensor.removesuffix(".weight").replace(".", "_")] = (down.T, up.T) if transposed else (up, down)
    found = lora.changes()
    if other := sorted(factors.keys() ^ {place.name for place in found}):
        raise RequestError(
            f"The graph {after}",
            found=f"{len(factors)} weights W + B A; {other[0]} is one only here or only in the LoRA",
            expected=f"factors of {len(found)} weights, those that `trainer distill` changes",
            fix="use a bundle of recipes/cells.sh",
        )
    for place, change in found.items():
        b, a = factors[place.name]
        # Rounding raises or lowers the rank of factors in a graph.
        u, sizes, v = torch.linalg.svd(b @ a, full_matrices=False)
        roots = sizes[: lora.rank].sqrt()
        up, down = change.tensors["lora_up"].zero_(), change.tensors["lora_down"].zero_()
        up[:, : len(roots)].copy_((u[:, : lora.rank] * roots).reshape(len(up), -1, *up.shape[2:]))
        down[: len(roots)].copy_((roots[:, None] * v[: lora.rank]).reshape(-1, *down.shape[1:]))
    return found


def _terms(graph: Path) -> Iterator[tuple[Array, Array, Array]]:
    """Yield B, A and W of each weight W + B A that a graph computes."""
    model = onnx.load(graph)
    stored = initialisers(model)
    nodes = computing_nodes(model.graph)
    source = {output: node.input[0] for node in nodes if node.op_type != "Gemm" for output in node.output}

    def initialiser(name: str) -> Array:
        while name in source:
            name = source[name]
        return stored[name]

    for node in nodes:
        if node.op_type == "Gemm":
            b, a, weight = map(initialiser, node.input)
            yield b, a, weight
