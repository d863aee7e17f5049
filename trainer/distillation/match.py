"""`match`: train a distilled LoRA further, until what it draws has the features of photographs.

Distillation can only come near its teacher. Here the pictures themselves are judged, by the energy distance between
features of drawn pictures and of photographs of the class, as in the training of the refiner. With few rows, the
gradient can go through the decoder and all rows, as Clark et al. (2024), arXiv:2309.17400, do for rewards. An anchor
keeps the latents near those that the LoRA began with; a class without photographs has only the anchor.

The LoRA may learn to do with fewer rows at the same time. The anchor is then what it drew with all of its rows.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from engine.progress import Progress, silent
from trainer.base.base import digest_of
from trainer.distillation.distilled import Distilled, FewSteps
from trainer.distillation.photographs import Photographs, expect_fitting
from trainer.distillation.settings import MatchSettings
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


@dataclass(frozen=True)
class MatchRequest:
    """A request to match what a distilled LoRA draws with photographs."""

    outputs: Outputs
    distilled: Distilled
    settings: MatchSettings
    compute: Compute
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
    subject_of_training = digest_parts(
        *(digest_of(subject.base.unet) for subject in subjects),
        *(digest_of(part) for part in (subjects[0].base.vae, lora)),
        pictures.pictures,
        pictures.labels,
        settings.anchor_weight,
        student.sigmas,
        compute.precision,
    )
    freeze(subjects, compute)
    generator = torch.Generator().manual_seed(settings.seed)
    photographs = Photographs(pictures, False, compute, generator, request.progress)
    earlier, drawing = FewSteps(known, compute), FewSteps(student, compute)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        subject = subjects[number % len(subjects)]
        first = drawing.first(subject, settings.batch_size, generator)
        with torch.no_grad():
            wanted = earlier.end(subject, before, first)
        found = drawing.end(subject, lora, first)
        loss = settings.anchor_weight * relative(found, wanted)
        if subject.name in photographs.learnt:
            vectors = photographs.vectors_of(subject, found, generator)
            loss = loss + photographs.learnt[subject.name].distance_of(vectors)
        return loss

    training = Training(outputs.name, lora, loss_of, settings.loop(), outputs.checkpoints, subject=subject_of_training)
    facts = training.run(progress=request.progress, stop=request.stop)
    judged = [subject for subject in subjects if subject.name in photographs.judged]
    distances = [
        _judge(judged, way, photographs, one, settings.seed) for way, one in ((earlier, before), (drawing, lora))
    ]
    record = {
        **distilled.record,
        "rows": student.table.as_json(),
        "evaluations": len(student.table.rows),
        "matching": {
            "distances_before": distances[0],
            "distances": distances[1],
            "photographs": pictures.counts,
            "settings": asdict(settings),
            "compute": compute.as_json(),
            "training": facts,
        },
    }
    write_lora(outputs.weights, LoraFile(lora.changes(), outputs.name, facts["steps_done"]))
    write_record(outputs.record, **record)
    return record


@torch.no_grad()
def _judge(
    subjects: Sequence[Subject], drawing: FewSteps, photographs: Photographs, lora: Lora, seed: int
) -> dict[str, float]:
    """Return the energy distance of JUDGED drawn pictures of each class from the photographs that were kept back."""
    found = {}
    for subject in subjects:
        generator = torch.Generator().manual_seed(seed)
        chunks = drawing.first(subject, JUDGED, generator).split(drawing.compute.pictures_at_once)
        ends = [drawing.end(subject, lora, chunk) for chunk in chunks]
        vectors = torch.cat([photographs.vectors_of(subject, end, generator) for end in ends])
        found[subject.name] = photographs.judged[subject.name].distance_of(vectors).item()
    return found
