"""`match`: train a distilled LoRA further, until what it draws has the features of photographs.

Distillation can only come near its teacher. Here the pictures themselves are judged, by the energy distance between
features of drawn pictures and of photographs of the class, as in the training of the refiner. With few rows, the
gradient can go through the decoder and all rows, as Clark et al. (2024), arXiv:2309.17400, do for rewards. An anchor
keeps the latents near those that the LoRA began with; a class without photographs has only the anchor.

The LoRA may learn to do with fewer rows at the same time. The anchor is then what it drew with all of its rows.

Features of everyday pictures hardly see how strong granules are. Classifiers of the photographs themselves do, so their
features may join: their energy distance, and their offset, averaged over many steps.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from engine.progress import Progress, silent
from trainer.base.base import digest_of
from trainer.base.refiner import decode
from trainer.base.small_decoder import SmallDecoder
from trainer.distillation.class_features import ClassFeatures, Teaching
from trainer.distillation.distilled import Distilled, FewSteps
from trainer.distillation.offsets import Offsets
from trainer.distillation.photographs import Photographs, expect_fitting
from trainer.distillation.refine import finished
from trainer.distillation.settings import MatchSettings
from trainer.distillation.shrink import draw
from trainer.distillation.student import Student
from trainer.lora.files import LoraFile, write_lora
from trainer.lora.network import Lora
from trainer.pictures.dataset import PictureSet
from trainer.tables.subjects import Subject, freeze, relative
from trainer.training.devices import Compute
from trainer.training.loop import Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.record import write_record

__all__ = ["MatchRequest", "match"]

JUDGED = 32
"""Drawn pictures of each class by which the result is judged."""
OFFSET_SHARE = 2.0
"""Weight of the offset of class features, as a multiple of that of their energy distance."""


@dataclass(frozen=True)
class MatchRequest:
    """A request to match what a distilled LoRA draws with photographs.

    decoder: the small decoder of the preset, if it has one.
    """

    outputs: Outputs
    distilled: Distilled
    settings: MatchSettings
    compute: Compute
    decoder: SmallDecoder | None = None
    stop: threading.Event | None = None
    progress: Progress = silent


def match(subjects: Sequence[Subject], pictures: PictureSet, request: MatchRequest) -> dict[str, Any]:
    """Train the LoRA for all subjects; write it and its record, which keeps the table. Return the record.

    Raises RequestError if the photographs or a checkpoint do not fit, and CytosynthError if the loss is not finite.
    """
    settings, compute, outputs, distilled = request.settings, request.compute, request.outputs, request.distilled
    expect_fitting(pictures, subjects)
    lora, before = (distilled.network(subjects[0]).to(compute.device) for _ in range(2))
    before.requires_grad_(False)
    known = Student.of(distilled.table, compute.device)
    student = known if settings.rows is None else known.shortened(settings.rows, subjects[0], compute.device)
    parts = (subjects[0].base.vae, lora, *filter(None, [request.decoder]))
    subject_of_training = digest_parts(
        *(digest_of(subject.base.unet) for subject in subjects),
        *(digest_of(part) for part in parts),
        pictures.pictures,
        pictures.labels,
        settings.anchor_weight,
        settings.class_weight,
        student.sigmas,
        compute.precision,
    )
    freeze(subjects, compute)
    earlier, drawing = FewSteps(known, compute), FewSteps(student, compute)
    likeness = _Likeness(pictures, request)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        subject = subjects[number % len(subjects)]
        first = drawing.first(subject, settings.batch_size, generator)
        with torch.no_grad():
            wanted = earlier.end(subject, before, first)
        found = drawing.end(subject, lora, first)
        loss = settings.anchor_weight * relative(found, wanted)
        if subject.name in pictures.class_names:
            loss = loss + likeness(subject, found, generator)
        return loss

    network = nn.ModuleDict({"lora": lora, **likeness.remembered})
    training = Training(
        outputs.name, network, loss_of, settings.loop(), outputs.checkpoints, subject=subject_of_training
    )
    facts = training.run(progress=request.progress, stop=request.stop)
    judged = [subject for subject in subjects if subject.name in pictures.class_names]
    distances = [likeness.judge(judged, way, one) for way, one in ((earlier, before), (drawing, lora))]
    record = {
        **distilled.record,
        "rows": student.table.as_json(),
        "evaluations": len(student.table.rows),
        "matching": {
            "distances_before": distances[0],
            "distances": distances[1],
            "photographs": pictures.counts,
            "small_decoder": None if request.decoder is None else digest_of(request.decoder),
            "settings": asdict(settings),
            "compute": compute.as_json(),
            "training": facts,
        },
    }
    write_lora(outputs.weights, LoraFile(lora.changes(), outputs.name, facts["steps_done"]))
    write_record(outputs.record, **record)
    return record


class _Likeness:
    """How far the pictures of latents are from photographs of their class."""

    def __init__(self, pictures: PictureSet, request: MatchRequest) -> None:
        settings, self._compute = request.settings, request.compute
        self._settings = settings
        self._decoder = request.decoder
        if self._decoder is not None:
            self._decoder.to(self._compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.remembered: dict[str, Offsets] = {}
        """What a checkpoint has to keep."""
        self._classes = None
        if settings.class_weight:
            teaching = Teaching(
                request.outputs.checkpoints, settings.seed, request.compute, request.stop, request.progress
            )
            self._classes = ClassFeatures(pictures, teaching)
            self.remembered["offsets"] = Offsets(pictures.class_names, [self._classes.size])
            self.remembered["offsets"].to(self._compute.device)
        generator = torch.Generator().manual_seed(settings.seed)
        self._photographs = Photographs(pictures, False, self._compute, generator, request.progress)

    def __call__(self, subject: Subject, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of latents (B, C, h, w)."""
        pictures = self._pictures(subject, latents, generator)
        loss = self._photographs.learnt[subject.name].distance_of(self._photographs.vectors(pictures))
        if self._classes is not None:
            distance, offsets = self._classes.compare(subject.name, pictures)
            offset = self.remembered["offsets"](subject.name, offsets)
            loss = loss + self._settings.class_weight * (distance + OFFSET_SHARE * offset)
        return loss

    def _pictures(self, subject: Subject, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the pictures (B, 3, S, S) of latents (B, C, h, w) as the preset draws them."""
        with self._compute.autocast():
            if self._decoder is None:
                return decode(subject.base.vae, subject.base.refiner, latents, generator)
            plain = draw(self._decoder, latents, self._compute)
            return finished(subject.base.refiner, plain, latents, generator)

    @torch.no_grad()
    def judge(self, subjects: Sequence[Subject], drawing: FewSteps, lora: Lora) -> dict[str, float]:
        """Return the energy distance of JUDGED drawn pictures of each class from the photographs that only judge."""
        found = {}
        for subject in subjects:
            generator = torch.Generator().manual_seed(self._settings.seed)
            chunks = drawing.first(subject, JUDGED, generator).split(self._compute.pictures_at_once)
            vectors = []
            for chunk in chunks:
                pictures = self._pictures(subject, drawing.end(subject, lora, chunk), generator)
                vectors.append(self._photographs.vectors(pictures))
            found[subject.name] = self._photographs.judged[subject.name].distance_of(torch.cat(vectors)).item()
        return found
