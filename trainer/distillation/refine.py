"""`refine`: train the refiner further, until the grain of drawn pictures has the statistics of photographs.

A refiner that only learnt to finish reconstructions draws grain that is right at each place, but too equal from picture
to picture, and pictures of a UNet differ from reconstructions. So it learns from what the classes draw, with the
default settings and with few steps. Their statistics are compared with the photographs' by the energy distance and by
the offset that many pictures have in common. Beside them it keeps learning from reconstructed photographs. Of a class
without photographs it keeps the grain.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from engine.errors import RequestError
from engine.progress import Progress, silent
from trainer.base.base import digest_of
from trainer.base.jpeg import Jpeg
from trainer.base.refiner import REFINER_FILE, Refiner, write_refiner
from trainer.distillation.distilled import Distilled
from trainer.distillation.drawing import Drawing
from trainer.distillation.offsets import Offsets
from trainer.distillation.photographs import Photographs, expect_fitting
from trainer.distillation.settings import RefineSettings
from trainer.pictures.dataset import PictureSet, to_model_range
from trainer.pretraining.energy import Blur
from trainer.pretraining.grain import COARSE_SIGMA, GrainScore, decode_set, refine_pictures
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import Subject, freeze
from trainer.training.devices import Compute
from trainer.training.encoding import encode_set
from trainer.training.loop import Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.record import write_record

__all__ = ["RefineRequest", "finished", "refine", "share_refiner"]

DRAWN, RECONSTRUCTED, JUDGED = 64, 160, 32
"""Pictures of each class that are drawn in each way, photographs that are reconstructed, and drawn pictures by which
the result is judged."""
KNOWN = 2
"""Reconstructions in a step."""
DISTANCE_WEIGHT, OFFSET_WEIGHT, COARSE_WEIGHT, SCORE_WEIGHT = 0.5, 0.6, 0.5, 0.2
"""Weights of the energy distance and of the offset of drawn pictures, of the change of their coarse part, and of the
energy scores of reconstructions."""


@dataclass(frozen=True)
class RefineRequest:
    """A request to train the refiner of merged classes.

    few_steps: None if no LoRA was distilled. jpeg: the blocks of JPEG that pictures get last; None keeps the refiner's.
    """

    outputs: Outputs
    teacher: TeacherSettings
    few_steps: Distilled | None
    settings: RefineSettings
    compute: Compute
    jpeg: Jpeg | None = None
    stop: threading.Event | None = None
    progress: Progress = silent


@dataclass(frozen=True)
class _Decoded:
    """Latents (N, C, h, w), their pictures without grain (N, 3, S, S) uint8, and photographs of that shape, if any."""

    latents: torch.Tensor
    plain: torch.Tensor
    photographs: torch.Tensor | None = None


@dataclass(frozen=True)
class _Material:
    """What the refiner learns from. drawn: by way of drawing, then by class. reconstructed: by class."""

    photographs: Photographs
    drawn: Mapping[str, Mapping[str, _Decoded]]
    reconstructed: Mapping[str, _Decoded]


def refine(subjects: Sequence[Subject], pictures: PictureSet, request: RefineRequest) -> dict[str, Any]:
    """Train the refiner of all subjects; write it and the record. Return the record.

    Raises RequestError if the classes have no common refiner, or if the photographs or a checkpoint do not fit.
    """
    settings, compute, outputs = request.settings, request.compute, request.outputs
    expect_fitting(pictures, subjects)
    refiner = _with_jpeg(share_refiner(subjects), request.jpeg)
    lora = None if request.few_steps is None else request.few_steps.network(subjects[0]).to(compute.device)
    subject_of_training = digest_parts(
        *(digest_of(subject.base.unet) for subject in subjects),
        *(digest_of(part) for part in (subjects[0].base.vae, refiner, *filter(None, [lora]))),
        pictures.pictures,
        pictures.labels,
        request.teacher,
        compute.precision,
    )
    freeze(subjects, compute)
    refiner.to(compute.device).requires_grad_(True)
    material = _gather(subjects, pictures, request)
    loss = _Loss(refiner, material, [subject.name for subject in subjects], settings, compute)
    before = loss.distances()
    training = Training(
        outputs.name,
        nn.ModuleDict({"refiner": refiner, "offsets": loss.offsets}),
        loss,
        settings.loop(),
        outputs.checkpoints,
        subject=subject_of_training,
    )
    facts = training.run(progress=request.progress, stop=request.stop)
    record = {
        "distances_before": before,
        "distances": loss.distances(),
        "photographs": pictures.counts,
        "settings": {**asdict(request.teacher), **asdict(replace(settings, stored_as=None))},
        "compute": compute.as_json(),
        "training": facts,
    }
    write_refiner(refiner, outputs.weights)
    write_record(outputs.record, **record)
    return record


class _Loss:
    """The loss of a batch: classes and ways of drawing take turns."""

    def __init__(
        self, refiner: Refiner, material: _Material, names: Sequence[str], settings: RefineSettings, compute: Compute
    ) -> None:
        self._refiner, self._material, self._names, self._settings = refiner, material, names, settings
        self._compute = compute
        self._before = copy.deepcopy(refiner).requires_grad_(False)
        self._score = GrainScore(material.photographs.features).to(compute.device)
        self._coarse = Blur(COARSE_SIGMA).to(compute.device)
        photographs = material.photographs
        self.offsets = Offsets(list(photographs.learnt), photographs.directions).to(compute.device)

    def __call__(self, number: int, generator: torch.Generator) -> torch.Tensor:
        turn, place = divmod(number, len(self._names))
        name, ways = self._names[place], list(self._material.drawn.values())
        drawn = ways[turn % len(ways)][name]
        learnt = name in self._material.photographs.learnt
        count = self._settings.batch_size if learnt else KNOWN
        plain, latents = self._to_device(drawn, torch.randint(len(drawn.latents), (count,), generator=generator))
        if not learnt:
            with torch.no_grad():
                wanted = finished(self._before, plain, latents, generator)
            return SCORE_WEIGHT * self._score_of(plain, latents, wanted, generator)
        with self._compute.autocast():
            refined = finished(self._refiner, plain, latents, generator)
        distance, offsets = self._material.photographs.compare(name, refined)
        loss = DISTANCE_WEIGHT * distance + OFFSET_WEIGHT * self.offsets(name, offsets)
        loss = loss + COARSE_WEIGHT * (self._coarse(refined) - self._coarse(plain)).abs().mean()
        known = self._material.reconstructed[name]
        assert known.photographs is not None, "reconstructions have photographs"
        rows = torch.randint(len(known.latents), (KNOWN,), generator=generator)
        wanted = to_model_range(known.photographs[rows]).to(self._compute.device)
        return loss + SCORE_WEIGHT * self._score_of(*self._to_device(known, rows), wanted, generator)

    def _to_device(self, drawn: _Decoded, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        device = self._compute.device
        return to_model_range(drawn.plain[rows]).to(device), drawn.latents[rows].to(device)

    def _score_of(
        self, plain: torch.Tensor, latents: torch.Tensor, wanted: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        with self._compute.autocast():
            both = finished(self._refiner, plain.repeat(2, 1, 1, 1), latents.repeat(2, 1, 1, 1), generator)
            return self._score(both, plain, wanted, generator)

    @torch.no_grad()
    def distances(self) -> dict[str, dict[str, float]]:
        """Return the energy distance of JUDGED pictures from the photographs that only judge, by way and by class."""
        found: dict[str, dict[str, float]] = {}
        photographs = self._material.photographs
        for way, classes in self._material.drawn.items():
            found[way] = {}
            for name, judged in photographs.judged.items():
                generator = torch.Generator().manual_seed(self._settings.seed)
                vectors = []
                for rows in torch.arange(JUDGED).split(self._compute.pictures_at_once):
                    plain, latents = self._to_device(classes[name], rows)
                    vectors.append(photographs.vectors(finished(self._refiner, plain, latents, generator)))
                found[way][name] = judged.distance_of(torch.cat(vectors)).item()
        return found


def finished(
    refiner: Refiner | None, plain: torch.Tensor, latents: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Return decoded pictures (B, 3, S, S) of latents (B, C, h, w) with grain and, if the refiner says so, blocks.

    Without a refiner the decoded pictures are finished.
    """
    if refiner is None:
        return plain
    refined = refine_pictures(refiner, plain, latents, generator)
    return refined if refiner.jpeg is None else refiner.jpeg(refined)


