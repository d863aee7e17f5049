"""The training of the refiner, which draws grain behind a frozen decoder.

Reconstructed pictures are compared with their photographs by energy scores, because two draws differ in grain and only
their distribution can be right. Pictures that the UNet draws belong to no photograph. Their features, averaged over the
picture, are compared with those of all photographs of the class, and their coarse part has to stay as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from engine.progress import Progress
from trainer.base.base import digest_of
from trainer.base.refiner import Refiner
from trainer.pictures.dataset import PictureSet, to_model_range
from trainer.pretraining.energy import Blur, Draws, PixelScore, VectorSet, feature_scores
from trainer.pretraining.photograph_features import PhotographFeatures
from trainer.training.devices import Compute, draw_normal
from trainer.training.loop import Training, digest_parts
from trainer.training.settings import LoopSettings

__all__ = ["Crops", "GrainData", "GrainScore", "decode_set", "refine_pictures", "train_refiner"]

CROP = 64
"""Side in pixels of the crops, if the pictures are larger."""
DRAWN_WEIGHT, COARSE_WEIGHT = 0.5, 0.5
COARSE_SIGMA = 2.0
"""Deviation in pixels of the blur under which drawn pictures stay as they are."""
DRAWN_SHARE = 0.67
"""Drawn pictures per photograph in a step."""
BANK = 192
"""Crops of photographs of each class whose features drawn pictures are compared with."""
SAMPLE = 48
"""Crops of photographs by which features are standardised."""


@dataclass(frozen=True)
class GrainData:
    """What the refiner learns from. The rows of `latents` belong to those of `pictures`."""

    pictures: PictureSet
    latents: torch.Tensor
    """(N, C, h, w): latents of the pictures."""
    drawn: torch.Tensor
    """(M, C, h, w): latents that a UNet drew."""
    drawn_labels: torch.Tensor
    """(M,): the classes of the drawn latents."""


class Crops:
    """Cuts crops out of pictures and latents at the same places."""

    def __init__(self, side: int, factor: int, device: torch.device) -> None:
        self._side, self._factor, self._device = min(CROP, side) // factor * factor, factor, device
        self._places = (side - self._side) // factor + 1

    def __call__(
        self, arrays: list[torch.Tensor], rows: torch.Tensor, generator: torch.Generator
    ) -> list[torch.Tensor]:
        """Return crops of the rows of each array: pictures (N, 3, S, S) uint8 in [-1, 1], latents as they are."""
        places = torch.randint(self._places, (len(rows), 2), generator=generator).tolist()
        found = []
        for array in arrays:
            picture = array.dtype == torch.uint8
            unit, side = (self._factor, self._side) if picture else (1, self._side // self._factor)
            cut = torch.stack(
                [
                    array[row, :, y * unit : y * unit + side, x * unit : x * unit + side]
                    for row, (y, x) in zip(rows.tolist(), places, strict=True)
                ]
            ).to(self._device)
            found.append(to_model_range(cut) if picture else cut)
        return found


class GrainScore(nn.Module):
    """The energy scores of refined pictures, of pixels and of features."""

    def __init__(self, features: PhotographFeatures) -> None:
        super().__init__()
        self._features, self._pixels = features, PixelScore()

    def forward(
        self, both: torch.Tensor, plain: torch.Tensor, wanted: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Return a scalar.

        Args:
            both: (2 B, 3, S, S): two draws of each picture, first all first ones.
            plain: (B, 3, S, S), the pictures without grain.
            wanted: (B, 3, S, S), the photographs.
        """
        maps = [m.float() for m in self._features(both)]
        with torch.no_grad():
            wanted_maps = [m.float() for m in self._features(wanted)]
        first, second = both.chunk(2)
        return self._pixels(Draws(first, second, wanted), plain, generator) + feature_scores(maps, wanted_maps)


