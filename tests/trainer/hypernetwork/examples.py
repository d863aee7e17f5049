"""Hypernetworks of every kind, and a base, for the tests of this folder."""

from __future__ import annotations

import torch
from torch import nn

from trainer.hypernetwork.network import Hypernetwork
from trainer.hypernetwork.structure import ACTIVATIONS, HypernetworkSettings
from trainer.training.record import ClassRecord

RECORD = ClassRecord("cyt_mast", "cyt mast", "phantom", 24, "CC0", "drawn by cytosynth")
STRUCTURES = ((1, 2, 1), (1, 1), (1, 0.5, 3, 1))


def strong(settings=None, dimensions=(16, 32), seed=1):
    """Return a hypernetwork whose effect is far above rounding."""
    torch.manual_seed(seed)
    hypernetwork = Hypernetwork(list(dimensions), settings)
    for parameter in hypernetwork.parameters():
        nn.init.normal_(parameter, std=0.2)
    return hypernetwork.eval()


def evaluate_unet(base):
    generator = torch.Generator().manual_seed(2)
    dtype = base.unet.dtype
    latents = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    context = torch.randn(2, 8, 16, generator=generator, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        return base.unet(latents, torch.tensor([10, 700]), context).sample


def settings_of(**values):
    drops = {2: (0, 0), 3: (0, 0.1, 0), 4: (0, 0.1, 0.2, 0)}
    if values.pop("dropout", False):
        values["dropout_structure"] = drops[len(values.get("layer_structure", (1, 2, 1)))]
    return HypernetworkSettings(**values)


KINDS = [
    *(settings_of(activation=name) for name in ("linear", *ACTIVATIONS)),
    *(settings_of(activation=name, activate_output=True) for name in ("linear", "swish", "prelu")),
    *(settings_of(layer_structure=structure) for structure in STRUCTURES),
    *(settings_of(layer_structure=structure, activation="relu", dropout=True) for structure in STRUCTURES),
    settings_of(layer_norm=True),
    settings_of(layer_norm=True, activation="leakyrelu", dropout=True),
    settings_of(dropout=True),
    settings_of(dropout_structure=(0, 0.1, 0.2), last_layer_dropout=True),
]
