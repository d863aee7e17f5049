"""`merge`: fold a linear hypernetwork into the UNet's own weights, exactly."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from engine.errors import RequestError
from trainer.bases import digest_of, open_base
from trainer.folders import expect_new_folder
from trainer.hypernet import Hypernetwork, attention_layers, load_hypernetwork

__all__ = ["CLASS_FILE", "merge", "merge_into"]

CLASS_FILE = "class.json"
"""The class's record in a merged folder."""


def merge(base_folder: Path, hypernetwork_file: Path, out: Path) -> None:
    """Write the base with the merged UNet as a diffusers folder, the class's record beside it."""
    expect_new_folder(out)
    hypernetwork, record, base_sha256 = load_hypernetwork(hypernetwork_file)
    base = open_base(base_folder)
    if (found := digest_of(base.unet)) != base_sha256:
        raise RequestError(
            f"The base {base_folder}",
            found=f"a UNet of SHA-256 {found}",
            expected=f"{base_sha256}, that {hypernetwork_file.name} was trained on",
            mend="name that base, or fit the class on this one",
        )
    merge_into(base.unet, hypernetwork)
    base.save(out)
    (out / CLASS_FILE).write_text(json.dumps(asdict(record), indent=2) + "\n")


@torch.no_grad()
def merge_into(unet: UNet2DConditionModel, hypernetwork: Hypernetwork) -> None:
    """Change the UNet's weights so that it computes what it computed with the hypernetwork attached.

    With the module's map x -> A x + b, to_k.weight <- to_k.weight A and to_v.weight <- to_v.weight A. K's b adds the
    same number to every key's score of a query and cancels in the softmax; V's b passes the softmax, whose rows sum
    to one, so to_out.0.bias <- to_out.0.bias + to_out.0.weight (to_v.weight b). All products are in float64.
    """
    found = {layer.to_k.in_features for _, layer in attention_layers(unet)}
    if unknown := set(hypernetwork.dimensions) - found:
        raise RequestError(
            "The hypernetwork's dimensions",
            found=", ".join(map(str, sorted(unknown))),
            expected=f"some of this base's: {', '.join(map(str, sorted(found)))}",
            mend="merge it into the base that it was trained on",
        )
    for _, layer in attention_layers(unet):
        if stack := hypernetwork.stack(layer.to_k.in_features, "k"):
            weight, _ = stack.affine()
            layer.to_k.weight.copy_(layer.to_k.weight.double() @ weight)
        if stack := hypernetwork.stack(layer.to_v.in_features, "v"):
            weight, bias = stack.affine()
            constant = layer.to_out[0].weight.double() @ (layer.to_v.weight.double() @ bias)
            layer.to_out[0].bias.add_(constant)
            layer.to_v.weight.copy_(layer.to_v.weight.double() @ weight)
