"""The nearest prompt and crop, by how well the base removes noise."""

from __future__ import annotations

import pytest
import torch

from trainer.base.base import open_base
from trainer.fitting.nearest import losses_by_prompt, nearest
from trainer.pictures.phantom import draw
from trainer.training.devices import Compute


def test_of_drawn_smears_the_base_that_ships_knows_the_prompt_and_the_framing():
    """The embedded base learnt general phantoms of 128 pixels under the prompt "cytology"."""
    base = open_base("cells")
    whole = torch.stack([torch.from_numpy(draw("cytology", 7_000_000 + seed, 128)[0].copy()) for seed in range(4)])
    whole = whole.permute(0, 3, 1, 2).contiguous()
    enlarged = torch.nn.functional.interpolate(whole[..., 20:108, 20:108].float(), size=128, mode="bilinear").byte()
    found = nearest(base, {1.0: whole, 0.6875: enlarged}, ["neutrophil", "cytology"], Compute())
    assert (found.prompt, found.crop) == ("cytology", 1.0)
    assert found.loss(1.0) < found.loss(0.6875)


def test_equal_requests_give_equal_losses(base):
    pictures = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    losses = [losses_by_prompt(base, pictures, ["cyt mast", "neutrophil"], Compute()) for _ in range(2)]
    assert losses[0] == losses[1]
    alone = losses_by_prompt(base, pictures, ["neutrophil"], Compute())
    assert alone["neutrophil"] == pytest.approx(losses[0]["neutrophil"])
