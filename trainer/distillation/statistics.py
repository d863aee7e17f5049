"""Statistics of pictures by which drawn pictures are compared with photographs.

They are the mean and the deviation of each channel of five maps of EfficientNet-Lite1. Whitened, three groups of plain
numbers join them: the spectrum, the sizes of gradients, and the contrast at even and odd places, in which networks that
enlarge by 2 leave a lattice. A classifier finds directions in which pictures of one class hardly differ: there a small
fault is a large one. Whitened, every direction counts by its own spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from trainer.pretraining.photograph_features import PhotographFeatures
from trainer.training.devices import Compute

__all__ = ["Statistics", "as_shown", "gradients", "places", "spectrum"]

COLOURS = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (-0.25, -0.25, 0.5))
"""Luma, and red against green, and blue against both."""
RINGS = 16
"""Rings of equal width between 0 and 0.5 cycles per pixel."""
LEAST_POWER = 1e-4
EDGES = (1, 1.5, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64)
"""Bounds of gradients in grey levels per pixel."""
SHARPNESS, LEAST_GRADIENT, LEAST_PART = 6.0, 0.05, 3e-4
"""Steepness of a bound, the squared gradient that is added to each, and the part of pixels that is added to each."""
LEAST_CONTRAST = 1e-5
KEPT = 400
"""Most directions that are kept of a block: those with the largest variance. Only the last map has more."""
LEAST_SHARE, LEAST_VARIANCE = 1e-3, 1e-4
"""Added to each spread, as a share of all, and to each variance, as a share of the largest."""
WHITENED_WEIGHT, PLAIN_WEIGHTS = 3.0, (1.0, 0.5, 0.5)
"""Weights of all whitened maps together, and of spectrum, gradients and places. The maps as they are have 1 each."""


def spectrum(pictures: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the mean power (B, 3 RINGS) in rings of each colour of pictures (B, 3, S, S).

    A Hann window removes the edges of the picture.
    """
    side, colours = pictures.shape[-1], _colours(pictures)
    window = torch.hann_window(side, periodic=False).to(pictures)
    waves = torch.fft.rfft2((colours - colours.mean((2, 3), keepdim=True)) * window[:, None] * window)
    power = (waves.real.square() + waves.imag.square()).flatten(2)
    return (power @ _rings(side).to(power) + LEAST_POWER).log().flatten(1)


