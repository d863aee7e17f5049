"""The comparison of layers: every layer that an adapter changes is in it, and an error in one is found."""

from __future__ import annotations

import copy
from contextlib import ExitStack

import pytest
import torch

from tests.trainer.hypernetwork.examples import settings_of, strong
from tests.trainer.lora.examples import lora_file
from trainer.adapters.adapter import read_adapter
from trainer.adapters.comparison import compared_layers, largest_difference, outputs_of
from trainer.adapters.merge import LARGEST_DIFFERENCE
from trainer.hypernetwork.files import HypernetworkFile
from trainer.hypernetwork.fold import merge_into


def test_a_wrong_weight_is_found_in_every_kind_of_layer_and_named(base, tmp_path):
    lora = read_adapter(lora_file(tmp_path / "lora.safetensors", base, words=("attn", "conv", "ff", "time_emb")))
    layers = compared_layers(base, [lora])
    with lora.attached(base):
        before = outputs_of(layers)
    lora.fold(base)
    assert largest_difference(before, outputs_of(layers))[1] < LARGEST_DIFFERENCE
    changed = [(f"{part}.{name}", module) for part, name, module, _ in lora.modules(base)]
    assert {part.split(".")[0] for part, _ in changed} == {"unet", "text_encoder"}
    for name, module in changed:
        kept = module.weight.detach().clone()
        with torch.no_grad():
            module.weight[0].add_(0.01)
        worst, difference = largest_difference(before, outputs_of(layers))
        # A projection belongs to its attention layer.
        assert f"{name}.".startswith((f"{worst}.", f"unet.{worst}.")), (name, worst)
        assert difference > LARGEST_DIFFERENCE
        with torch.no_grad():
            module.weight.copy_(kept)
    with torch.no_grad():
        module.weight[0, 0] = torch.inf
    assert not largest_difference(before, outputs_of(layers))[1] <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("multiplier", [1.0, -0.7])
def test_layers_that_agree_make_a_unet_that_agrees(multiplier, base, tmp_path):
    """The layers stand for the whole: LoRA and hypernetwork together, against the UNet's and the encoder's outputs."""
    lora = read_adapter(lora_file(tmp_path / "lora.safetensors", base, words=("attn", "conv")))
    hypernetwork = HypernetworkFile(strong(settings_of(activation="linear")), "h")
    merged = copy.deepcopy(base)
    lora.fold(merged, multiplier)
    merge_into(merged.unet, [(hypernetwork.hypernetwork, multiplier)])
    generator = torch.Generator().manual_seed(5)
    latents, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 8, 16, generator=generator)
    tokens = torch.tensor([[1, 2, 3]])
    outputs = []
    with torch.no_grad():
        with ExitStack() as attached:
            for adapter in (lora, hypernetwork):
                attached.enter_context(adapter.attached(base, multiplier))
            layers = outputs_of(compared_layers(base, [lora]))
            outputs += [base.unet(latents, torch.tensor([900.0, 100.0]), context).sample, base.text_encoder(tokens)[0]]
        found = outputs_of(compared_layers(merged, [lora]))
        after = merged.unet(latents, torch.tensor([900.0, 100.0]), context).sample, merged.text_encoder(tokens)[0]
    assert layers.keys() == found.keys()
    assert largest_difference(layers, found)[1] < LARGEST_DIFFERENCE
    for wanted, got in zip(outputs, after, strict=True):
        assert float((got - wanted).abs().max()) <= LARGEST_DIFFERENCE * max(1.0, float(wanted.abs().max()))
