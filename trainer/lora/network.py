"""A LoRA in training: two small matrices beside each chosen layer of the UNet (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from trainer.lora.changes import Change
from trainer.lora.names import UNET_PREFIX, Place

__all__ = ["Lora"]

ATTENTION = re.compile(r"\.attn[12]\.to_(q|k|v|out(?=\.0))(\.0)?$")
"""Names of the projections of attention, whose last part the first group has."""


class _Beside(nn.Module):
    """scale * up(down(x)) beside a layer. `up` begins at zero, so that training begins at the base."""

    def __init__(self, layer: nn.Module, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        if isinstance(layer, nn.Conv2d):
            kernel: dict[str, Any] = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding")}
            self.lora_down: nn.Module = nn.Conv2d(layer.in_channels, rank, **kernel, bias=False)
            self.lora_up: nn.Module = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            line = cast(nn.Linear, layer)
            self.lora_down = nn.Linear(line.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, line.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_down.get_parameter("weight"), a=math.sqrt(5))
        nn.init.zeros_(self.lora_up.get_parameter("weight"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is added to the layer's output, in the dtype of x."""
        inside = x if torch.is_autocast_enabled(x.device.type) else x.to(self.lora_down.get_parameter("weight").dtype)
        return cast(torch.Tensor, self.scale * self.lora_up(self.lora_down(inside))).to(x.dtype)


class Lora(nn.Module):
    """The trained matrices of the attention layers of a UNet, and of its convolutions if asked for.

    projections: which projections of attention get matrices: q, k, v, out.
    alpha: the matrices are multiplied by alpha / rank. None means the rank.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        rank: int,
        alpha: float | None = None,
        *,
        projections: Collection[str] = ("q", "k", "v", "out"),
        convolutions: bool = False,
    ) -> None:
        super().__init__()
        self.rank, self.alpha = rank, float(rank if alpha is None else alpha)
        self._names = {
            UNET_PREFIX + name.replace(".", "_"): name
            for name, layer in unet.named_modules()
            if ((found := ATTENTION.search(name)) and found[1] in projections)
            or (convolutions and isinstance(layer, nn.Conv2d) and name not in ("conv_in", "conv_out"))
        }
        self.layers = nn.ModuleDict(
            {key: _Beside(unet.get_submodule(name), rank, self.alpha / rank) for key, name in self._names.items()}
        )

    @contextmanager
    def attached(self, unet: UNet2DConditionModel) -> Iterator[None]:
        """While the context is open, the UNet computes with the LoRA."""
        hooks = [
            unet.get_submodule(name).register_forward_hook(
                lambda _, inputs, output, beside=self.layers[key]: output + beside(inputs[0])
            )
            for key, name in self._names.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def load(self, changes: Mapping[Place, Change]) -> None:
        """Take the matrices of changes. Raises ValueError unless they change the same layers with the same scale."""
        mine = self.changes()
        if changes.keys() != mine.keys():
            raise ValueError(f"{len(changes)} changed layers instead of the {len(mine)} of this network")
        for place, change in mine.items():
            given = changes[place]
            if given.kind != change.kind or given.scale != change.scale:
                raise ValueError(f"{given.kind} with the scale {given.scale:g} at {place.name}")
            for name, tensor in change.tensors.items():
                if given.tensors[name].shape != tensor.shape:
                    raise ValueError(f"{name} of the shape {tuple(given.tensors[name].shape)} at {place.name}")
                tensor.copy_(given.tensors[name])

    def changes(self) -> dict[Place, Change]:
        """Return the changes of the weights, by their places in a file."""
        return {
            Place("unet", key.removeprefix(UNET_PREFIX)): Change(
                {name: part.get_submodule(name).get_parameter("weight").detach() for name in ("lora_down", "lora_up")},
                self.alpha,
            )
            for key, part in self.layers.items()
        }
