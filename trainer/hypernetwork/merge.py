"""`merge`: puts hypernetworks into the UNet exactly. Linear ones are folded into the weights, others stay as modules.

The hypernetworks of a chain change the context of a layer one after the other. The linear ones at the end of the chain
are folded into the projection that follows them. The modules before those stay in the graph, in
`residuals.safetensors` beside the UNet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from engine.errors import CytosynthError, RequestError
from trainer.base.base import Base, digest_of, encode_prompts
from trainer.folders import new_folder
from trainer.hypernetwork.files import HypernetworkFile
from trainer.hypernetwork.network import (
    SIDES,
    Hypernetwork,
    Stacks,
    attached,
    attention_layers,
    expect_dimensions,
    stacks_attached,
)
from trainer.hypernetwork.signal_leak import measure_signal_leak, save_signal_leak
from trainer.training.record import ClassRecord

__all__ = ["CLASS_FILE", "LARGEST_DIFFERENCE", "RESIDUALS_FILE", "Merged", "Way", "merge", "merge_into"]

CLASS_FILE = "class.json"
"""File of the class record in a merged folder."""
RESIDUALS_FILE = "residuals.safetensors"
LARGEST_DIFFERENCE = 1e-5
"""Largest allowed difference of the UNet's output in float32, relative to its largest value, or to 1 if that is
smaller."""
GAINS = (0.5, 2.0)
"""Allowed gains of the latents before they are decoded. The decoder was not trained on latents beyond these."""
Chain = Sequence[tuple[Hypernetwork, float]]


@dataclass(frozen=True)
class Way:
    """What happened to a module: it was folded, or it stayed in the graph."""

    hypernetwork: str
    dimension: int
    side: str
    """"k" or "v"."""
    folded: bool


@dataclass(frozen=True)
class Merged:
    """Result of a merge."""

    ways: list[Way]
    largest_difference: float
    """Largest difference of the UNet's output before and after the merge."""


def merge(
    base: Base,
    files: Sequence[tuple[HypernetworkFile, float]],
    out: Path,
    record: ClassRecord,
    *,
    latents_gain: float = 1.0,
    signal_leak: Path | None = None,
) -> Merged:
    """Write the base with the merged UNet as a diffusers folder, with the class record in it.

    Args:
        files: Hypernetworks in their order, each with its multiplier. Without any, the UNet stays as it is.
        record: The class. A prompt that is too long for the text encoder is cut after its last whole word.
        latents_gain: Factor on the drawn latents before they are decoded. The scaling_factor of the autoencoder in the
            folder is divided by it.
        signal_leak: Prepared pictures. Sampling then starts at their mean and coarse spread.

    Raises RequestError for another base, a gain outside GAINS, an output folder that is not empty, or pictures of
    another size. Raises CytosynthError if the UNet's output changes by more than LARGEST_DIFFERENCE. Nothing is written
    then.
    """
    if not GAINS[0] <= latents_gain <= GAINS[1]:
        raise RequestError(
            "--latents-gain", found=f"{latents_gain:g}", expected=f"{GAINS[0]} to {GAINS[1]}", fix="change the gain"
        )
    found = digest_of(base.unet)
    for file, _ in files:
        if file.base_sha256 not in (None, found):
            raise RequestError(
                "The UNet of the base",
                found=f"SHA-256 {found}",
                expected=f"SHA-256 {file.base_sha256}, on which {file.name} was trained",
                fix="use that base, or fit the class on this one",
            )
    record = replace(record, prompt=base.read_prompt(record.prompt).used)
    with new_folder(out) as part:
        leak = None if signal_leak is None else measure_signal_leak(base, signal_leak)
        return _merge(base, files, part, record, latents_gain, leak)


def _merge(
    base: Base,
    files: Sequence[tuple[HypernetworkFile, float]],
    out: Path,
    record: ClassRecord,
    latents_gain: float,
    leak: dict[str, torch.Tensor] | None,
) -> Merged:
    """Merge and write into a new folder; see merge."""
    chain = [(file.hypernetwork.eval(), multiplier) for file, multiplier in files]
    context = encode_prompts(base, [record.prompt, ""]).detach()
    with attached(base.unet, chain):
        before = _probe(base.unet, context)
    residuals, folded = merge_into(base.unet, chain)
    with stacks_attached(base.unet, residuals):
        after = _probe(base.unet, context)
    difference = float((after - before).abs().max() / before.abs().max().clamp(min=1))
    if not difference <= LARGEST_DIFFERENCE:
        raise CytosynthError(
            f"The merge of {', '.join(file.name for file, _ in files)}",
            found=f"the UNet's output changed by {difference:.2g}",
            expected=f"at most {LARGEST_DIFFERENCE:g} in float32",
            fix="lower the multiplier, or train with smaller weights, because float32 cannot hold this product",
        )
    base.vae.register_to_config(scaling_factor=base.vae.config.scaling_factor / latents_gain)
    base.save(out)
    if leak is not None:
        save_signal_leak(leak, out)
    if residuals:
        _save_residuals(out / RESIDUALS_FILE, residuals)
    (out / CLASS_FILE).write_text(json.dumps(asdict(record), indent=2) + "\n")
    ways = [
        Way(file.name, dimension, side, (position, dimension, side) in folded)
        for position, (file, _) in enumerate(files)
        for dimension in file.hypernetwork.dimensions
        for side in SIDES
    ]
    return Merged(ways, difference)


