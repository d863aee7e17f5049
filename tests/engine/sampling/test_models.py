"""Models that the samplers and the training do not support are refused by their configurations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import RequestError
from engine.sampling.models import ModelConfigs, expect_supported, not_whole

SD15 = ModelConfigs(
    scheduler={"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear", "trained_betas": None},
    unet={
        "_class_name": "UNet2DConditionModel",
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "cross_attention_dim": 768,
        "class_embed_type": None,
    },
    vae={"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "latent_channels": 4},
    text_encoder={"hidden_size": 768},
)


def test_stable_diffusion_1_5_is_supported_as_its_files_describe_it():
    expect_supported("The base sd15", SD15)
    expect_supported("The base sd15", replace(SD15, scheduler={**SD15.scheduler, "prediction_type": "epsilon"}))


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("scheduler", {"prediction_type": "v_prediction"}, "prediction_type"),
        ("scheduler", {"prediction_type": "sample"}, "prediction_type"),
        ("scheduler", {"beta_schedule": "linear"}, "beta_schedule"),
        ("scheduler", {"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule"),
        ("scheduler", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ("scheduler", {"trained_betas": [0.1, 0.2]}, "trained_betas"),
        ("scheduler", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "kind of its scheduler"),
        ("scheduler", {"_class_name": "LCMScheduler"}, "kind of its scheduler"),
        ("unet", {"in_channels": 9}, "in_channels"),
        ("unet", {"in_channels": 8}, "in_channels"),
        ("unet", {"out_channels": 8}, "out_channels"),
        ("unet", {"addition_embed_type": "text_time"}, "addition_embed_type"),
        ("unet", {"class_embed_type": "projection"}, "class_embed_type"),
        ("unet", {"num_class_embeds": 1000}, "num_class_embeds"),
        ("unet", {"encoder_hid_dim_type": "image_proj"}, "encoder_hid_dim_type"),
        ("unet", {"time_cond_proj_dim": 256}, "time_cond_proj_dim"),
        ("unet", {"flip_sin_to_cos": False}, "flip_sin_to_cos"),
        ("unet", {"cross_attention_dim": 2048}, "width of its text encoder"),
        ("unet", {"sample_size": 60}, "remainder of its side 480"),
        ("unet", {"sample_size": [64, 96]}, "remainder of its side"),
        ("vae", {"latent_channels": 16}, "in_channels"),
        ("vae", {"shift_factor": 0.1}, "shift_factor"),
        ("vae", {"_class_name": "AutoencoderTiny"}, "kind of its autoencoder"),
    ],
)
def test_another_kind_of_model_is_refused_with_its_name(
    part,
    changes,
    words,
):
    configs = replace(SD15, **{part: {**getattr(SD15, part), **changes}})
    with pytest.raises(RequestError, match=words) as caught:
        expect_supported("The base x", configs)
    assert caught.value.subject.startswith("The base x, ")


def test_a_part_without_some_of_its_tensors_is_not_whole():
    whole = {"missing_keys": [], "unexpected_keys": ["embeddings.position_ids"]}
    assert not_whole("unet", whole) is None
    assert "conv_in.bias" in str(not_whole("unet", {**whole, "missing_keys": {"conv_in.bias"}}))
    assert "and 2 more" in str(not_whole("unet", {**whole, "unexpected_keys": list("abcde")}))
