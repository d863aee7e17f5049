"""Enlarging for a hires fix, against PyTorch's interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.sampling.hires import UPSCALERS, Hires, enlarged_latents, enlarged_pictures

LATENTS = np.random.default_rng(0).standard_normal((2, 4, 6, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("upscaler", "mode", "antialias"),
    [("latent", "bilinear", False), ("latent-bicubic", "bicubic", True), ("latent-nearest", "nearest-exact", False)],
)
def test_latents_are_enlarged_as_torch_does(upscaler, mode, antialias):
    found = enlarged_latents(LATENTS, (10, 12), upscaler)
    wanted = torch.nn.functional.interpolate(torch.from_numpy(LATENTS), (12, 10), mode=mode, antialias=antialias)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_pictures_are_enlarged_by_a_filter():
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    pictures[:, :2] = 200
    large = enlarged_pictures(pictures, (8, 8), "nearest")
    assert large.shape == (2, 8, 8, 3)
    assert (large[:, :4] == 200).all()
    assert (large[:, 4:] == 0).all()
    assert len(np.unique(enlarged_pictures(pictures, (8, 8), "lanczos"))) > 2


def test_only_filters_of_pixels_need_the_decoder():
    needs = {name: Hires(64, 64, name, 4, 0.5).needs_pictures for name in UPSCALERS}
    assert needs == {name: not name.startswith("latent") for name in UPSCALERS}