@torch.no_grad()
def merge_into(unet: UNet2DConditionModel, chain: Chain | Hypernetwork) -> tuple[Stacks, set[tuple[int, int, str]]]:
    """Fold the linear end of a chain into the UNet's weights.

    Returns the modules that stay in front of the projections, and what was folded: (place in the chain, dimension,
    side). With these modules, the UNet computes the same as it did with the whole chain attached.

    Let x -> A x + b be the product of the folded maps. Then to_k.weight <- to_k.weight A, and
    to_v.weight <- to_v.weight A. K's b adds the same number to the scores of all keys of a query and cancels in the
    softmax. V's b passes the softmax, whose rows sum to one, so to_out.0.bias <- to_out.0.bias + to_out.0.weight
    (to_v.weight b). All products are in float64.
    """
    chain = [(chain, 1.0)] if isinstance(chain, Hypernetwork) else list(chain)
    residuals: Stacks = {}
    folded: set[tuple[int, int, str]] = set()
    maps: dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]] = {}
    for dimension in expect_dimensions(unet, [hypernetwork for hypernetwork, _ in chain]):
        for side in SIDES:
            stacks = [
                (place, stack, multiplier)
                for place, (hypernetwork, multiplier) in enumerate(chain)
                if (stack := hypernetwork.stack(dimension, side)) is not None
            ]
            weight, bias = torch.eye(dimension, dtype=torch.float64), torch.zeros(dimension, dtype=torch.float64)
            while stacks and stacks[-1][1].settings.is_linear:
                place, stack, multiplier = stacks.pop()
                a, b = stack.affine(multiplier)
                weight, bias = weight @ a, weight @ b + bias
                folded.add((place, dimension, side))
            maps[dimension, side] = weight, bias
            if stacks:
                residuals[dimension, side] = [(stack, multiplier) for _, stack, multiplier in stacks]
    touched = {(dimension, side) for _, dimension, side in folded}
    for _, layer in attention_layers(unet):
        dimension = layer.to_k.in_features
        if (dimension, "k") in touched:
            layer.to_k.weight.copy_(layer.to_k.weight.double() @ maps[dimension, "k"][0])
        if (dimension, "v") in touched:
            weight, bias = maps[dimension, "v"]
            constant = layer.to_out[0].weight.double() @ (layer.to_v.weight.double() @ bias)
            layer.to_out[0].bias.add_(constant)
            layer.to_v.weight.copy_(layer.to_v.weight.double() @ weight)
    return residuals, folded


@torch.no_grad()
def _probe(unet: UNet2DConditionModel, context: torch.Tensor) -> torch.Tensor:
    """Return the UNet's output on fixed noise, at an early and a late timestep."""
    generator = torch.Generator().manual_seed(0)
    side, channels = unet.config.sample_size, unet.config.in_channels
    latents = torch.randn(2, channels, side, side, generator=generator)
    return unet.eval()(latents, torch.tensor([900.0, 100.0]), context).sample


def _save_residuals(path: Path, residuals: Stacks) -> None:
    """Write the modules that stay: the torch classes of their layers, and their weights."""
    tensors: dict[str, torch.Tensor] = {}
    modules: list[dict[str, Any]] = []
    for (dimension, side), stacks in residuals.items():
        for stack, multiplier in stacks:
            place = len(modules)
            layers = [type(layer).__name__ for layer in stack.linear]
            modules.append({"dimension": dimension, "side": side, "multiplier": multiplier, "layers": layers})
            tensors |= {
                f"{place}.{name}": tensor.contiguous().clone() for name, tensor in stack.linear.state_dict().items()
            }
    save_file(tensors, path, {"format": "cytosynth residuals 1", "modules": json.dumps(modules)})
