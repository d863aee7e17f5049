"""`match-decoder`: train a small decoder further, until its refined pictures have the statistics of photographs.

A small decoder cannot draw what the VAE's decoder draws pixel by pixel, and the refiner was trained behind the VAE's.
What is left is a small error that all pictures have in common. `shrink` compares picture with picture and hardly sees
it; the whitened statistics of `refine` do. An anchor keeps each picture near that of the VAE's decoder.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from engine.progress import Progress, silent
from trainer.base.base import digest_of
from trainer.base.refiner import Refiner
from trainer.base.small_decoder import SmallDecoder, write_small_decoder
from trainer.distillation.distilled import Distilled
from trainer.distillation.drawing import FEW_STEPS, Drawing
from trainer.distillation.offsets import Offsets
from trainer.distillation.photographs import Photographs, expect_fitting
from trainer.distillation.picture_loss import PictureLoss
from trainer.distillation.refine import finished, share_refiner
from trainer.distillation.settings import MatchDecoderSettings
from trainer.distillation.shrink import Pairs, draw, expect_one_vae, pairs_of, psnr_db
from trainer.pictures.dataset import PictureSet
from trainer.pretraining.likeness import compare
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import Subject, freeze
from trainer.training.devices import Compute
from trainer.training.loop import Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.record import write_record

__all__ = ["MatchDecoderRequest", "match_decoder"]

DISTANCE_WEIGHT, OFFSET_WEIGHT, LIKENESS_WEIGHT = 0.5, 0.2, 1.5
"""Weights of the energy distance and of the offset of drawn pictures, and of features and texture in the anchor."""


@dataclass(frozen=True)
class MatchDecoderRequest:
    """A request to match what a small decoder draws with photographs.

    few_steps: the LoRA of the preset that draws with the decoder. trained: the record of the decoder's training so far.
    """

    outputs: Outputs
    decoder: SmallDecoder
    few_steps: Distilled
    settings: MatchDecoderSettings
    compute: Compute
    trained: Mapping[str, Any]
    stop: threading.Event | None = None
    progress: Progress = silent


def match_decoder(subjects: Sequence[Subject], pictures: PictureSet, request: MatchDecoderRequest) -> dict[str, Any]:
    """Train the small decoder for all subjects; write it and its record. Return the record.

    Raises RequestError if the classes have no common VAE and refiner, or if the photographs or a checkpoint do not fit,
    and CytosynthError if the loss is not finite.
    """
    settings, compute, outputs, decoder = request.settings, request.compute, request.outputs, request.decoder
    expect_one_vae(subjects)
    expect_fitting(pictures, subjects)
    refiner = share_refiner(subjects) if any(subject.base.refiner for subject in subjects) else None
    lora = request.few_steps.network(subjects[0])
    subject_of_training = digest_parts(
        *(digest_of(subject.base.unet) for subject in subjects),
        *(digest_of(part) for part in (subjects[0].base.vae, decoder, lora, *filter(None, [refiner]))),
        pictures.pictures,
        pictures.labels,
        settings,
        compute.precision,
    )
    freeze(subjects, compute)
    decoder.to(compute.device, memory_format=torch.channels_last).requires_grad_(True)  # type: ignore[call-overload]
    loss = _Loss(subjects, pictures, refiner, request)
    before = loss.distances()
    training = Training(
        outputs.name,
        nn.ModuleDict({"decoder": decoder, "offsets": loss.offsets}),
        loss,
        settings.loop(),
        outputs.checkpoints,
        subject=subject_of_training,
    )
    facts = training.run(progress=request.progress, stop=request.stop)
    record = {
        **request.trained,
        "psnr_db": {FEW_STEPS: {name: psnr_db(decoder, pairs, compute) for name, pairs in loss.judged.items()}},
        "matching": {
            "distances_before": before,
            "distances": loss.distances(),
            "photographs": pictures.counts,
            "settings": asdict(settings),
            "compute": compute.as_json(),
            "training": facts,
        },
    }
    write_small_decoder(decoder, outputs.weights)
    write_record(outputs.record, **record)
    return record


class _Loss:
    """The loss of a batch of drawn pictures of one class: classes take turns."""

    def __init__(
        self, subjects: Sequence[Subject], pictures: PictureSet, refiner: Refiner | None, request: MatchDecoderRequest
    ) -> None:
        settings, compute = request.settings, request.compute
        self._decoder, self._settings, self._compute = request.decoder, settings, compute
        self._refiner = None if refiner is None else refiner.to(compute.device).requires_grad_(False)
        self._pixels = PictureLoss().to(compute.device)
        self._distance = open_perceptual_distance().to(compute.device)
        generator = torch.Generator().manual_seed(settings.seed)
        self._photographs = Photographs(pictures, True, compute, generator, request.progress)
        self.offsets = Offsets(list(self._photographs.learnt), self._photographs.directions).to(compute.device)
        drawing = Drawing(TeacherSettings(), request.few_steps, compute)
        self._learnt: dict[str, Pairs] = {}
        self.judged: dict[str, Pairs] = {}
        for place, subject in enumerate(subjects):
            latents = drawing.draw(FEW_STEPS, subject, settings.pictures, settings.seed)
            pairs = pairs_of(subject.base.vae, latents, compute)
            self._learnt[subject.name], self.judged[subject.name] = pairs.split()
            request.progress("drawn pictures", place + 1, len(subjects))

    def __call__(self, number: int, generator: torch.Generator) -> torch.Tensor:
        names = list(self._learnt)
        name = names[number % len(names)]
        pairs, count = self._learnt[name], self._settings.batch_size
        rows = torch.randint(len(pairs.latents), (count,), generator=generator)
        wanted = pairs.pictures[rows].to(self._compute.device).float()
        found = draw(self._decoder, pairs.latents[rows], self._compute)
        noise = int(torch.randint(2**62, (), generator=generator))
        refined = self._finished(found, pairs.latents[rows], noise)
        with torch.no_grad():
            target = self._finished(wanted, pairs.latents[rows], noise)
        compared = compare(
            self._distance, refined, target, paired=count, generator=generator, compute=self._compute
        ).loss
        loss = self._settings.anchor_weight * (self._pixels(found, wanted) + LIKENESS_WEIGHT * compared)
        if name in self._photographs.learnt:
            distance, offsets = self._photographs.compare(name, refined)
            loss = loss + DISTANCE_WEIGHT * distance + OFFSET_WEIGHT * self.offsets(name, offsets)
        return loss

    def _finished(self, pictures: torch.Tensor, latents: torch.Tensor, seed: int) -> torch.Tensor:
        """Return decoded pictures (B, 3, S, S) as the preset shows them, with grain of this seed and blocks of JPEG."""
        generator = torch.Generator().manual_seed(seed)
        with self._compute.autocast():
            return finished(self._refiner, pictures, latents.to(self._compute.device), generator)

    @torch.no_grad()
    def distances(self) -> dict[str, float]:
        """Return the energy distance of pictures from the photographs that only judge, by class."""
        found = {}
        for name, judged in self._photographs.judged.items():
            vectors = []
            for latents in self.judged[name].latents.split(self._compute.pictures_at_once):
                pictures = draw(self._decoder, latents, self._compute)
                vectors.append(self._photographs.vectors(self._finished(pictures, latents, self._settings.seed)))
            found[name] = judged.distance_of(torch.cat(vectors)).item()
        return found
