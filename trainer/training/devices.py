"""Where a frozen base computes, in which precision, and what it spends memory on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from engine.errors import RequestError, first_line

__all__ = ["PRECISIONS", "Compute", "choose_attention", "choose_compute", "draw_normal"]

PRECISIONS = ("auto", "f32", "bf16")


@dataclass(frozen=True)
class Compute:
    """The frozen UNet's own weights are in this precision; what is trained stays in float32."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "f32"
    gradient_checkpointing: bool = False
    compiled: bool = False

    def ready(self, unet: UNet2DConditionModel) -> Any:
        """Freeze the UNet and put it to work; returns what is to be called, which may be compiled."""
        unet.requires_grad_(False)
        choose_attention(unet, self.device)
        unet.to(device=self.device, dtype=torch.bfloat16 if self.precision == "bf16" else torch.float32)
        if self.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
            unet.train()
        return torch.compile(unet) if self.compiled else unet

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 for the trained modules too, as far as torch thinks it safe."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def pictures_at_once(self) -> int:
        """Of a pass without gradients: as many as a CPU's cache holds, or a GPU is busy with."""
        return 16 if self.device.type == "cpu" else 256

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "gradient_checkpointing": self.gradient_checkpointing,
            "compiled": self.compiled,
        }


def choose_attention(unet: UNet2DConditionModel, device: torch.device) -> None:
    """Attention in plain products for small pictures on a CPU, where the gradient of torch's fused attention takes
    longer than all convolutions (256 tokens: a step takes 0.8 times as long without it)."""
    if device.type == "cpu" and unet.config.sample_size <= 32:
        unet.set_attn_processor(AttnProcessor())


def choose_compute(device: str, precision: str, *, gradient_checkpointing: bool, compiled: bool) -> Compute:
    """`auto` is the first GPU in bfloat16, or the CPU in float32. Raises RequestError."""
    if precision not in PRECISIONS:
        raise RequestError(
            "--precision", found=precision, expected=f"one of {', '.join(PRECISIONS)}", fix="choose one of these"
        )
    try:
        chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        if chosen.type not in ("cpu", "cuda"):
            raise RuntimeError(f"{chosen.type} is not supported")
        if chosen.type == "cuda":
            torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise RequestError(
            "--device",
            found=f"{device} ({first_line(error)})",
            expected="auto, cpu, or a GPU that torch can use, such as cuda:0",
            fix="change it",
        ) from error
    if precision == "auto":
        precision = "bf16" if chosen.type == "cuda" and torch.cuda.is_bf16_supported() else "f32"
    return Compute(chosen, precision, gradient_checkpointing, compiled)


def draw_normal(shape: torch.Size, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Standard normal noise (float32), drawn where it is used: a GPU waits for noise from a CPU. `generator` is on the
    CPU, and the noise follows from its state alone."""
    if device.type == "cpu":
        return torch.randn(shape, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed), device=device)
