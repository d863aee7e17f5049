"""Energy scores: they compare what a network draws at random with a photograph, without a critic.

For one input the network draws two pictures a and b. With y the photograph and f a transform, the loss is

    mean |f(a) - f(y)| / 2 + mean |f(b) - f(y)| / 2 - mean |f(a) - f(b)| / 2

Its expectation is smallest if the network draws from the distribution of photographs that have this input, as far as f
sees it: the score is proper (Gneiting and Raftery 2007, doi:10.1198/016214506000001437, section 4.2). A line that the
network invents differs from the photograph, so it is removed. Grain that differs from photograph to photograph becomes
noise of the right strength.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Blur", "Draws", "PixelScore", "VectorSet", "energy_score", "feature_scores"]

FILTERS = ((8, 1), (8, 3), (4, 5), (4, 9))
"""Number and side of the random linear filters."""
SIGMA = 1.4
"""Deviation in pixels of the Gaussian that the high-pass removes."""
CONTRAST, LEAST_CONTRAST = 0.1, 0.015
"""Contrast to which pale regions are raised, and the contrast below which they are not raised further."""
RANDOM_CHANNELS, AMPLIFICATION = 16, 8.0
RANDOM_WEIGHTS = (0.5, 2.0, 2.0)
"""Weights of random features: pixel by pixel, and of two layers averaged over AVERAGED x AVERAGED pixels."""
AVERAGED = 8
PIXEL_WEIGHT, WINDOW_WEIGHT, PICTURE_WEIGHT = 0.1, 0.25, 1.0
"""Weights of a map of features: pixel by pixel, averaged over windows, and averaged over the whole picture."""
WINDOW = 16
"""Side in pixels of the windows of a map with the pictures' resolution."""


@dataclass(frozen=True)
class Draws:
    """Two pictures drawn for the same input, and the photograph: (B, 3, S, S) in [-1, 1], or features of them."""

    first: torch.Tensor
    second: torch.Tensor
    wanted: torch.Tensor


def energy_score(draws: Draws) -> torch.Tensor:
    """Return the energy score of each value, averaged: a scalar."""
    a, b, y = draws.first, draws.second, draws.wanted
    return ((a - y).abs().mean() + (b - y).abs().mean() - (a - b).abs().mean()) / 2


class VectorSet:
    """A fixed set of vectors (M, D), whose own spread is measured once."""

    def __init__(self, vectors: torch.Tensor, norm: int = 1) -> None:
        """norm: 1 adds absolute differences, 2 is the Euclidean distance."""
        self._vectors, self._norm, self._spread = vectors, norm, _spread(vectors, norm)

    def distance_of(self, found: torch.Tensor) -> torch.Tensor:
        """Return the energy distance of another set (N, D) from this one: a scalar.

        The estimate has no bias (Székely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018), so it can be negative.
        """
        return (
            torch.cdist(found, self._vectors, p=self._norm).mean() - _spread(found, self._norm) / 2 - self._spread / 2
        )


def _spread(values: torch.Tensor, norm: int) -> torch.Tensor:
    """Return the mean distance between two different vectors of a set (N, D)."""
    return torch.cdist(values, values, p=norm).sum() / (len(values) * (len(values) - 1))


