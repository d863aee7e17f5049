"""The comparison of a base before and after a merge, layer by layer.

What an adapter changes lies inside single layers: an attention layer with its projections, or another linear layer or
convolution. Each of them computes on the same input of normal numbers before and after. So an error in a layer cannot
hide behind the outputs of the others, and the rest of the UNet need not run.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from diffusers.models.attention_processor import Attention
from torch import nn

from trainer.base.base import Base
from trainer.hypernetwork.network import attention_layers
from trainer.lora.files import LoraFile

__all__ = ["compared_layers", "largest_difference", "outputs_of"]

BATCH, TOKENS, SIDE = 2, 16, 8
"""Size of the inputs: pictures, tokens of a sequence, and side of a plane."""


def compared_layers(base: Base, loras: Iterable[LoraFile]) -> dict[str, nn.Module]:
    """Return every attention layer of the UNet, and the layers outside these that LoRAs change, by name."""
    found: dict[str, nn.Module] = dict(attention_layers(base.unet))
    inside = {id(part) for layer in found.values() for part in layer.modules()}
    for file in loras:
        for part, name, module, _ in file.modules(base):
            if id(module) not in inside:
                found[f"{part}.{name}"] = module
    return found


@torch.no_grad()
def outputs_of(layers: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Return the output of each layer for a fixed input: float32, from N(0, 1), as a normalisation leaves it."""
    outputs = {}
    for name, layer in layers.items():
        generator = torch.Generator().manual_seed(0)
        if isinstance(layer, Attention):
            hidden = torch.randn(BATCH, TOKENS, layer.to_q.in_features, generator=generator)
            context = torch.randn(BATCH, TOKENS, layer.to_k.in_features, generator=generator)
            outputs[name] = layer(hidden, context if layer.is_cross_attention else None)
        elif isinstance(layer, nn.Conv2d):
            outputs[name] = layer(torch.randn(BATCH, layer.in_channels, SIDE, SIDE, generator=generator))
        else:
            width = layer.get_parameter("weight").shape[1]
            outputs[name] = layer(torch.randn(BATCH, TOKENS, width, generator=generator))
    return outputs


def largest_difference(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> tuple[str, float]:
    """Return the layer whose output changed most, and by how much.

    The difference is relative to the layer's largest output before, or to 1 if that is smaller. It is NaN if an output
    of any layer is not finite.
    """
    worst, largest = "", 0.0
    for name, old in before.items():
        difference = float((after[name] - old).abs().max() / old.abs().max().clamp(min=1))
        # NaN is the maximum of nothing, so it is asked for.
        if not difference <= largest:
            worst, largest = name, difference
        if largest != largest:
            break
    return worst, largest
