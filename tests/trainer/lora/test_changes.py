"""Changes of weights, against PEFT's own LoRA, LoHa, LoKr and DoRA."""

from __future__ import annotations

import peft
import pytest
import torch
from torch import nn

from trainer.lora.changes import Change


def models():
    torch.manual_seed(1)
    return nn.ModuleDict({"line": nn.Linear(6, 8), "conv": nn.Conv2d(4, 6, 3, padding=1), "point": nn.Conv2d(4, 6, 1)})


CONFIGS = {
    "lora": peft.LoraConfig(r=2, lora_alpha=3, init_lora_weights=False),
    "rslora": peft.LoraConfig(r=2, lora_alpha=3, init_lora_weights=False, use_rslora=True),
    "dora": peft.LoraConfig(r=2, lora_alpha=3, init_lora_weights=False, use_dora=True),
    "loha": peft.LoHaConfig(r=2, alpha=3, init_weights=False),
    "loha tucker": peft.LoHaConfig(r=2, alpha=3, init_weights=False, use_effective_conv2d=True),
    "lokr": peft.LoKrConfig(r=2, alpha=3, init_weights=False, decompose_both=True),
    "lokr tucker": peft.LoKrConfig(r=2, alpha=3, init_weights=False, use_effective_conv2d=True),
}
NAMES = {"lora_A": "lora_down", "lora_B": "lora_up", "lora_magnitude_vector": "magnitude"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_change_is_the_one_of_peft(kind):
    plain, config = models(), CONFIGS[kind]
    config.target_modules = ["line", "conv", "point"]
    injected = peft.inject_adapter_in_model(config, models(), "x")
    if kind == "dora":
        for name, tensor in injected.named_parameters():
            if "magnitude" in name:
                tensor.data.mul_(1.3)
    for name, module in plain.items():
        layer = injected[name]
        tensors = {}
        for key, tensor in layer.state_dict().items():
            head = key.split(".")[0]
            if head not in ("base_layer", "bias", "weight"):
                tensors[NAMES.get(head, head)] = tensor
        change = Change(tensors, 3.0, root_of_rank=kind == "rslora")
        change.expect_fitting(module)
        layer.merge()
        wanted = layer.get_base_layer().weight - module.weight
        # Of two whole factors of LoKr, LyCORIS and the WebUI ignore alpha, while PEFT multiplies by alpha / rank.
        found = change.of(module.weight) * (1.0 if change.rank else 1.5)
        assert wanted.abs().max() > 1e-3
        torch.testing.assert_close(found.float(), wanted, rtol=1e-4, atol=1e-6)
        # Beside the weight, the change does the same as in it.
        x = torch.randn(2, 5, 6) if name == "line" else torch.randn(2, 4, 5, 5)
        with torch.no_grad():
            changed = module(x) + change.output(module, x) * (1.0 if change.rank else 1.5)
            torch.testing.assert_close(changed, layer.get_base_layer()(x), rtol=1e-4, atol=1e-5)


def test_a_middle_convolution_stands_between_down_and_up():
    conv = nn.Conv2d(4, 6, 3, padding=1, bias=False)
    down, mid, up = torch.randn(2, 4, 1, 1), torch.randn(3, 2, 3, 3), torch.randn(6, 3, 1, 1)
    change = Change({"lora_down": down, "lora_mid": mid, "lora_up": up})
    change.expect_fitting(conv)
    x = torch.randn(1, 4, 5, 5)
    inner = nn.functional.conv2d(nn.functional.conv2d(x, down), mid, padding=1)
    torch.testing.assert_close(change.output(conv, x), nn.functional.conv2d(inner, up), rtol=1e-4, atol=1e-4)


def test_a_dora_scale_of_the_columns_is_lycoris_own():
    line = nn.Linear(6, 8)
    scale = torch.rand(1, 6) + 0.5
    factors = {"lora_down": torch.randn(2, 6), "lora_up": torch.randn(8, 2)}
    changed = line.weight + Change({**factors, "dora_scale": scale}, 1.0).of(line.weight)
    torch.testing.assert_close(changed.norm(dim=0).float(), scale[0])
    direction = line.weight + 0.5 * factors["lora_up"] @ factors["lora_down"]
    torch.testing.assert_close(changed.float(), direction / direction.norm(dim=0) * scale)


def test_without_alpha_the_factor_is_one():
    factors = {"lora_down": torch.randn(2, 6), "lora_up": torch.randn(8, 2)}
    assert (Change(factors).scale, Change(factors, 1.0).scale) == (1.0, 0.5)
