"""What the training of one class draws from: its pictures as latents, its captions, and their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engine.errors import RequestError
from trainer.base.base import Base
from trainer.base.caption_files import filewords_of
from trainer.base.prompts import Captions
from trainer.fitting.latents import LatentSet, encode_posteriors, read_alpha
from trainer.fitting.settings import FitOptions
from trainer.pictures.dataset import PictureSet, read_set
from trainer.training.devices import Compute
from trainer.training.objective import denoising_loss
from trainer.training.settings import LoopSettings

__all__ = ["EpochOrder", "Material", "read_training_set"]


class EpochOrder:
    """Order of the rows of a data set: epochs without repetition, each shuffled by its seed and number only."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._known: dict[int, torch.Tensor] = {}

    def batch(self, number: int) -> torch.Tensor:
        """Return the rows of a batch, counted from 0. A batch may contain the end of an epoch."""
        places = range(number * self._batch_size, (number + 1) * self._batch_size)
        return torch.stack([self._epoch(place // self._rows)[place % self._rows] for place in places])

    def _epoch(self, epoch: int) -> torch.Tensor:
        if epoch not in self._known:
            # Batches move forward, so a batch needs the previous epoch at most.
            self._known = {known: order for known, order in self._known.items() if known >= epoch - 1}
            generator = torch.Generator().manual_seed((self._seed * 1_000_003 + epoch) % 2**63)
            self._known[epoch] = torch.randperm(self._rows, generator=generator)
        return self._known[epoch]


class Material:
    """Batches of one training. `subject` holds what a checkpoint depends on: pictures, file words and loss weights."""

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
        """Encode the pictures. Raises RequestError.

        name: text for [name]. templates: used if `options` has none.
        """
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
        """Return the rows of a batch, counted from 0, and a caption for each row."""
        rows = self._order.batch(number)
        return rows, [self.captions.draw(int(row), generator) for row in rows]

    def loss(self, unet: Any, rows: torch.Tensor, context: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of a batch; see trainer.training.objective."""
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
    """Return prepared pictures of one class. Raises RequestError if their size is not the base's."""
    data = read_set([folder])
    if len(data.class_names) != 1:
        raise RequestError(
            f"The picture folder {folder}",
            found=f"{len(data.class_names)} classes: {', '.join(data.class_names)}",
            expected="pictures of one class",
            fix=f"choose one of its subfolders, such as {folder / data.class_names[0]}",
        )
    if data.size != base.picture_side:
        raise RequestError(
            f"The pictures of {folder}",
            found=f"{data.size} x {data.size} pixels",
            expected=f"{base.picture_side} x {base.picture_side}, the size of the base",
            fix=f"prepare the pictures with --size {base.picture_side}",
        )
    return data
