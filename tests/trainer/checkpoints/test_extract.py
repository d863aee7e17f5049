"""The extraction of a LoRA: its error is that of the singular values, and its names are those of diffusers' layers."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.original_layout import original_state
from engine.errors import CytosynthError, RequestError
from tests.trainer.checkpoints.checkpoint_files import write
from trainer.base.stable_diffusion import CLIP_TEXT, UNET, VAE
from trainer.checkpoints.extract import extract_lora, factors
from trainer.checkpoints.settings import ExtractSettings

SMALL_UNET = {**UNET, "block_out_channels": (32, 32, 32, 32), "cross_attention_dim": 24, "sample_size": 16}
SMALL_VAE = {**VAE, "block_out_channels": (32, 32, 32, 32)}
SMALL_CLIP = {**CLIP_TEXT, "vocab_size": 50, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2}
SMALL_CLIP |= {"num_attention_heads": 2, "bos_token_id": 48, "eos_token_id": 49, "pad_token_id": 49}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Small parts with the structure of SD 1.5, their checkpoint, and one whose every weight is another."""
    torch.manual_seed(0)
    unet, text = UNet2DConditionModel(**SMALL_UNET), CLIPTextModel(CLIPTextConfig(**SMALL_CLIP))
    base = original_state(unet, AutoencoderKL(**SMALL_VAE), text)
    tuned = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in base.items()}
    folder = tmp_path_factory.mktemp("extract")
    return unet, text, write(folder / "base.safetensors", base), write(folder / "tuned.safetensors", tuned)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (10, 4, 3, 3), (20, 16, 1, 1)])
@pytest.mark.parametrize("rank", [1, 5, 100])
def test_the_error_is_the_root_of_the_squares_of_the_remaining_singular_values(shape, rank):
    change = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    down, up, kept = factors(change, rank)
    values = torch.linalg.svdvals(change.flatten(1))
    product = up.flatten(1) @ down.flatten(1)
    error, wanted = (change.flatten(1) - product).norm(), values[rank:].square().sum().sqrt()
    torch.testing.assert_close(error, wanted, rtol=1e-9, atol=1e-9)
    assert kept == pytest.approx(float(values[:rank].square().sum()), rel=1e-9)
    # Both matrices have the same scale.
    torch.testing.assert_close(up.flatten(1).norm(dim=0), down.flatten(1).norm(dim=1))


