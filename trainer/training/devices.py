"""The device of a training, its precision, and what it spends memory on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from engine.errors import RequestError, first_line
from engine.options import check_settings
from trainer.training.settings import Hardware

__all__ = ["Compute", "choose_attention", "choose_compute", "draw_normal"]


@dataclass(frozen=True)
class Compute:
    """A device and a precision. The weights of the frozen UNet have this precision; trained weights stay float32."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "f32"
    gradient_checkpointing: bool = False
    compiled: bool = False

    def ready(self, unet: UNet2DConditionModel, *, frozen: bool = True) -> Any:
        """Move the UNet to the device, frozen or to be trained. Return the callable to use, which may be compiled.

        Frozen weights have the precision of the arithmetic. Trained weights are float32.
        """
        unet.requires_grad_(not frozen)
        choose_attention(unet, self.device)
        half = frozen and self.precision == "bf16"
        unet.to(device=self.device, dtype=torch.bfloat16 if half else torch.float32)
        if self.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
            unet.train()
        return torch.compile(unet) if self.compiled else unet

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which trained modules also compute in bfloat16, as far as torch considers it safe."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def pictures_at_once(self) -> int:
        """Batch size of a pass without gradients. It fits the cache of a CPU and keeps a GPU busy."""
        return 16 if self.device.type == "cpu" else 256

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "gradient_checkpointing": self.gradient_checkpointing,
            "compiled": self.compiled,
        }


def choose_attention(unet: UNet2DConditionModel, device: torch.device) -> None:
    """Use unfused attention for small pictures on a CPU.

    There, the gradient of torch's fused attention takes longer than all convolutions. With 256 tokens, a step without
    fused attention takes 0.8 times as long.
    """
    if device.type == "cpu" and unet.config.sample_size <= 32:
        unet.set_attn_processor(AttnProcessor())


def choose_compute(hardware: Hardware) -> Compute:
    """Return the device and the precision for these settings. Raises RequestError if torch cannot use the device.

    `auto` is the first GPU in bfloat16, or the CPU in float32.
    """
    check_settings(hardware)
    precision = hardware.precision
    try:
        found = "cuda" if torch.cuda.is_available() else "cpu"
        chosen = torch.device(found if hardware.device == "auto" else hardware.device)
        if chosen.type not in ("cpu", "cuda"):
            raise RuntimeError(f"{chosen.type} is not supported")
        if chosen.type == "cuda":
            torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise RequestError(
            "--device",
            found=f"{hardware.device} ({first_line(error)})",
            expected="auto, cpu, or a GPU that torch can use, such as cuda:0",
            fix="choose another device",
        ) from error
    if precision == "auto":
        precision = "bf16" if chosen.type == "cuda" and torch.cuda.is_bf16_supported() else "f32"
    return Compute(chosen, precision, hardware.gradient_checkpointing, hardware.compiled)


def draw_normal(shape: torch.Size, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Return standard normal noise (float32) that depends only on the state of `generator`, which is on the CPU.

    The noise is drawn on the device that uses it, because a GPU would have to wait for noise from the CPU.
    """
    if device.type == "cpu":
        return torch.randn(shape, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed), device=device)
