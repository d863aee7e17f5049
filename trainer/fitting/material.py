"""What a training of one class draws from: its pictures as latents, its captions, the order of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.errors import RequestError
from trainer.base.base import Base
from trainer.base.prompts import Captions, filewords_of
from trainer.fitting.latents import LATENT_SAMPLING, LatentSet, encode_posteriors, read_alpha
from trainer.pictures.dataset import PictureSet, read_set
from trainer.training.devices import Compute
from trainer.training.loop import LoopSettings
from trainer.training.objective import denoising_loss

__all__ = ["EpochOrder", "FitOptions", "Material", "read_training_set"]


@dataclass(frozen=True)
class FitOptions:
    """What changes a training beside its loop's settings. The defaults are the thesis's: none of it."""

    latent_sampling: str = "once"
    """One of LATENT_SAMPLING."""
    symmetries: bool = False
    """Every picture in the eight symmetries of the square."""
    snr_gamma: float | None = None
    templates: tuple[str, ...] | None = None
    """In place of the class's prompt."""
    shuffle_tags: bool = False
    tag_dropout: float = 0.0
    alpha_weight: bool = False

    def __post_init__(self) -> None:
        rules = {
            "--latent-sampling": (
                self.latent_sampling in LATENT_SAMPLING,
                self.latent_sampling,
                f"one of {', '.join(LATENT_SAMPLING)}",
            ),
            "--snr-gamma": (self.snr_gamma is None or self.snr_gamma > 0, self.snr_gamma, "above 0"),
            "--tag-dropout": (0 <= self.tag_dropout < 1, self.tag_dropout, "a probability below 1"),
        }
        for flag, (kept, found, expected) in rules.items():
            if not kept:
                raise RequestError(flag, found=str(found), expected=expected, fix="change it")


class EpochOrder:
    """Rows of a data set in epochs without repetition, each shuffled by (seed, epoch) alone."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._known: dict[int, torch.Tensor] = {}

    def batch(self, number: int) -> torch.Tensor:
        """The rows of the 0-based batch, which may reach over the end of an epoch."""
        places = range(number * self._batch_size, (number + 1) * self._batch_size)
        return torch.stack([self._epoch(place // self._rows)[place % self._rows] for place in places])

    def _epoch(self, epoch: int) -> torch.Tensor:
        if epoch not in self._known:
            # Batches move forward; one epoch back is all that a batch over an end needs.
            self._known = {known: order for known, order in self._known.items() if known >= epoch - 1}
            generator = torch.Generator().manual_seed((self._seed * 1_000_003 + epoch) % 2**63)
            self._known[epoch] = torch.randperm(self._rows, generator=generator)
        return self._known[epoch]


class Material:
    """Batches of one training. Everything that a checkpoint depends on here is in `subject`."""

    def __init__(
        self,
        base: Base,
        data: PictureSet,
        name: str,
        templates: tuple[str, ...],
        options: FitOptions,
        settings: LoopSettings,
        compute: Compute,
    ) -> None:
        """name: for [name]; templates: in the place of those that `options` lacks. Raises RequestError."""
        symmetries = range(8 if options.symmetries else 1)
        weights = read_alpha(data, symmetries, base.unet.config.sample_size) if options.alpha_weight else None
        self._scheduler, self._snr_gamma = base.scheduler, options.snr_gamma
        self.captions = Captions(
            name,
            options.templates or templates,
            tuple(filewords_of(path) for path in data.paths) * len(symmetries),
            options.shuffle_tags,
            options.tag_dropout,
        )
        self._latents = LatentSet(
            *encode_posteriors(base.vae, data.pictures, symmetries, compute.device),
            options.latent_sampling,
            weights,
            settings.seed,
        )
        self._order = EpochOrder(len(self._latents), settings.batch_size, settings.seed)
        self.subject: tuple[object, ...] = (
            data.pictures,
            str(self.captions.filewords),
            "" if weights is None else weights,
        )

    def __len__(self) -> int:
        return len(self._latents)

    def batch(self, number: int, generator: torch.Generator) -> tuple[torch.Tensor, list[str]]:
        """The rows of the 0-based batch, and a caption of each."""
        rows = self._order.batch(number)
        return rows, [self.captions.draw(int(row), generator) for row in rows]

    def loss(self, unet: Any, rows: torch.Tensor, context: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The loss of a batch; see trainer.training.objective."""
        weights = self._latents.weights
        return denoising_loss(
            unet,
            self._scheduler,
            self._latents.draw(rows, generator),
            context,
            generator,
            snr_gamma=self._snr_gamma,
            weights=None if weights is None else weights[rows],
        )


def read_training_set(base: Base, folder: Path) -> PictureSet:
    """Prepared pictures of one class, of the base's size. Raises RequestError."""
    data = read_set([folder])
    if len(data.class_names) != 1:
        raise RequestError(
            f"The picture folder {folder}",
            found=f"{len(data.class_names)} classes: {', '.join(data.class_names)}",
            expected="pictures of one class",
            fix=f"name one of its sub-folders, such as {folder / data.class_names[0]}",
        )
    if data.size != base.picture_side:
        raise RequestError(
            f"The pictures of {folder}",
            found=f"{data.size} x {data.size} pixels",
            expected=f"{base.picture_side} x {base.picture_side}, the base's size",
            fix=f"prepare them with --size {base.picture_side}",
        )
    return data