@pytest.mark.parametrize("kind", ["noise", "trained"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_leading_directions_of_a_large_layer_keep_the_energy_of_the_full_decomposition(kind, turned):
    """Noise has no leading directions, which is the hardest case. A training leaves some."""
    generator = torch.Generator().manual_seed(3)
    change = torch.randn(500, 700, generator=generator).double()
    if kind == "trained":
        strengths = torch.logspace(1, -1, 40, dtype=torch.float64)
        low = torch.randn(500, 40, generator=generator).double() * strengths
        change += low @ torch.randn(40, 700, generator=generator).double()
    down, up, kept = factors(change.T.contiguous() if turned else change, 12)
    squares = torch.linalg.svdvals(change).square()
    assert kept == pytest.approx(float(squares[:12].sum()), rel=1e-6)
    # What is said to be kept is kept.
    error = (change - (up @ down).T if turned else change - up @ down).square().sum()
    assert float(squares.sum() - error) == pytest.approx(kept, rel=1e-9)


def test_a_change_of_low_rank_is_exact_also_beyond_its_rank():
    generator = torch.Generator().manual_seed(2)
    change = torch.randn(40, 3, generator=generator).double() @ torch.randn(3, 20, generator=generator).double()
    for matrix in (change, change.T.contiguous(), torch.zeros(4, 5).double()):
        down, up, _ = factors(matrix, 8)
        torch.testing.assert_close(up @ down, matrix, rtol=0, atol=1e-9)
        assert torch.isfinite(down).all()


def module_names(part, start):
    """Map kohya's names to the layers of a part. kohya's scripts make them from diffusers' names in the same way."""
    return {f"{start}_{name.replace('.', '_')}": module for name, module in part.named_modules()}


def test_every_layer_of_the_unet_and_the_text_encoder_gets_matrices_of_its_shape(small, tmp_path):
    unet, text, base, tuned = small
    found = extract_lora(tuned, base, ExtractSettings(out=tmp_path / "lora.safetensors", rank=4))
    tensors = load_file(tmp_path / "lora.safetensors")
    # The text encoder's layers lie below `text_model` in the original layout.
    modules = module_names(unet, "lora_unet") | {
        name if name.startswith("lora_te_text_model") else name.replace("lora_te", "lora_te_text_model", 1): module
        for name, module in module_names(text, "lora_te").items()
    }
    layers = {name for name, module in modules.items() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)}
    assert {name.split(".")[0] for name in tensors} == layers == {layer.name for layer in found.layers}
    original = load_file(tuned), load_file(base)
    key = "model.diffusion_model.output_blocks.3.0.in_layers.2.weight"
    change = (original[0][key] - original[1][key]).double()
    name = "lora_unet_up_blocks_1_resnets_0_conv1"
    up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
    assert up.shape == (32, 4, 1, 1)
    assert down.shape == (4, *modules[name].weight.shape[1:])
    error = (change.flatten(1) - up.flatten(1).double() @ down.flatten(1).double()).square().sum()
    layer = next(layer for layer in found.layers if layer.name == name)
    # The matrices are in float16.
    assert 1 - error / change.square().sum() == pytest.approx(layer.kept, rel=1e-2)
    assert tensors[f"{name}.alpha"] == 4
    assert found.outside > 0


def test_the_energy_of_all_and_the_metadata(small, tmp_path):
    _, _, base, tuned = small
    shares = []
    for rank in (1, 16):
        out = tmp_path / f"{rank}.safetensors"
        shares.append(extract_lora(tuned, base, ExtractSettings(out=out, rank=rank)).kept)
    assert 0 < shares[0] < shares[1] < 1
    with safe_open(out, framework="pt") as opened:
        stated = opened.metadata()
    assert stated["ss_network_module"] == "networks.lora"
    assert stated["ss_network_alpha"] == stated["ss_network_dim"] == "16"
    source = json.loads(stated["cytosynth_extraction"])
    assert source["kept"] == pytest.approx(shares[1], abs=1e-6)
    assert source["base"]["name"] == "base.safetensors"
    assert str(tmp_path) not in str(stated)


def test_a_layer_that_did_not_change_is_not_in_the_file(small, tmp_path):
    _, _, base, _ = small
    state = load_file(base)
    key = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    state[key] = state[key] + torch.outer(torch.ones(32), torch.ones(24))
    tuned = write(tmp_path / "one.safetensors", state)
    found = extract_lora(tuned, base, ExtractSettings(out=tmp_path / "lora.safetensors", rank=1))
    (layer,) = found.layers
    assert layer.name == "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    assert found.kept == pytest.approx(1)
    assert found.outside == 0


def test_wrong_checkpoints_are_refused_and_no_file_is_left(small, tmp_path):
    _, _, base, _ = small
    settings = ExtractSettings(out=tmp_path / "lora.safetensors", rank=2)
    state = load_file(base)
    key = next(name for name in state if name.endswith("fc1.weight"))
    cases = {
        "no layer that differs": state,
        "equal shapes": {**state, key: torch.zeros(1, 1)},
        "Stable Diffusion XL": {**state, "conditioner.embedders.0.x": torch.ones(1)},
        "no text encoder that is known": {"x": torch.ones(1)},
        "finite weights": {**state, key: torch.full_like(state[key], torch.inf)},
    }
    for words, tensors in cases.items():
        tuned = write(tmp_path / "other.safetensors", tensors)
        with pytest.raises(CytosynthError, match=words):
            extract_lora(tuned, base, settings)
    with pytest.raises(RequestError, match="could run code"):
        extract_lora(tmp_path / "x.ckpt", base, settings)
    assert not settings.out.exists()