def gradients(pictures: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the part of pixels whose gradient is above each of EDGES, by colour: (B, 3 len(EDGES)).

    Gradients are half the difference of both neighbours. The bounds are soft, so that they have a gradient themselves.
    """
    rows, columns = torch.gradient(127.5 * _colours(pictures), dim=(2, 3))
    sizes = (rows.square() + columns.square() + LEAST_GRADIENT).log() / 2
    above = [((sizes - math.log(edge)) * SHARPNESS).sigmoid().mean((2, 3)) for edge in EDGES]
    return (torch.stack(above, -1) + LEAST_PART).log().flatten(1)


def places(pictures: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of mean squared contrasts at even and odd places, by colour: (B, 24).

    The contrasts are the Laplacian at the four places of squares of 2 x 2 pixels, and the differences of neighbours in
    rows and columns at even and odd places.
    """
    colours = _colours(pictures)
    inner = colours[:, :, 1:-1, 1:-1]
    beside = colours[:, :, :-2, 1:-1] + colours[:, :, 2:, 1:-1] + colours[:, :, 1:-1, :-2] + colours[:, :, 1:-1, 2:]
    laplacian = 4 * inner - beside
    found = [laplacian[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    # An odd number of differences: the last one is left out, so that even and odd places are as many.
    found += [colours.diff(dim=3)[..., i:-1:2] for i in (0, 1)]
    found += [colours.diff(dim=2)[:, :, i:-1:2] for i in (0, 1)]
    return (torch.cat([one.square().mean((2, 3)) for one in found], 1) + LEAST_CONTRAST).log()


def _colours(pictures: torch.Tensor) -> torch.Tensor:
    return torch.einsum("kc,bchw->bkhw", torch.tensor(COLOURS).to(pictures), pictures)


def as_shown(pictures: torch.Tensor) -> torch.Tensor:
    """Return pictures in [-1, 1], clipped and rounded to the 256 levels of a file, as photographs are.

    The gradient goes through the rounding as if it were not there (Bengio et al. 2013, arXiv:1308.3432).
    """
    clipped = pictures.clamp(-1, 1)
    return clipped + (((clipped + 1) * 127.5).round() / 127.5 - 1 - clipped).detach()


def _rings(side: int) -> torch.Tensor:
    """Return the weights (S (S / 2 + 1), RINGS) with which the waves of a real picture make the mean of each ring."""
    lengths = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]).flatten()
    # A wave stands for two, except those of the first and the last column.
    counts = torch.full((side, side // 2 + 1), 2.0)
    counts[:, 0] = counts[:, -1] = 1
    inside = (lengths > 0) & (lengths < 0.5)
    places = (lengths * 2 * RINGS).long().clamp(max=RINGS - 1)
    weights = torch.nn.functional.one_hot(places, RINGS) * (counts.flatten() * inside)[:, None]
    return weights / weights.sum(0).clamp(min=1)


class Statistics:
    """Turns pictures into vectors, whose absolute differences are summed."""

    def __init__(self, features: PhotographFeatures, *, whitened: bool, compute: Compute) -> None:
        """whitened: `whiten` will be called. The statistics then see the pictures as a file shows them.

        compute: precision of the features. All that follows is computed in float32, because whitening enlarges small
        differences.
        """
        self._features, self._whitened, self._compute = features, whitened, compute
        self._whitenings: list[torch.Tensor] = []

    def blocks(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return a vector (B, D) for each map of features of pictures (B, 3, S, S) in [-1, 1].

        If they are to be whitened, spectrum, gradients and places are the last three.
        """
        pictures = as_shown(pictures.float()) if self._whitened else pictures
        with self._compute.autocast():
            maps = [values.float() for values in self._features(pictures)]
        found = [torch.cat([m.mean((2, 3)), m.std((2, 3))], 1) for m in maps]
        return [*found, spectrum(pictures), gradients(pictures), places(pictures)] if self._whitened else found

    def whiten(self, classes: Sequence[Sequence[torch.Tensor]]) -> None:
        """Learn from the blocks of each class's photographs how pictures of one class differ."""
        self._whitenings = []
        for block in zip(*classes, strict=True):
            centred = torch.cat([one - one.mean(0) for one in block])
            scale = centred.std(0) + LEAST_SHARE * centred.std()
            # So many vectors with so many means known span no more directions.
            kept = max(1, min(KEPT, len(centred) - len(block)))
            _, spreads, directions = torch.linalg.svd(centred / scale, full_matrices=False)
            variances = spreads[:kept].square() / len(centred)
            whitening = directions[:kept] / (variances + LEAST_VARIANCE * variances[0]).sqrt()[:, None] / scale
            self._whitenings.append(whitening.T)

    def whitened(self, blocks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the blocks (B, D) along the directions of the photographs' spread, divided by the spread there."""
        return [block @ whitening for block, whitening in zip(blocks, self._whitenings, strict=True)]

    def vectors(self, blocks: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the blocks (B, D) as one vector each: (B, E). All maps have the same weight."""
        if not self._whitened:
            return torch.cat([one * 2 / one.shape[1] for one in blocks], 1)
        maps = blocks[: -len(PLAIN_WEIGHTS)]
        weights = [*([WHITENED_WEIGHT / len(maps)] * len(maps)), *PLAIN_WEIGHTS]
        found = [one * 2 / one.shape[1] for one in maps]
        found += [one * weight / one.shape[1] for one, weight in zip(self.whitened(blocks), weights, strict=True)]
        return torch.cat(found, 1)
