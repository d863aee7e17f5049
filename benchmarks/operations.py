"""How many operations a picture needs, and how many a second this machine's matrix units can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.rounds import System

__all__ = ["SIDE", "MatrixProduct", "count_operations", "matrix_products"]

PRODUCTS = 20
"""Of a round, of which the fastest counts."""
SIDE = 1024
"""Of the matrices: large enough that memory is no limit, small enough for a fraction of a second."""


@dataclass(frozen=True)
class MatrixProduct:
    """Something to time, and how many operations it is."""

    system: System
    operations: int


def count_operations(unet: UNet2DConditionModel, vae: AutoencoderKL, tokens: int) -> dict[str, int]:
    """Operations of one row of the UNet and of one decoding at the models' own size, a multiply-add being two, counted
    by torch: matrix products, attention and convolutions, nothing else. Nothing is computed."""
    side, channels = unet.config.sample_size, unet.config.in_channels
    with torch.device("meta"):
        shapes = (1, channels, side, side), (1,), (1, tokens, unet.config.cross_attention_dim)
        inputs = [torch.zeros(shape) for shape in shapes]
        bare, decoder = UNet2DConditionModel.from_config(unet.config), AutoencoderKL.from_config(vae.config)
    return {"unet_row": _count(bare, *inputs), "decode": _count(decoder.decode, inputs[0])}


@torch.no_grad()
def _count(function: Callable[..., Any], *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops())


def matrix_products() -> dict[str, MatrixProduct]:
    """The product of two square matrices, by the type of their values. Types that this processor has no
    instructions for are left out: their rate would say nothing about a limit."""
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
        kind: MatrixProduct(System(f"matrix product {kind}", _timed(product), warms_up=True), operations)
        for kind, product in found.items()
    }


def _timed(product: Callable[[], torch.Tensor]) -> Callable[[], tuple[float, None]]:
    def run() -> tuple[float, None]:
        # A limit is the fastest that is seen: the first products after a rest find threads asleep and caches cold.
        seconds = []
        for _ in range(PRODUCTS):
            began = time.perf_counter()
            product()
            seconds.append(time.perf_counter() - began)
        return min(seconds), None

    return run