def refine_pictures(
    refiner: Refiner, pictures: torch.Tensor, latents: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Return decoded pictures (B, 3, S, S) of latents (B, C, h, w) with grain, differentiable by the refiner."""
    noise = draw_normal(refiner.noise_size(latents), generator, latents.device)
    refined: torch.Tensor = refiner(pictures, latents, noise)
    return refined.float()


def train_refiner(
    vae: AutoencoderKL,
    refiner: Refiner,
    material: GrainData,
    features: PhotographFeatures,
    settings: LoopSettings,
    folder: Path,
    compute: Compute,
    progress: Progress,
) -> dict[str, Any]:
    """Train the refiner and return the record. The VAE stays as it is. The classes come in equal shares.

    The loss is the energy scores of pixels and of features + DRAWN_WEIGHT times the energy distance between features of
    drawn pictures and of photographs + COARSE_WEIGHT times the change of the coarse part of drawn pictures.
    """
    data = material.pictures
    torch.manual_seed(settings.seed)
    decoded, drawn = (decode_set(vae, latents, compute) for latents in (material.latents, material.drawn))
    crops = Crops(data.size, refiner.settings.factor, compute.device)
    features, refiner = features.to(compute.device), refiner.to(compute.device).requires_grad_(True)
    score, coarse = GrainScore(features).to(compute.device), Blur(COARSE_SIGMA).to(compute.device)
    generator = torch.Generator().manual_seed(settings.seed)
    features.standardise(crops([data.pictures], data.draw_balanced(SAMPLE, generator), generator)[0])
    rows_of, drawn_rows_of = (_rows_of(labels) for labels in (data.labels, material.drawn_labels))
    banks = [VectorSet(_averages(features, crops, data.pictures, rows, generator)) for rows in rows_of]
    few = max(2, round(settings.batch_size * DRAWN_SHARE))

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = data.draw_balanced(settings.batch_size, generator)
        wanted, plain, latents = crops([data.pictures, decoded, material.latents], rows, generator)
        label = int(torch.randint(len(banks), (), generator=generator))
        rows = drawn_rows_of[label]
        chosen = rows[torch.randint(len(rows), (few,), generator=generator)]
        unpaired, unpaired_latents = crops([drawn, material.drawn], chosen, generator)
        with compute.autocast():
            both = refine_pictures(refiner, plain.repeat(2, 1, 1, 1), latents.repeat(2, 1, 1, 1), generator)
            refined = refine_pictures(refiner, unpaired, unpaired_latents, generator)
            loss = score(both, plain, wanted, generator)
            averages = _averaged([m.float() for m in features(refined)])
        loss = loss + DRAWN_WEIGHT * banks[label].distance_of(averages)
        return loss + COARSE_WEIGHT * (coarse(refined) - coarse(unpaired)).abs().mean()

    subject = digest_parts(data.pictures, data.labels, digest_of(vae), digest_of(refiner), compute.precision)
    training = Training("refiner", nn.ModuleDict({"refiner": refiner}), loss_of, settings, folder, subject=subject)
    return training.run(progress=progress)


@torch.no_grad()
def decode_set(vae: AutoencoderKL, latents: torch.Tensor, compute: Compute) -> torch.Tensor:
    """Return the pictures (N, 3, S, S) uint8 on the CPU of latents (N, C, h, w) in the UNet's scale."""
    vae.eval()
    found = []
    for part in latents.split(compute.pictures_at_once):
        with compute.autocast():
            pictures = vae.decode((part / vae.config.scaling_factor).to(vae.device)).sample.float()
        found.append(((pictures + 1) * 127.5).round().clamp(0, 255).byte().cpu())
    return torch.cat(found)


def _rows_of(labels: torch.Tensor) -> list[torch.Tensor]:
    """Return the rows of each class."""
    return [(labels == label).nonzero()[:, 0] for label in range(int(labels.max()) + 1)]


@torch.no_grad()
def _averages(
    features: PhotographFeatures,
    crops: Crops,
    pictures: torch.Tensor,
    rows: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the averaged features (BANK, D) of crops of the pictures in `rows`."""
    chosen = rows[torch.randint(len(rows), (BANK,), generator=generator)]
    parts = [crops([pictures], part, generator)[0] for part in chosen.split(SAMPLE)]
    return torch.cat([_averaged(features(part)) for part in parts])


def _averaged(maps: list[torch.Tensor]) -> torch.Tensor:
    """Return the maps' averages (B, D). Each map has the same weight in a sum of absolute differences."""
    return torch.cat([values.mean((2, 3)) / values.shape[1] for values in maps], 1)
