"""The original layout of Stable Diffusion 1.5's single file: its names for the tensors of diffusers' parts.

Written from the published structure of the model, apart from diffusers' conversion, which reads it in the tests.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["original_state"]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def _unet_name(name: str, layers: int) -> str:
    head, *rest = name.split(".")
    plain = {
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    if head in plain:
        return ".".join([plain[head], *rest])
    if head == "time_embedding":
        return ".".join(["time_embed", {"linear_1": "0", "linear_2": "2"}[rest[0]], *rest[1:]])
    if head == "mid_block":
        kind, index, *tail = rest
        place = "1" if kind == "attentions" else str(2 * int(index))
        return ".".join(["middle_block", place, *_inner(kind, tail)])
    kind, tail = rest[1], rest[3:]
    block, layer = int(rest[0]), int(rest[2])
    if head == "down_blocks":
        if kind == "downsamplers":
            return ".".join(["input_blocks", str(1 + block * (layers + 1) + layers), "0", "op", *tail[1:]])
        place = "0" if kind == "resnets" else "1"
        return ".".join(["input_blocks", str(1 + block * (layers + 1) + layer), place, *_inner(kind, tail)])
    number = block * (layers + 1) + layer
    if kind == "upsamplers":
        # Behind the block's last resnet, and behind its attention where it has one: the first block has none.
        return ".".join(["output_blocks", str(block * (layers + 1) + layers), "1" if block == 0 else "2", *tail])
    place = "0" if kind == "resnets" else "1"
    return ".".join(["output_blocks", str(number), place, *_inner(kind, tail)])


def _inner(kind: str, tail: list[str]) -> list[str]:
    return [RESNET[tail[0]], *tail[1:]] if kind == "resnets" else tail


def _vae_name(name: str, blocks: int) -> str:
    parts = name.split(".")
    if parts[0] in ("quant_conv", "post_quant_conv"):
        return name
    half, head, *rest = parts
    plain = {"conv_in": "conv_in", "conv_out": "conv_out", "conv_norm_out": "norm_out"}
    if head in plain:
        return ".".join([half, plain[head], *rest])
    if head == "mid_block":
        kind, index, *tail = rest
        if kind == "attentions":
            names = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
            tail = [names[tail[0]], *(tail[2:] if tail[0] == "to_out" else tail[1:])]
            return ".".join([half, "mid", "attn_1", *tail])
        return ".".join([half, "mid", f"block_{int(index) + 1}", *tail])
    block, kind, index, *tail = rest
    side, number = ("down", int(block)) if head == "down_blocks" else ("up", blocks - 1 - int(block))
    if kind in ("downsamplers", "upsamplers"):
        return ".".join([half, side, str(number), kind[:-8] + "sample", *tail])
    tail = ["nin_shortcut", *tail[1:]] if tail[0] == "conv_shortcut" else tail
    return ".".join([half, side, str(number), "block", index, *tail])


def original_state(unet: Any, vae: Any, text_encoder: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of diffusers' parts under the original names. The autoencoder's attention is 1 x 1
    convolutions there."""
    layers = unet.config.layers_per_block
    state = {f"model.diffusion_model.{_unet_name(name, layers)}": tensor for name, tensor in unet.state_dict().items()}
    for name, tensor in vae.state_dict().items():
        attention = ".attentions." in name and name.endswith("weight") and "group_norm" not in name
        new = f"first_stage_model.{_vae_name(name, len(vae.config.block_out_channels))}"
        state[new] = tensor[..., None, None] if attention else tensor
    state |= {
        f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in text_encoder.state_dict().items()
    }
    return {name: tensor.contiguous() for name, tensor in state.items()}