class Blur(nn.Module):
    """A Gaussian blur with reflected borders."""

    def __init__(self, sigma: float = SIGMA) -> None:
        super().__init__()
        self.radius = math.ceil(3 * sigma)
        places = torch.arange(-self.radius, self.radius + 1).float()
        kernel = torch.exp(-places.square() / (2 * sigma**2))
        self.kernel: torch.Tensor
        self.register_buffer("kernel", (kernel / kernel.sum()).expand(3, 1, 1, -1).clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        x = functional.pad(x, (self.radius,) * 4, mode="reflect")
        return functional.conv2d(functional.conv2d(x, self.kernel, groups=3), self.kernel.mT, groups=3)


class PixelScore(nn.Module):
    """Energy scores of random transforms of pixels; the transforms are new at each call.

    Half of them see the picture's high-pass, and half of these the high-pass with the grain of pale regions raised to
    the contrast of nuclei. Averages of random features say which kind of texture a place has, not where each grain is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blur = Blur()

    def forward(self, draws: Draws, decoded: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return a scalar. decoded: (B, 3, S, S), the pictures without grain, which set how much is raised.

        A score that is weighted by what the network is given remains proper.
        """
        device = decoded.device
        filters = [torch.randn(count, 3, side, side, generator=generator).to(device) for count, side in FILTERS]
        filters = [f / f.square().sum((1, 2, 3), keepdim=True).sqrt() for f in filters]
        gain = self._gain(decoded)
        a, b, y = draws.first, draws.second, draws.wanted
        score = (
            self._size(a - y, filters, gain) + self._size(b - y, filters, gain) - self._size(a - b, filters, gain)
        ) / 2
        raised = (self._high(torch.cat([a, b, y]))) * gain.repeat(3, 1, 1, 1)
        features = _random_features(raised, generator)
        for weight, values in zip(RANDOM_WEIGHTS, features, strict=True):
            first, second, wanted = values.chunk(3)
            score = score + weight * energy_score(Draws(first, second, wanted))
        return score

    def _high(self, x: torch.Tensor) -> torch.Tensor:
        return x - self.blur(x)

    def _size(self, difference: torch.Tensor, filters: list[torch.Tensor], gain: torch.Tensor) -> torch.Tensor:
        """Return the mean absolute response of differences (B, 3, S, S) to linear filters, plus that of patches."""
        high = self._high(difference)
        views = torch.cat([difference, high, high * gain])
        responses = sum(functional.conv2d(views, kernel).abs().mean() for kernel in filters)
        patches = functional.avg_pool2d((high * gain).square().sum(1, keepdim=True), 3, 1) * 9
        return 3 * responses + (patches + 1e-6).sqrt().mean()

    def _gain(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return (B, 1, S, S), by which pale regions are raised."""
        power = self._high(decoded).square().mean(1, keepdim=True)
        for _ in range(2):
            power = functional.avg_pool2d(power, 7, 1, padding=3, count_include_pad=False)
        return CONTRAST / (power.sqrt() + LEAST_CONTRAST)


def _random_features(high: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Return two random convolutions with ReLU of (B, 3, S, S): the second one by pixel, then both averaged.

    Half of the filters see brightness alone.
    """
    n, device = RANDOM_CHANNELS, high.device
    side = 3 + 2 * int(torch.randint(2, (), generator=generator))
    first = torch.randn(n, 3, side, side, generator=generator)
    first[::2] = first[::2].mean(1, keepdim=True) * 3**0.5
    first = first / (3 * side * side) ** 0.5
    second = torch.randn(n, n, 3, 3, generator=generator) / (9 * n) ** 0.5
    offsets = [scale * torch.randn(n, generator=generator) for scale in (0.7, 0.3)]
    h = functional.relu(functional.conv2d(AMPLIFICATION * high, first.to(device), offsets[0].to(device)))
    g = functional.conv2d(h, second.to(device), offsets[1].to(device))
    return g, *(functional.avg_pool2d(x, AVERAGED, AVERAGED // 2) for x in (h, functional.relu(g)))


def feature_scores(maps: list[torch.Tensor], wanted: list[torch.Tensor]) -> torch.Tensor:
    """Return the energy scores of maps of features, a scalar: by pixel, by window and by picture.

    The last map is averaged over the picture only. An average over a picture says how often a texture occurs, which is
    what a classifier of whole pictures sees.

    Args:
        maps: (2 B, C, h, w), of all first draws, then of all second ones.
        wanted: (B, C, h, w), of the photographs.
    """
    total = maps[0].new_zeros(())
    for i, (both, target) in enumerate(zip(maps, wanted, strict=True)):
        total = total + PICTURE_WEIGHT * energy_score(_pooled(both, target, both.shape[-1]))
        if i < len(maps) - 1:
            total = total + PIXEL_WEIGHT * energy_score(_pooled(both, target, 1))
            total = total + WINDOW_WEIGHT * energy_score(_pooled(both, target, max(2, WINDOW >> i)))
    return total


def _pooled(both: torch.Tensor, wanted: torch.Tensor, side: int) -> Draws:
    """Average maps (2 B, C, h, w) and (B, C, h, w) over half-overlapping windows of `side` x `side`."""
    if side > 1:
        both, wanted = (functional.avg_pool2d(x, side, max(1, side // 2)) for x in (both, wanted))
    first, second = both.chunk(2)
    return Draws(first, second, wanted)
