"""The refiner's part of a matching: its grain has to suit every picture of the base, not only those of few steps.

So it also refines what the default settings draw, whose statistics are compared with the photographs' too, and
reconstructed photographs, as in its first training. Of a class without photographs it keeps the grain that it drew
before.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL

from engine.errors import RequestError
from engine.progress import Progress
from trainer.base.base import digest_of
from trainer.base.refiner import REFINER_FILE, Refiner
from trainer.distillation.photographs import Photographs
from trainer.pictures.dataset import PictureSet, to_model_range
from trainer.pretraining.energy import Blur
from trainer.pretraining.grain import COARSE_SIGMA, Crops, GrainScore, decode_set, refine
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import Subject, run, start
from trainer.training.devices import Compute
from trainer.training.encoding import encode_set

__all__ = ["RefinerLoss", "share_refiner"]

DRAWN, RECONSTRUCTED = 64, 160
"""Pictures of each class that the default settings draw, and photographs of each class that are reconstructed."""
DRAWN_BATCH, CROPS = 5, 4
"""Drawn pictures, and crops of reconstructions, in a step."""
DRAWN_WEIGHT, COARSE_WEIGHT, SCORE_WEIGHT = 0.5, 0.5, 0.5


@dataclass(frozen=True)
class _Decoded:
    """Latents (N, C, h, w), their pictures without grain (N, 3, S, S) uint8, and photographs of this shape, if any."""

    latents: torch.Tensor
    plain: torch.Tensor
    photographs: torch.Tensor | None = None


class RefinerLoss:
    """What the refiner learns beside the pictures of few steps."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        pictures: PictureSet,
        photographs: Photographs,
        teacher: TeacherSettings,
        compute: Compute,
        progress: Progress,
    ) -> None:
        """teacher: what the default settings are, as `distill` knew them."""
        base = subjects[0].base
        refiner = base.refiner
        assert refiner is not None, "share_refiner refuses bases without a refiner"
        self._refiner, self._before = refiner, copy.deepcopy(refiner).requires_grad_(False)
        self._photographs, self._compute = photographs, compute
        self._score = GrainScore(photographs.features).to(compute.device)
        self._coarse = Blur(COARSE_SIGMA).to(compute.device)
        self._crops = Crops(base.picture_side, refiner.settings.factor, compute.device)
        self._drawn, self._reconstructed = {}, {}
        for place, subject in enumerate(subjects):
            self._drawn[subject.name] = _draw(subject, teacher, compute)
            if subject.name in photographs.learnt:
                mine = pictures.pictures[pictures.labels == pictures.class_names.index(subject.name)]
                self._reconstructed[subject.name] = _reconstruct(base.vae, mine, compute)
            progress("default settings", place + 1, len(subjects))

    def __call__(self, name: str, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of a batch of one class: a scalar."""
        drawn = self._drawn[name]
        rows = torch.randint(len(drawn.latents), (DRAWN_BATCH,), generator=generator)
        plain = to_model_range(drawn.plain[rows]).to(self._compute.device)
        latents = drawn.latents[rows].to(self._compute.device)
        if name not in self._photographs.learnt:
            with torch.no_grad():
                wanted = refine(self._before, plain, latents, generator)
            return self._score_of(plain, latents, wanted, generator)
        with self._compute.autocast():
            refined = refine(self._refiner, plain, latents, generator)
            distance = self._photographs.learnt[name].distance_of(self._photographs.vectors(refined))
        loss = DRAWN_WEIGHT * distance + COARSE_WEIGHT * (self._coarse(refined) - self._coarse(plain)).abs().mean()
        known = self._reconstructed[name]
        assert known.photographs is not None, "reconstructions have photographs"
        rows = torch.randint(len(known.latents), (CROPS,), generator=generator)
        wanted, plain, latents = self._crops([known.photographs, known.plain, known.latents], rows, generator)
        return loss + SCORE_WEIGHT * self._score_of(plain, latents, wanted, generator)

    def _score_of(
        self,
        plain: torch.Tensor,
        latents: torch.Tensor,
        wanted: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        with self._compute.autocast():
            both = refine(self._refiner, plain.repeat(2, 1, 1, 1), latents.repeat(2, 1, 1, 1), generator)
            return self._score(both, plain, wanted, generator)


def share_refiner(subjects: Sequence[Subject]) -> Refiner:
    """Give all subjects the refiner of the first one, in memory once, and return it.

    Raises RequestError if one has none, or another one.
    """
    refiner = subjects[0].base.refiner
    for subject in subjects:
        mine = subject.base.refiner
        if refiner is None or mine is None or digest_of(mine) != digest_of(refiner):
            raise RequestError(
                f"The merged folder of the class {subject.name}",
                found=f"no {REFINER_FILE}" if mine is None else f"another {REFINER_FILE} than {subjects[0].name} has",
                expected="one refiner for all classes, because a bundle has one decoder",
                fix="merge all classes from one base with a refiner, or leave out --train-refiner",
            )
        subject.base.refiner = refiner
    assert refiner is not None, "there is at least one subject"
    return refiner


@torch.no_grad()
def _draw(subject: Subject, teacher: TeacherSettings, compute: Compute) -> _Decoded:
    """Return DRAWN pictures as the teacher of the distillation draws them."""
    parameters, _ = start(subject.base.noise, teacher.teacher_steps, teacher, subject.base.card)
    config = subject.base.unet.config
    shape = (DRAWN, config.in_channels, config.sample_size, config.sample_size)
    noises = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with compute.autocast():
        latents = torch.cat(
            [run(parameters, subject, part.to(compute.device)) for part in noises.split(compute.pictures_at_once)]
        )
    return _Decoded(latents.float().cpu(), decode_set(subject.base.vae, latents.float(), compute))


def _reconstruct(vae: AutoencoderKL, pictures: torch.Tensor, compute: Compute) -> _Decoded:
    """Return at most RECONSTRUCTED of the photographs (N, 3, S, S) uint8, evenly spread, encoded and decoded."""
    chosen = pictures[torch.linspace(0, len(pictures) - 1, min(len(pictures), RECONSTRUCTED)).long()]
    latents = encode_set(vae, chosen, compute)
    return _Decoded(latents, decode_set(vae, latents, compute), chosen)
