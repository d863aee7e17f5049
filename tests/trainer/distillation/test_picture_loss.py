"""The loss of pixels counts pixels, edges and tones."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from trainer.distillation.picture_loss import PictureLoss


def test_it_adds_differences_squares_edges_and_blurs():
    torch.manual_seed(0)
    d, wanted = torch.randn(2, 3, 24, 32), torch.rand(2, 3, 24, 32)
    plain = d.numpy()
    edges = sum(
        abs(first - second).mean()
        for first, second in (
            (plain[..., 1:], plain[..., :-1]),
            (plain[..., 1:, :], plain[..., :-1, :]),
        )
    )
    blurred = [gaussian_filter(plain, (0, 0, s, s), mode="mirror", truncate=3.001) for s in (1.5, 3, 6)]
    expected = abs(plain).mean() + 2 * (plain**2).mean() + edges + sum(abs(part).mean() for part in blurred)
    assert PictureLoss()(wanted + d, wanted).item() == pytest.approx(expected, rel=2e-3)


def test_an_error_of_tone_counts_more_than_one_of_single_pixels():
    wanted = torch.zeros(1, 3, 32, 32)
    tone = torch.full_like(wanted, 0.1)
    pixels = tone * (torch.arange(32) % 2 * 2 - 1)
    loss = PictureLoss()
    without_edges = loss(pixels, wanted) - 0.2
    assert loss(tone, wanted) > 2 * without_edges
