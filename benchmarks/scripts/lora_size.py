"""Measure what the changed weights of a class with a LoRA take in a bundle, at the shapes of Stable Diffusion 1.5.

    python -m benchmarks.scripts.lora_size [--rank 8] [--projections q,k,v,out] [--convolutions]

The weights and the LoRA are random numbers. Each shape is factorised once.
"""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from benchmarks.arguments import script_parser
from exporter.low_rank import factorise
from trainer.base.stable_diffusion import UNET
from trainer.lora.network import Lora

RELATIVE_CHANGE = 0.1
"""Size of the change relative to the weight."""


def shapes_of(projections: list[str], convolutions: bool) -> Counter[tuple[int, int]]:
    """Return how many changed weights have m rows of n numbers."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        lora = Lora(unet, 1, projections=projections, convolutions=convolutions)
    found = (change.tensors for change in lora.changes().values())
    return Counter((len(one["lora_up"]), one["lora_down"][0].numel()) for one in found)


def factors_of(rows: int, columns: int, rank: int) -> tuple[int, float]:
    """Return the bytes of the factors of a weight with a change of this rank, and the seconds of processor time."""
    rng = np.random.default_rng(0)
    scale = np.float32(columns**-0.5)
    weight = (scale * rng.standard_normal((rows, columns), np.float32)).astype(np.float16)
    change = rng.standard_normal((rows, rank), np.float32) @ rng.standard_normal((rank, columns), np.float32)
    wanted = (weight + np.float32(RELATIVE_CHANGE / rank**0.5) * scale * change).astype(np.float16)
    began = time.process_time()
    factors = factorise(wanted, weight)
    seconds = time.process_time() - began
    return (weight.nbytes if factors is None else factors.a.nbytes + factors.b.nbytes), seconds


def main() -> None:
    """Print the figures."""
    parser = script_parser("benchmarks.scripts.lora_size", __doc__)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--projections", default="q,k,v,out")
    parser.add_argument("--convolutions", action="store_true")
    asked = parser.parse_args()
    shapes = shapes_of(asked.projections.split(","), asked.convolutions)
    whole = sum(number * 2 * rows * columns for (rows, columns), number in shapes.items())
    stored, seconds = 0, 0.0
    for (rows, columns), number in shapes.items():
        size, took = factors_of(rows, columns, asked.rank)
        stored += number * size
        seconds += number * took
    print(
        f"rank {asked.rank}, {shapes.total()} weights: {whole / 1e6:.1f} MB whole, {stored / 1e6:.1f} MB as factors, "
        f"found in {seconds:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
