"""The exporter's blocks of JPEG: what the trainer's layer computes, for pictures of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exporter.jpeg import Jpeg, JpegGrid
from trainer.base import jpeg as trainers

GRIDS = [(1.96875, 2.0, 0.5), (1.0, 0.0, 0.0), (0.5, 7.25, 3.0)]


@pytest.mark.parametrize("values", GRIDS)
def test_it_computes_what_the_trainers_layer_does(values):
    wanted = trainers.Jpeg(trainers.JpegGrid(*values))
    wanted.steps.copy_(torch.arange(192).view(3, 8, 8) + 8)
    layer, generator = Jpeg(JpegGrid(*values), wanted.steps), torch.Generator().manual_seed(0)
    for shape in ((1, 3, 16, 24), (3, 3, 40, 8)):
        pictures = 1.2 * torch.rand(shape, generator=generator) - 0.6
        difference = (layer(pictures) - wanted(pictures)).abs().numpy()
        # Here and there, a coefficient lies between two steps.
        assert np.quantile(difference, 0.9) < 1e-4


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"left": 8}, {"top": -1}, {"scale": "two"}])
def test_a_grid_without_a_meaning_is_refused(wrong):
    with pytest.raises(ValueError, match=r"jpeg|could not convert"):
        JpegGrid.from_json({"scale": 1.0, "left": 0.0, "top": 0.0, **wrong})
