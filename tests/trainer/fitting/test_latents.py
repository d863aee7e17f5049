"""Latents of a training set: sampling, and weights from the alpha channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainer.fitting.examples import SHORT, weights
from trainer.fitting.latents import LatentSet, read_alpha


def test_latents_are_sampled_once_never_or_always():
    mean, std = torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2)
    rows, generator = torch.arange(4), torch.Generator().manual_seed(0)
    for sampling, moves, spread in (("once", False, True), ("deterministic", False, False), ("random", True, True)):
        latents = LatentSet(mean, std, sampling, None, 0)
        one, two = latents.draw(rows, generator), latents.draw(rows, generator)
        assert bool((one != two).any()) == moves
        assert bool(one.any()) == spread


@pytest.mark.slow
def test_alpha_weighs_the_loss_as_the_webui_does(tmp_path, fit_it, whole_path):
    class Data:
        paths = []  # noqa: RUF012

    pixels = np.full((32, 32, 4), 200, np.uint8)
    pixels[:, :16, 3], pixels[:, 16:, 3] = 55, 255
    (tmp_path / "c").mkdir()
    for i in range(4):
        Image.fromarray(pixels).save(tmp_path / f"c/{i}.png")
        Data.paths.append(tmp_path / f"c/{i}.png")
    found = read_alpha(Data, range(1), 8)
    assert found.shape == (4, 1, 8, 8)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.ones(4))
    assert found[0, 0, :, 0].max() == 0
    torch.testing.assert_close(found[0, 0, :, -1], torch.full((8,), found[0, 0, 0, -1].item()))
    assert fit_it("plain", *SHORT, data=tmp_path / "c").returncode == 0
    assert fit_it("weighed", *SHORT, "--alpha-weight", data=tmp_path / "c").returncode == 0
    one, two = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("plain", "weighed"))
    assert any((one[name] != two[name]).any() for name in one)