def _with_jpeg(refiner: Refiner, jpeg: Jpeg | None) -> Refiner:
    """Return a refiner with the same weights that gives pictures these blocks; without them the same refiner."""
    if jpeg is None:
        return refiner
    found = Refiner(replace(refiner.settings, jpeg=jpeg.grid))
    found.load_state_dict({**refiner.state_dict(), "jpeg.steps": jpeg.steps})
    return found


def share_refiner(subjects: Sequence[Subject]) -> Refiner:
    """Return a refiner that all subjects have. Raises RequestError if one has none, or another one."""
    refiner = subjects[0].base.refiner
    for subject in subjects:
        mine = subject.base.refiner
        if refiner is None or mine is None or digest_of(mine) != digest_of(refiner):
            raise RequestError(
                f"The merged folder of the class {subject.name}",
                found=f"no {REFINER_FILE}" if mine is None else f"another {REFINER_FILE} than {subjects[0].name} has",
                expected="one refiner for all classes, because a bundle has one decoder",
                fix="merge all classes from one base with a refiner",
            )
    assert refiner is not None, "there is at least one subject"
    return copy.deepcopy(refiner)


def _gather(subjects: Sequence[Subject], pictures: PictureSet, request: RefineRequest) -> _Material:
    """Return the statistics of the photographs, what all subjects draw, and reconstructed photographs."""
    compute = request.compute
    generator = torch.Generator().manual_seed(request.settings.seed)
    photographs = Photographs(pictures, True, compute, generator, request.progress)
    drawing = Drawing(request.teacher, request.few_steps, compute)
    drawn: dict[str, dict[str, _Decoded]] = {way: {} for way in drawing.ways}
    reconstructed = {}
    for place, subject in enumerate(subjects):
        for way, classes in drawn.items():
            latents = drawing.draw(way, subject, DRAWN, request.settings.seed)
            classes[subject.name] = _Decoded(latents, decode_set(subject.base.vae, latents, compute))
        if subject.name in photographs.learnt:
            chosen = pictures.spread(subject.name, RECONSTRUCTED)
            latents = encode_set(subject.base.vae, chosen, compute)
            plain = decode_set(subject.base.vae, latents, compute)
            reconstructed[subject.name] = _Decoded(latents, plain, chosen)
        request.progress("drawn pictures", place + 1, len(subjects))
    return _Material(photographs, drawn, reconstructed)
