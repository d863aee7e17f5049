"""`match`: train a distilled LoRA further, until what it draws has the features of photographs.

Distillation can only come near its teacher. Here the pictures themselves are judged, by the energy distance between
features of drawn pictures and of photographs of the class, as in the training of the refiner. With few rows, the
gradient can go through the decoder and all rows, as Clark et al. (2024), arXiv:2309.17400, do for rewards. An anchor
keeps the latents near those that the LoRA began with; a class without photographs has only the anchor. The refiner
can be trained with the LoRA, because most of the grain is its work.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import RequestError, first_line
from engine.progress import Progress, silent
from engine.sampling.learned import LearnedTable
from engine.sampling.schedules import NoiseSchedule
from trainer.base.base import digest_of
from trainer.base.refiner import REFINER_FILE, decode, write_refiner
from trainer.distillation.photographs import Photographs, expect_fitting
from trainer.distillation.refining import RefinerLoss, share_refiner
from trainer.distillation.settings import MatchSettings
from trainer.distillation.student import Student
from trainer.lora.files import LoraFile, read_lora, write_lora
from trainer.lora.network import Lora
from trainer.pictures.dataset import PictureSet
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import Subject, begin, relative
from trainer.training.devices import Compute, draw_normal
from trainer.training.loop import Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.record import write_record

__all__ = ["Distilled", "MatchRequest", "match"]

REFINER_RATE = 4.0
"""Learning rate of the refiner, as a multiple of the LoRA's."""
JUDGED = 32
"""Drawn pictures of each class by which the result is judged."""


@dataclass(frozen=True)
class Distilled:
    """What `distill` wrote: a LoRA, and the record with the table of its rows and the settings of its teacher."""

    lora: LoraFile
    table: LearnedTable
    teacher: TeacherSettings
    record: Mapping[str, Any]

    @classmethod
    def read(cls, weights: Path, noise: NoiseSchedule) -> Distilled:
        """Return the LoRA in a file and the table beside it. Raises RequestError."""
        path = weights.with_suffix(".json")
        lora = read_lora(weights)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            table = LearnedTable.of_record(record, noise)
            Student.of(table, torch.device("cpu"))
            teacher = _teacher_of(record)
        except (OSError, ValueError, RecursionError) as error:
            raise RequestError(
                f"The table {path}",
                found=first_line(error),
                expected="the record that `python -m trainer distill` wrote beside the LoRA",
                fix="name the LoRA where distill wrote it",
            ) from error
        return cls(lora, table, teacher, record)

    def network(self, subject: Subject) -> Lora:
        """Return the LoRA as a network that can be trained. Raises RequestError if it is not one of `distill`."""
        ranks = {change.rank for change in self.lora.changes.values()}
        try:
            (rank,) = ranks
            lora = Lora(subject.base.unet, rank or 1, convolutions=True)
            lora.load(self.lora.changes)
        except (ValueError, RuntimeError) as error:
            raise RequestError(
                f"The LoRA {self.lora.name}",
                found=first_line(error),
                expected="a LoRA that `python -m trainer distill` wrote for this base",
                fix="distil the classes first",
            ) from error
        return lora


def _teacher_of(record: Mapping[str, Any]) -> TeacherSettings:
    """Return the teacher's settings in a record of `distill`. Raises ValueError if they are missing or wrong."""
    try:
        found = record["settings"]
        steps, scale, interval = (found[one.name] for one in fields(TeacherSettings))
        return TeacherSettings(steps, scale, None if interval is None else tuple(interval))
    except (KeyError, TypeError, RequestError) as error:
        raise ValueError(f"no settings of a teacher ({first_line(error)})") from error


@dataclass(frozen=True)
class MatchRequest:
    """A request to match what a distilled LoRA draws with photographs."""

    outputs: Outputs
    distilled: Distilled
    settings: MatchSettings
    compute: Compute
    stop: threading.Event | None = None
    progress: Progress = silent


