"""Hypernetworks as in AUTOMATIC1111's WebUI: residual networks in front of the K and V projections of attention.

There is one (K, V) pair of modules per dimension. All attention layers whose context has that dimension share the pair:
cross-attention has the dimension of the prompt, self-attention that of its block. A module is y = x + m Sequential(x).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal, cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn

from engine.errors import RequestError
from trainer.hypernetwork.structure import ACTIVATIONS, HypernetworkSettings

__all__ = [
    "SIDES",
    "Hypernetwork",
    "ResidualStack",
    "Stacks",
    "attached",
    "attention_dimensions",
    "attention_layers",
    "expect_dimensions",
    "stacks_attached",
]

SIDES = ("k", "v")
"""The projections in the order of the WebUI's files."""


class ResidualStack(nn.Module):
    """y = x + multiplier * linear(x). `linear` is a Sequential whose slots are numbered as in the WebUI's files."""

    def __init__(self, dimension: int, settings: HypernetworkSettings) -> None:
        super().__init__()
        self.dimension, self.settings = dimension, settings
        widths = [int(dimension * share) for share in settings.layer_structure]
        if min(widths) < 1:
            raise RequestError(
                f"The hypernetwork's layer structure at dimension {dimension}",
                found=", ".join(map(str, widths)),
                expected="widths of at least 1",
                fix="use larger multiples in --layer-structure",
            )
        slots: list[nn.Module] = []
        for i, (wide, narrow) in enumerate(pairwise(widths)):
            last = i == len(widths) - 2
            slots.append(nn.Linear(wide, narrow))
            if settings.activation != "linear" and (settings.activate_output or not last):
                slots.append(getattr(nn, ACTIVATIONS[settings.activation])())
            if settings.layer_norm:
                slots.append(nn.LayerNorm(narrow))
            if (probability := settings.dropout_after(i)) > 0:
                slots.append(nn.Dropout(p=probability))
        self.linear = nn.Sequential(*slots)
        for slot in slots:
            _initialise(slot, settings.weight_init, settings.activation)

    def forward(self, x: torch.Tensor, multiplier: float = 1.0) -> torch.Tensor:
        """Return y (..., dimension) for x (..., dimension), in the dtype of x."""
        # Under autocast the layers choose their own precision, so a cast to the dtype of the weights would be wasted.
        first = cast(nn.Linear, self.linear[0])
        inside = x if torch.is_autocast_enabled(x.device.type) else x.to(first.weight.dtype)
        y = self.linear(inside).to(x.dtype)
        return x + (y if multiplier == 1 else multiplier * y)

    def affine(self, multiplier: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Return A (dimension, dimension) and b (dimension,) in float64, with which a linear module is x -> A x + b."""
        first, *others = (layer for layer in self.linear if isinstance(layer, nn.Linear))
        weight, bias = first.weight.double(), first.bias.double()
        for layer in others:
            w = layer.weight.double()
            weight, bias = w @ weight, w @ bias + layer.bias.double()
        return torch.eye(self.dimension, dtype=torch.float64) + multiplier * weight, multiplier * bias


def _initialise(module: nn.Module, kind: str, activation: str) -> None:
    """Initialise weights of linear layers by `kind`, and the LayerNorm weights from N(0, 0.01^2). Biases are zero."""
    if isinstance(module, nn.LayerNorm):
        nn.init.normal_(module.weight, mean=0.0, std=0.01)
        return
    if not isinstance(module, nn.Linear):
        return
    gain_name: Literal["leaky_relu", "relu"] = "leaky_relu" if activation == "leakyrelu" else "relu"
    {
        "normal": lambda weight: nn.init.normal_(weight, mean=0.0, std=0.01),
        "xavieruniform": nn.init.xavier_uniform_,
        "xaviernormal": nn.init.xavier_normal_,
        "kaiminguniform": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity=gain_name),
        "kaimingnormal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity=gain_name),
    }[kind](module.weight)
    nn.init.zeros_(module.bias)


class Hypernetwork(nn.Module):
    """The (K, V) pairs by dimension. The parameters have the order of the WebUI's optimizer: dimension, K, V, layer."""

    def __init__(self, dimensions: Sequence[int], settings: HypernetworkSettings | None = None) -> None:
        super().__init__()
        self.dimensions, self.settings = list(dimensions), settings or HypernetworkSettings()
        self.stacks = nn.ModuleDict(
            {
                f"{dimension}_{side}": ResidualStack(dimension, self.settings)
                for dimension in self.dimensions
                for side in SIDES
            }
        )

    def stack(self, dimension: int, side: str) -> ResidualStack | None:
        """Return the module in front of to_k ("k") or to_v ("v") for this context dimension, or None."""
        name = f"{dimension}_{side}"
        return cast(ResidualStack, self.stacks[name]) if name in self.stacks else None


Stacks = dict[tuple[int, str], list[tuple[ResidualStack, float]]]
"""Modules in front of a projection with their multipliers, by dimension and side."""


def attention_layers(unet: UNet2DConditionModel) -> Iterator[tuple[str, Attention]]:
    """Return each attention layer of the UNet with its name."""
    return ((name, module) for name, module in unet.named_modules() if isinstance(module, Attention))


def attention_dimensions(unet: UNet2DConditionModel) -> list[int]:
    """Return the context dimensions of the UNet's attention layers, sorted."""
    return sorted({layer.to_k.in_features for _, layer in attention_layers(unet)})


@contextmanager
def attached(
    unet: UNet2DConditionModel, hypernetworks: Hypernetwork | Sequence[tuple[Hypernetwork, float]]
) -> Iterator[None]:
    """While the context is open, put hypernetworks in front of all K and V projections, in their order.

    Each hypernetwork has a multiplier. Raises RequestError if one has a dimension that the UNet lacks.
    """
    chain = [(hypernetworks, 1.0)] if isinstance(hypernetworks, Hypernetwork) else list(hypernetworks)
    stacks: Stacks = {
        (dimension, side): [
            (stack, multiplier) for hypernetwork, multiplier in chain if (stack := hypernetwork.stack(dimension, side))
        ]
        for dimension in expect_dimensions(unet, [hypernetwork for hypernetwork, _ in chain])
        for side in SIDES
    }
    with stacks_attached(unet, stacks):
        yield


def expect_dimensions(unet: UNet2DConditionModel, hypernetworks: Sequence[Hypernetwork]) -> list[int]:
    """Return the context dimensions of the UNet. Raises RequestError if a hypernetwork has another one."""
    found = attention_dimensions(unet)
    for hypernetwork in hypernetworks:
        if unknown := set(hypernetwork.dimensions) - set(found):
            raise RequestError(
                "The hypernetwork's dimensions",
                found=", ".join(map(str, sorted(unknown))),
                expected=f"dimensions of this base: {', '.join(map(str, found))}",
                fix="use the base that the hypernetwork was trained on",
            )
    return found


@contextmanager
def stacks_attached(unet: UNet2DConditionModel, stacks: Stacks) -> Iterator[None]:
    """While the context is open, put modules in front of the projections of their dimension and side."""
    hooks = []
    for _, layer in attention_layers(unet):
        for side, projection in (("k", layer.to_k), ("v", layer.to_v)):
            for stack, multiplier in stacks.get((projection.in_features, side), []):
                hooks.append(
                    projection.register_forward_pre_hook(
                        lambda _, inputs, stack=stack, multiplier=multiplier: (stack(inputs[0], multiplier),)
                    )
                )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
