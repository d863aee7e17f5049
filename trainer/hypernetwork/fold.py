"""Folding: linear hypernetworks become part of the UNet's weights, others stay as modules.

The hypernetworks of a chain change the context of a layer one after the other. The linear ones at the end of the chain
are folded into the projection that follows them. The modules before those stay in the graph, in
`residuals.safetensors` beside the UNet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from engine.errors import RequestError
from trainer.hypernetwork.network import SIDES, Hypernetwork, Stacks, attention_layers, expect_dimensions

__all__ = ["RESIDUALS_FILE", "expect_no_residuals", "merge_into", "save_residuals"]

RESIDUALS_FILE = "residuals.safetensors"
"""File of the modules that stay, in a merged folder."""
Chain = Sequence[tuple[Hypernetwork, float]]


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
            while stacks and stacks[-1][1].settings.is_linear:
                place, stack, multiplier = stacks.pop()
                a, b = stack.affine(multiplier)
                if after := maps.get((dimension, side)):
                    a, b = after[0] @ a, after[0] @ b + after[1]
                maps[dimension, side] = a, b
                folded.add((place, dimension, side))
            if stacks:
                residuals[dimension, side] = [(stack, multiplier) for _, stack, multiplier in stacks]
    for _, layer in attention_layers(unet):
        dimension = layer.to_k.in_features
        if (dimension, "k") in maps:
            layer.to_k.weight.copy_(layer.to_k.weight.double() @ maps[dimension, "k"][0])
        if (dimension, "v") in maps:
            weight, bias = maps[dimension, "v"]
            constant = layer.to_out[0].weight.double() @ (layer.to_v.weight.double() @ bias)
            layer.to_out[0].bias.add_(constant)
            layer.to_v.weight.copy_(layer.to_v.weight.double() @ weight)
    return residuals, folded


def expect_no_residuals(folder: Path, subject: str, fix: str) -> None:
    """Raise RequestError if modules of a merged folder stay beside its UNet, which then does not hold all."""
    if (folder / RESIDUALS_FILE).exists():
        raise RequestError(
            f"{subject} {folder}",
            found=f"modules that stay in the graph ({RESIDUALS_FILE})",
            expected="a folder whose UNet holds everything that was merged",
            fix=fix,
        )


def save_residuals(path: Path, residuals: Stacks) -> None:
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
