"""Counted operations equal those that torch counts while it computes."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.operations import count_operations
from exporter.load import load_merged


def test_operations_are_those_that_torch_counts_while_it_computes(whole_path):
    merged = load_merged(whole_path / "merged/cyt_mast")
    counted = count_operations(merged.unet, merged.vae, None, 8)
    latents, context = torch.zeros(3, 4, 8, 8), torch.zeros(3, 8, 16)
    # The fused attention of a CPU is no operation that torch counts.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        merged.unet(latents, 5, context)
    assert counter.get_total_flops() == 3 * counted["unet_row"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        merged.vae.decode(latents[:2])
    assert counter.get_total_flops() == 2 * counted["decode"]


def test_a_refiner_is_part_of_the_decoding(stochastic):
    merged = load_merged(stochastic / "merged/cyt_mast")
    plain, refined = (
        count_operations(merged.unet, merged.vae, refiner, 8)["decode"] for refiner in (None, merged.refiner)
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        merged.refiner(
            torch.zeros(1, 3, 32, 32), torch.zeros(1, 4, 8, 8), torch.zeros(1, merged.refiner.sizes.planes, 16, 16)
        )
    assert counter.get_total_flops() == refined - plain > 0
