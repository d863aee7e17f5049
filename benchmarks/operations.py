"""Count the operations of a picture, and measure how many operations per second this machine's matrix units reach."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.rounds import System
from exporter.refiner import Refiner

__all__ = ["SIDE", "MatrixProduct", "count_operations", "matrix_products"]

PRODUCTS = 20
"""Matrix products per round. The fastest counts."""
SIDE = 1024
"""Side of the matrices: large enough that memory is no limit, small enough for a fraction of a second."""


@dataclass(frozen=True)
class MatrixProduct:
    """A matrix product to time, and its number of operations."""

    system: System
    operations: int


def count_operations(
    unet: UNet2DConditionModel, vae: AutoencoderKL, refiner: Refiner | None, tokens: int
) -> dict[str, int]:
    """Count the operations of one row of the UNet and of one decoding at the models' own size, without computing them.

    A refiner is part of the decoding.

    torch counts only matrix products, attention and convolutions. A multiply-add counts as two operations.
    """
    side, channels = unet.config.sample_size, unet.config.in_channels
    with torch.device("meta"):
        shapes = (1, channels, side, side), (1,), (1, tokens, unet.config.cross_attention_dim)
        inputs = [torch.zeros(shape) for shape in shapes]
        bare, decoder = UNet2DConditionModel.from_config(unet.config), AutoencoderKL.from_config(vae.config)
    decode = _count(decoder.decode, inputs[0])
    if refiner is not None:
        sizes = refiner.sizes
        picture_side, noise_side = side * sizes.factor, side * sizes.noise_scale
        with torch.device("meta"):
            pictures = torch.zeros(1, 3, picture_side, picture_side)
            noise = torch.zeros(1, sizes.planes, noise_side, noise_side)
        decode += _count(copy.deepcopy(refiner).to("meta"), pictures, inputs[0], noise)
    return {"unet_row": _count(bare, *inputs), "decode": decode}


@torch.no_grad()
def _count(function: Callable[..., Any], *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops())


def matrix_products() -> dict[str, MatrixProduct]:
    """Return the product of two square matrices for each number type.

    Types without instructions on this processor are left out, because their rate is no limit of the processor.
    """
    operations = 2 * SIDE**3
    floats = torch.randn(SIDE, SIDE)
    found: dict[str, Callable[[], torch.Tensor]] = {"float32": lambda: floats @ floats}
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        halves = floats.bfloat16()
        found["bfloat16"] = lambda: halves @ halves
    if torch.cpu._is_vnni_supported():
        whole = torch.randint(-128, 128, (SIDE, SIDE), dtype=torch.int8)
        found["int8"] = lambda: torch._int_mm(whole, whole)
    return {
        kind: MatrixProduct(System(f"matrix product {kind}", "torch", _timed(product), warms_up=True), operations)
        for kind, product in found.items()
    }


def _timed(product: Callable[[], torch.Tensor]) -> Callable[[], tuple[float, None]]:
    def run() -> tuple[float, None]:
        # The fastest product is the limit. The first ones after a rest find sleeping threads and cold caches.
        seconds = []
        for _ in range(PRODUCTS):
            began = time.perf_counter()
            product()
            seconds.append(time.perf_counter() - began)
        return min(seconds), None

    return run
