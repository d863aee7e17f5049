"""Stable Diffusion 1.5 from its single file `v1-5-pruned-emaonly.safetensors`, without a hub.

The configuration of the parts is known (Rombach et al. 2022, as in the diffusers folder of the same model). The tensors
are renamed by diffusers' own conversion, and each is compared with what its part expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from engine.errors import RequestError

__all__ = ["CLIP_TEXT", "SCHEDULER", "UNET", "VAE", "read_single_file"]

UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}
VAE: dict[str, Any] = {
    "sample_size": 512,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "scaling_factor": 0.18215,
}
CLIP_TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
PREFIXES = {
    "UNet": "model.diffusion_model.",
    "VAE": "first_stage_model.",
    "text encoder": "cond_stage_model.transformer.",
}
MARKS = {"v_pred", "ztsnr", "edm_mean", "edm_vpred.sigma_max"}
"""Tensors by which a checkpoint says that it does not predict eps, or that its last noise level has no signal."""
SHOWN = 5
"""Largest number of tensors that an error names."""


def read_single_file(
    path: Path, unet: Mapping[str, Any] = UNET, vae: Mapping[str, Any] = VAE, clip: Mapping[str, Any] = CLIP_TEXT
) -> tuple[AutoencoderKL, UNet2DConditionModel, CLIPTextModel, DDIMScheduler]:
    """Return the parts of a checkpoint in the original layout, float32.

    unet, vae, clip: configurations of the parts.
    Raises RequestError with the names and expected shapes of tensors that are missing or have the wrong shape.
    """
    tensors = _read(path)
    with torch.device("meta"):
        parts = {
            "UNet": UNet2DConditionModel(**unet),
            "VAE": AutoencoderKL(**vae),
            "text encoder": CLIPTextModel(CLIPTextConfig(**clip)),
        }
    for name, prefix in PREFIXES.items():
        if not any(key.startswith(prefix) for key in tensors):
            raise _wrong(path, f"no tensor of the {name} ({prefix}*)")
    try:
        states = {
            "UNet": convert_ldm_unet_checkpoint(dict(tensors), dict(parts["UNet"].config)),
            "VAE": convert_ldm_vae_checkpoint(dict(tensors), dict(parts["VAE"].config)),
            "text encoder": {
                key.removeprefix(PREFIXES["text encoder"]).removeprefix("text_model."): tensor
                for key, tensor in tensors.items()
                if key.startswith(PREFIXES["text encoder"])
            },
        }
    except KeyError as error:
        raise _wrong(path, f"the tensor {error.args[0]} is missing") from error
    for name, part in parts.items():
        _fill(path, name, part, states[name])
    return parts["VAE"], parts["UNet"], parts["text encoder"], DDIMScheduler(**SCHEDULER)


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as opened:
            said, marks = opened.metadata() or {}, MARKS & {*opened.keys()}
        # Checkpoints state what they predict in their metadata (modelspec), or with an empty tensor.
        predicts = str(said.get("modelspec.prediction_type") or "epsilon").lower()
        kind = str(said.get("modelspec.architecture") or "")
        if marks or predicts not in ("eps", "epsilon") or "inpaint" in kind:
            words = [*sorted(marks), *([f"prediction_type {predicts}"] if predicts != "epsilon" else []), kind]
            raise _wrong(path, f"a model of another kind ({', '.join(filter(None, words))})")
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise RequestError(
            f"The checkpoint {path}",
            found=f"unreadable ({error})",
            expected="a complete safetensors file; v1-5-pruned-emaonly.safetensors has 4.27 GB",
            fix="download it again; a .ckpt must be converted to safetensors first",
        ) from error


def _wrong(path: Path, found: str) -> RequestError:
    return RequestError(
        f"The checkpoint {path}",
        found=found,
        expected="Stable Diffusion 1.5 in the original layout, such as v1-5-pruned-emaonly.safetensors",
        fix="use that file, or a folder in the diffusers layout",
    )


def _fill(path: Path, name: str, part: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load float32 copies of the tensors into a part that has no memory yet. Raises RequestError."""
    wanted = part.state_dict()
    missing = [key for key in wanted if key not in state]
    shapes = [
        f"{key} {tuple(state[key].shape)}, expected {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state and state[key].shape != tensor.shape
    ]
    for what, found in (("missing", missing), ("wrong shape", shapes)):
        if found:
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise _wrong(path, f"{name}: {what}: {'; '.join(found[:SHOWN])}{more}")
    part.load_state_dict({key: state[key].float() for key in wanted}, assign=True)
    for module in part.modules():
        # Buffers that are not in the file have no memory yet either.
        for key, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                module.register_buffer(key, torch.arange(buffer.shape[-1]).expand(buffer.shape), persistent=False)
    part.eval()
