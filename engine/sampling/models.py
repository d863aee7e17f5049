"""Which diffusion models this project trains, exports and samples: those of the kind of Stable Diffusion 1.5.

The samplers and the training need a UNet that predicts eps on a scaled-linear schedule, from latents, a timestep and
one text encoder. Another model would be trained or sampled without an error, and draw wrong pictures. The rules work on
the configurations of diffusers, so this module needs no framework.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import RequestError

__all__ = ["ModelConfigs", "expect_supported", "not_whole"]

OTHER_NOISE = ("CM", "EDM", "FlowMatch", "LCM", "TCD")
"""Beginnings of the names of schedulers for models of other kinds: flow matching, EDM, and distilled models."""
SCHEDULER = {
    "prediction_type": "epsilon",
    # Without a schedule, diffusers assumes this one, which is refused.
    "beta_schedule": "linear",
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
}
"""Fields of a scheduler with the values that diffusers assumes. Except for the schedule, these are required."""
UNET = {
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "addition_embed_type": None,
    "class_embed_type": None,
    "num_class_embeds": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "time_cond_proj_dim": None,
}
"""Fields of a UNet with the required values, which diffusers also assumes."""
VAE = {"shift_factor": None, "latents_mean": None, "latents_std": None}
"""Fields of an autoencoder with the required values, which diffusers also assumes."""


@dataclass(frozen=True)
class ModelConfigs:
    """The configurations of the parts of a model, as diffusers and transformers write them."""

    scheduler: Mapping[str, Any]
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]


def expect_supported(subject: str, configs: ModelConfigs) -> None:
    """Raise RequestError that names the first part of a model that this project does not support.

    subject: the model in the error, such as "The base sd15".
    """
    for what, found, expected in _rules(configs):
        if found != expected:
            raise RequestError(
                f"{subject}, {what}",
                found=str(found),
                expected=str(expected),
                fix="use a base of the kind of Stable Diffusion 1.5: it predicts eps from 4 or more latent channels, "
                "unlike v-prediction, inpainting, SDXL, flow or distilled models",
            )


def _rules(configs: ModelConfigs) -> list[tuple[str, Any, Any]]:
    """Return what is compared: its name, the value found, and the value required."""
    scheduler, unet, vae = configs.scheduler, configs.unet, configs.vae
    required = {**SCHEDULER, "beta_schedule": "scaled_linear"}
    name = str(scheduler.get("_class_name", ""))
    levels = len(unet.get("block_out_channels", ())), len(vae.get("block_out_channels", ()))
    side, factor, multiple = unet.get("sample_size"), 2 ** max(0, levels[1] - 1), 2 ** max(0, sum(levels) - 2)
    pixels = side * factor if isinstance(side, int) else side
    rest = pixels % multiple if isinstance(pixels, int) else "not a number of pixels"
    channels = vae.get("latent_channels", 4)
    return [
        ("the kind of its scheduler", name if name.startswith(OTHER_NOISE) else "diffusion", "diffusion"),
        *((f"the scheduler's {key}", scheduler.get(key, SCHEDULER[key]), value) for key, value in required.items()),
        ("the kind of its UNet", unet.get("_class_name", "UNet2DConditionModel"), "UNet2DConditionModel"),
        ("the UNet's in_channels", unet.get("in_channels", 4), channels),
        ("the UNet's out_channels", unet.get("out_channels", 4), channels),
        *((f"the UNet's {key}", unet.get(key, value), value) for key, value in UNET.items()),
        ("the kind of its autoencoder", vae.get("_class_name", "AutoencoderKL"), "AutoencoderKL"),
        *((f"the autoencoder's {key}", vae.get(key, value), value) for key, value in VAE.items()),
        ("the width of its text encoder", configs.text_encoder.get("hidden_size"), unet.get("cross_attention_dim")),
        (f"the remainder of its side {pixels} divided by {multiple}", rest, 0),
    ]


def not_whole(part: str, loading: Mapping[str, Collection[Any]]) -> str | None:
    """Return the tensors that a part's file lacks or has too many, or None if the file is whole.

    loading: what `from_pretrained(..., output_loading_info=True)` says. diffusers fills what is missing with random
    numbers.
    """
    for kind in ("missing_keys", "unexpected_keys"):
        # Older files hold the positions 0, 1, 2, ..., which are no weights.
        if names := sorted(name for name in map(str, loading[kind]) if not name.endswith("position_ids")):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            words = kind.replace("_keys", " tensors")
            return f"{part}: {words}, perhaps from an unfinished training: {', '.join(names[:3])}{more}"
    return None
