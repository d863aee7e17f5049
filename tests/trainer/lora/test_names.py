"""Names of modules, against diffusers' conversion of the original layout."""

from __future__ import annotations

import pytest
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from trainer.lora.names import Place, modules_by_name, original_name, place_of


def test_original_names_are_those_that_diffusers_converts(base):
    attention = [kind.startswith("CrossAttn") for kind in base.unet.config.up_block_types]
    names = {name for place, (name, _) in modules_by_name(base).items() if place.part == "unet"}
    assert len(names) > 200
    state = base.unet.state_dict()
    original = {
        f"model.diffusion_model.{original_name(name, 2, attention)}.{kind}": state[f"{name}.{kind}"]
        for name in names
        for kind in ("weight", "bias")
        if f"{name}.{kind}" in state
    }
    # The conversion expects normalisations, too; they are not in the table of names.
    norms = {name: tensor for name, tensor in state.items() if name.rpartition(".")[0] not in names}
    renamed = {f"model.diffusion_model.{_original_norm(name, attention)}": tensor for name, tensor in norms.items()}
    converted = convert_ldm_unet_checkpoint({**original, **renamed}, dict(base.unet.config))
    assert converted.keys() == state.keys()
    assert all(converted[name] is state[name] for name in state)


def _original_norm(name, attention):
    if name.startswith("conv_norm_out"):
        return name.replace("conv_norm_out", "out.0")
    head, _, kind = name.rpartition(".")
    if ".resnets." in head:
        own, twin = ("norm1", "conv1") if head.endswith("norm1") else ("norm2", "conv2")
        inner = original_name(head.replace(own, twin), 2, attention)
        return f"{inner.rpartition('.')[0]}.{'0'}.{kind}"
    return f"{original_name(head, 2, attention)}.{kind}"


@pytest.mark.parametrize(
    ("stem", "part", "name"),
    [
        ("lora_unet_mid_block_attentions_0_proj_in", "unet", "mid_block_attentions_0_proj_in"),
        ("unet.up_blocks.1.attn1.processor.to_out_lora", "unet", "up_blocks_1_attn1_processor_to_out_lora"),
        ("unet.up_blocks.1.attn1.processor.to_out", "unet", "up_blocks_1_attn1_to_out_0"),
        ("down_blocks.0.attn2.to_k", "unet", "down_blocks_0_attn2_to_k"),
        ("base_model.model.mid_block.x", "unet", "mid_block_x"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", "text_encoder", "text_model_encoder_layers_0_mlp_fc1"),
        ("lora_te1_text_model_x", "text_encoder", "text_model_x"),
        ("text_encoder.text_model.a.self_attn.to_out", "text_encoder", "text_model_a_self_attn_out_proj"),
        ("lora_te2_x", "text_encoder_2", "x"),
    ],
)
def test_the_spellings_of_a_module_are_one_place(stem, part, name):
    assert place_of(stem) == Place(part, name)


def test_a_stem_of_no_part_has_no_place():
    assert place_of("transformer.blocks.0") is None
