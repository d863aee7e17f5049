"""The likeness of a picture and its target, in one window."""

from __future__ import annotations

import torch

from trainer.pretraining.likeness import MAPS, compare, texture_maps
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.training.devices import Compute


def test_a_picture_is_like_itself_and_the_window_has_half_of_the_side():
    distance, wanted = open_perceptual_distance(), torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))

    def comparison(found):
        generator = torch.Generator().manual_seed(1)
        return compare(distance, found, wanted, paired=1, generator=generator, compute=Compute())

    same = comparison(wanted)
    assert same.found.shape == same.wanted.shape == (2, 3, 40, 40)
    assert len(same.found_maps) == len(same.wanted_maps) == len(texture_maps(distance, wanted)) == 2 * MAPS
    assert abs(float(same.loss)) < 1e-5
    noise = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(2))
    assert float(comparison(wanted + 0.3 * noise).loss) > float(comparison(wanted + 0.1 * noise).loss) > 0.01
