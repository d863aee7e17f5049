"""Files that are no LoRA for this kind of base, by their keys alone."""

from __future__ import annotations

import pytest

from trainer.lora.others import family_of, known_ending, other_kind


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["cond_stage_model.transformer.x"], "a Stable Diffusion checkpoint"),
        (["decoder.conv_in.weight"], "an autoencoder (VAE)"),
        (["stacks.16_k.linear.0.weight"], "a hypernetwork without its header"),
        (["conv_in.weight", "conv_in.bias"], "none of 2 keys is of a LoRA, such as conv_in.weight"),
        ([], "no tensor in the file"),
    ],
)
def test_a_file_of_another_kind_is_named(keys, words):
    found = other_kind(keys)
    assert found is not None
    assert found[0] == words


def test_keys_of_a_lora_are_no_other_kind():
    for key in ("lora_unet_x.alpha", "unet.x.lora.down.weight", "x.to_q_lora.up.weight", "x.lokr_w1", "x.oft_blocks"):
        assert other_kind([key, "conv_in.weight"]) is None


@pytest.mark.parametrize(
    ("key", "metadata", "family"),
    [
        ("lora_te3_x.alpha", {}, "Stable Diffusion 3"),
        ("lora_prior_unet_x.alpha", {}, "Stable Cascade"),
        ("lora_unet_x.alpha", {"ss_base_model_version": "sd_v1"}, None),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", {}, None),
    ],
)
def test_the_models_that_a_lora_is_for_are_known(key, metadata, family):
    assert family_of([key], metadata) == family


def test_endings_that_are_not_supported_have_words():
    assert known_ending("x.vera_lambda_b") == "a relative of LoRA that is not supported"
    assert known_ending("x.lora_down.weight") is None