@dataclass(frozen=True)
class _Drawing:
    """Draws latents and pictures with a LoRA."""

    student: Student
    compute: Compute

    def first(self, subject: Subject, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return first latents (count, C, h, w)."""
        config = subject.base.unet.config
        shape = torch.Size((count, config.in_channels, config.sample_size, config.sample_size))
        return begin(subject.leak, draw_normal(shape, generator, self.compute.device), self.student.sigmas[0])

    def end(self, subject: Subject, lora: Lora, first: torch.Tensor) -> torch.Tensor:
        """Return the latents after all rows."""
        with self.compute.autocast(), lora.attached(subject.base.unet):
            return self.student.run(subject, first)

    def vectors(
        self, subject: Subject, latents: torch.Tensor, photographs: Photographs, generator: torch.Generator
    ) -> torch.Tensor:
        """Return the features (B, D) of the pictures of latents."""
        with self.compute.autocast():
            return photographs.vectors(decode(subject.base.vae, subject.base.refiner, latents, generator))


@dataclass(frozen=True)
class _Loss:
    """The loss of a batch of one subject; they take turns. grain: None if the refiner is not trained."""

    subjects: Sequence[Subject]
    drawing: _Drawing
    photographs: Photographs
    before: Lora
    lora: Lora
    grain: RefinerLoss | None
    settings: MatchSettings

    def __call__(self, number: int, generator: torch.Generator) -> torch.Tensor:
        subject = self.subjects[number % len(self.subjects)]
        first = self.drawing.first(subject, self.settings.batch_size, generator)
        with torch.no_grad():
            wanted = self.drawing.end(subject, self.before, first)
        found = self.drawing.end(subject, self.lora, first)
        loss = self.settings.anchor_weight * relative(found, wanted)
        if subject.name in self.photographs.learnt:
            vectors = self.drawing.vectors(subject, found, self.photographs, generator)
            loss = loss + self.photographs.learnt[subject.name].distance_of(vectors)
        if self.grain is not None:
            loss = loss + self.grain(subject.name, generator)
        return loss


def match(subjects: Sequence[Subject], pictures: PictureSet, request: MatchRequest) -> dict[str, Any]:
    """Train the LoRA for all subjects; write it and its record, which keeps the table. Return the record.

    With `train_refiner` the refiner is trained and written, too.

    Raises RequestError if the photographs or a checkpoint do not fit, and CytosynthError if the loss is not finite.
    """
    settings, compute, outputs, distilled = request.settings, request.compute, request.outputs, request.distilled
    expect_fitting(pictures, subjects)
    refiner = share_refiner(subjects) if settings.train_refiner else None
    lora, before = (distilled.network(subjects[0]).to(compute.device) for _ in range(2))
    before.requires_grad_(False)
    subject_of_training = digest_parts(
        *(digest_of(subject.base.unet) for subject in subjects),
        *(digest_of(part) for part in (subjects[0].base.vae, lora, *filter(None, [refiner]))),
        pictures.pictures,
        pictures.labels,
        settings.anchor_weight,
        compute.precision,
    )
    _freeze(subjects, compute)
    generator = torch.Generator().manual_seed(settings.seed)
    photographs = Photographs(pictures, compute, generator, request.progress)
    drawing = _Drawing(Student.of(distilled.table, compute.device), compute)
    model, grain = nn.ModuleDict({"lora": lora}), None
    if refiner is not None:
        grain = RefinerLoss(subjects, pictures, photographs, distilled.teacher, compute, request.progress)
        model["refiner"] = refiner.requires_grad_(True)
    judged = [subject for subject in subjects if subject.name in photographs.judged]

    def distances_of(lora: Lora) -> dict[str, float]:
        return _judge(judged, drawing, photographs, lora, settings.seed)

    distances_before = distances_of(before)
    training = Training(
        outputs.name,
        model,
        _Loss(subjects, drawing, photographs, before, lora, grain, settings),
        settings.loop(),
        outputs.checkpoints,
        subject=subject_of_training,
        rates={"refiner": REFINER_RATE} if refiner is not None else None,
    )
    facts = training.run(progress=request.progress, stop=request.stop)
    record = {
        **distilled.record,
        "matching": {
            "distances_before": distances_before,
            "distances": distances_of(lora),
            "photographs": dict(zip(pictures.class_names, pictures.labels.bincount().tolist(), strict=True)),
            "settings": asdict(settings),
            "compute": compute.as_json(),
            "training": facts,
        },
    }
    write_lora(outputs.weights, LoraFile(lora.changes(), outputs.name, facts["steps_done"]))
    if refiner is not None:
        write_refiner(refiner, outputs.folder / REFINER_FILE)
    write_record(outputs.record, **record)
    return record


def _freeze(subjects: Sequence[Subject], compute: Compute) -> None:
    """Move all parts of the subjects to the device, frozen."""
    for subject in subjects:
        compute.ready(subject.base.unet).eval()
        for part in (subject.base.vae, subject.base.refiner):
            if part is not None:
                part.to(compute.device).requires_grad_(False).eval()


@torch.no_grad()
def _judge(
    subjects: Sequence[Subject], drawing: _Drawing, photographs: Photographs, lora: Lora, seed: int
) -> dict[str, float]:
    """Return the energy distance of JUDGED drawn pictures of each class from the photographs that were kept back."""
    found = {}
    for subject in subjects:
        generator = torch.Generator().manual_seed(seed)
        chunks = drawing.first(subject, JUDGED, generator).split(drawing.compute.pictures_at_once)
        ends = [drawing.end(subject, lora, chunk) for chunk in chunks]
        vectors = torch.cat([drawing.vectors(subject, end, photographs, generator) for end in ends])
        found[subject.name] = photographs.judged[subject.name].distance_of(vectors).item()
    return found
