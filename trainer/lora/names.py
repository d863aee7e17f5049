"""Names of modules in LoRA files: diffusers' own, kohya's with underscores, and those of the original layout.

A name is compared with every `.` written as `_`. So `unet.down_blocks.0...attn1.to_q` of diffusers and
`lora_unet_down_blocks_0_..._attn1_to_q` of kohya are one name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from trainer.base.base import Base

__all__ = ["PARTS", "UNET_PREFIX", "Place", "modules_by_name", "place_of"]

PARTS = {"unet": "UNet", "text_encoder": "text encoder"}
"""The parts of a base that a LoRA can change, by the attribute of Base, with their names in messages."""
PREFIXES = (
    (re.compile(r"^lora_unet_"), "unet"),
    (re.compile(r"^lora_te1?_"), "text_encoder"),
    (re.compile(r"^lora_te2_"), "text_encoder_2"),
    (re.compile(r"^unet\."), "unet"),
    (re.compile(r"^text_encoder\."), "text_encoder"),
    (re.compile(r"^text_encoder_2\."), "text_encoder_2"),
    # A file of one model has no prefix.
    (re.compile(r"^(?=(down_blocks|up_blocks|mid_block|conv_in|conv_out|time_embedding)\.)"), "unet"),
    (re.compile(r"^(?=text_model\.|encoder\.layers\.)"), "text_encoder"),
)
UNET_PREFIX = "lora_unet_"
"""What kohya's names of modules of the UNet begin with."""
PEFT_PREFIX = "base_model.model."
PROCESSOR = re.compile(r"\.processor\.(?=to_[a-z]+$)")
OLD_TEXT_NAMES = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""Names of the text encoder's projections in early files of diffusers."""
RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTER = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}


@dataclass(frozen=True)
class Place:
    """A module as a file names it."""

    part: str
    """An attribute of Base, or `text_encoder_2` of Stable Diffusion XL."""
    name: str
    """The name within the part, with `_` for every `.`."""


def place_of(stem: str) -> Place | None:
    """Return the place that a key without its ending names, or None if it begins like no part of a base."""
    stem = stem.removeprefix(PEFT_PREFIX)
    for prefix, part in PREFIXES:
        if match := prefix.match(stem):
            name = stem[match.end() :]
            if PROCESSOR.search(name):
                name = PROCESSOR.sub(".", name)
                name = f"{name}.0" if name.endswith(".to_out") else name
            head, _, last = name.rpartition(".")
            if part == "text_encoder" and last in OLD_TEXT_NAMES:
                name = f"{head}.{OLD_TEXT_NAMES[last]}"
            return Place(part, name.replace(".", "_"))
    return None


def modules_by_name(base: Base) -> dict[Place, tuple[str, nn.Module]]:
    """Return the linear layers and convolutions of the UNet and the text encoder, by every name that a file may use.

    The values are the name in diffusers and the module.
    """
    found: dict[Place, tuple[str, nn.Module]] = {}
    layers = base.unet.config.layers_per_block
    attention = [kind.startswith("CrossAttn") for kind in base.unet.config.up_block_types]
    for name, module in base.unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            for spelled in {name, original_name(name, layers, attention)}:
                found[Place("unet", spelled.replace(".", "_"))] = name, module
    for name, module in base.text_encoder.named_modules():
        if isinstance(module, nn.Linear):
            short = name.removeprefix("text_model.")
            for spelled in (short, f"text_model.{short}"):
                found[Place("text_encoder", spelled.replace(".", "_"))] = name, module
    return found


def original_name(name: str, layers: int, attention: Sequence[bool]) -> str:
    """Return the name in the original layout of Stable Diffusion of a UNet's linear layer or convolution.

    layers: layers_per_block. attention: whether each of the up_blocks has attention. The layout counts every layer of
    every block as one of `input_blocks`, and the downsampler as the last of its block (Rombach et al. 2022,
    openaimodel.py).
    """
    if name in OUTER:
        return OUTER[name]
    head, *rest = name.split(".")
    if head == "mid_block":
        kind, index, *tail = rest
        return _joined("middle_block", "1" if kind == "attentions" else 2 * int(index), kind, tail)
    block, kind, index, *tail = rest
    if head == "down_blocks":
        first = 1 + int(block) * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op"
        return _joined(f"input_blocks.{first + int(index)}", int(kind == "attentions"), kind, tail)
    first = int(block) * (layers + 1)
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.{2 if attention[int(block)] else 1}.conv"
    return _joined(f"output_blocks.{first + int(index)}", int(kind == "attentions"), kind, tail)


def _joined(block: str, place: int | str, kind: str, tail: list[str]) -> str:
    inner = ".".join(tail)
    return f"{block}.{place}.{RESNET.get(inner, inner) if kind == 'resnets' else inner}"
