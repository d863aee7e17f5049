"""Residual networks in front of the K and V projections: modules that a merge cannot fold stay in the graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from safetensors import SafetensorError, safe_open
from torch import nn

from engine.errors import RequestError

__all__ = ["RESIDUALS_FILE", "attach_residuals"]

RESIDUALS_FILE = "residuals.safetensors"
FORMAT = "cytosynth residuals 1"
ACTIVATIONS = frozenset(nn.modules.activation.__all__)


class Residual(nn.Module):
    """The residual network x + multiplier * layers(x)."""

    def __init__(self, layers: nn.Sequential, multiplier: float) -> None:
        super().__init__()
        self.layers, self.multiplier = layers, multiplier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., D) to (..., D)."""
        return x + self.multiplier * self.layers(x)


def attach_residuals(unet: UNet2DConditionModel, path: Path) -> None:
    """Insert the modules of a file in front of their projections, in order.

    Raises RequestError if the file cannot be read, or if the UNet lacks one of its dimensions.
    """
    try:
        chains: dict[tuple[int, str], list[Residual]] = {}
        for module, tensors in _read(path):
            residual = Residual(_layers(module["layers"], tensors), float(module["multiplier"]))
            chains.setdefault((int(module["dimension"]), str(module["side"])), []).append(residual)
        layers = [layer for layer in unet.modules() if isinstance(layer, Attention)]
        if unknown := set(chains) - {(layer.to_k.in_features, side) for layer in layers for side in "kv"}:
            raise ValueError(f"modules for {sorted(unknown)}, which this UNet lacks")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RequestError(
            f"The modules {path}",
            found=f"unreadable ({error})",
            expected="a file written by `python -m trainer merge`",
            fix="merge the hypernetworks again",
        ) from error
    for layer in layers:
        dimension = layer.to_k.in_features
        for side in "kv":
            if chain := chains.get((dimension, side)):
                projection = getattr(layer, f"to_{side}")
                setattr(layer, f"to_{side}", nn.Sequential(*chain, projection))
    unet.eval()


def _read(path: Path) -> list[tuple[dict[str, Any], dict[str, torch.Tensor]]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')}")
        names = list(file.keys())
        return [
            (
                module,
                {
                    name.removeprefix(f"{place}."): file.get_tensor(name)
                    for name in names
                    if name.startswith(f"{place}.")
                },
            )
            for place, module in enumerate(json.loads(metadata["modules"]))
        ]


def _layers(kinds: list[str], tensors: dict[str, torch.Tensor]) -> nn.Sequential:
    """Build layers from names of torch classes. Only the classes of a hypernetwork are allowed."""
    layers: list[nn.Module] = []
    for place, kind in enumerate(kinds):
        weight = tensors.get(f"{place}.weight")
        if kind == "Linear" and weight is not None:
            layers.append(nn.Linear(weight.shape[1], weight.shape[0]))
        elif kind == "LayerNorm" and weight is not None:
            layers.append(nn.LayerNorm(weight.shape[0]))
        elif kind in ACTIVATIONS:
            layers.append(getattr(nn, kind)())
        elif kind == "Dropout":
            layers.append(nn.Identity())
        else:
            raise ValueError(f"the layer {kind!r}")
    stack = nn.Sequential(*layers)
    stack.load_state_dict(tensors)
    return stack
