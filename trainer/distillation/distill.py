"""`distill`: train a LoRA with which each row of a short sampler replaces several guided steps of the teacher.

A row begins at a point of the teacher's trajectory and has to end at a later point of it (progressive distillation,
Salimans and Ho 2022, arXiv:2202.00512, with all rows at once), without guidance. Because the teacher's points are the
inputs, a target is a function of its input, and nothing is averaged over several targets.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from engine.progress import Progress, silent
from engine.sampling.learned import TABLE_FORMAT
from trainer.base.base import digest_of
from trainer.distillation.paths import draw_noises, teacher_paths
from trainer.distillation.settings import DistillSettings
from trainer.distillation.student import Student
from trainer.lora.files import LoraFile, write_lora
from trainer.lora.network import Lora
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import EPSILON, Subject, relative, run, start
from trainer.training.devices import Compute
from trainer.training.loop import LossFunction, Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.record import write_record

__all__ = ["DistillRequest", "distill"]


@dataclass(frozen=True)
class DistillRequest:
    """A request to distil classes of one base into one LoRA."""

    outputs: Outputs
    teacher: TeacherSettings
    settings: DistillSettings
    compute: Compute
    stop: threading.Event | None = None
    progress: Progress = silent


def distill(subjects: Sequence[Subject], request: DistillRequest) -> dict[str, Any]:
    """Train one LoRA for all subjects; write it and its record, which is the table of the rows. Return the record.

    Raises RequestError if a checkpoint does not fit, and CytosynthError if the loss is not finite.
    """
    settings, compute, outputs = request.settings, request.compute, request.outputs
    base = subjects[0].base
    teacher, scales = start(base.noise, request.teacher.teacher_steps, request.teacher, base.card)
    stride = settings.stride(request.teacher)
    digest = digest_parts(
        *(part for subject in subjects for part in _parts(subject)),
        request.teacher,
        scales,
        settings.rows,
        settings.pictures,
        settings.seed,
        compute.precision,
    )
    for subject in subjects:
        compute.ready(subject.base.unet).eval()
    paths = teacher_paths(outputs.latents, digest, (teacher, subjects, settings), compute, request.progress)
    student = Student.following(teacher, stride, compute.device)
    lora = Lora(base.unet, settings.rank, convolutions=True).to(compute.device)
    training = Training(
        outputs.name,
        lora,
        _loss_function(student, subjects, paths, request),
        settings.loop(),
        outputs.checkpoints,
        subject=digest_parts(digest, settings.rank),
    )
    with ExitStack() as attached:
        for subject in subjects:
            attached.enter_context(lora.attached(subject.base.unet))
        facts = training.run(progress=request.progress, stop=request.stop)
        errors = _errors(student.run, subjects, [points[:, 0] for points in paths], paths, request)
    # DPM++ 2M with as many guided steps and no LoRA.
    plain, _ = start(base.noise, settings.rows, request.teacher, base.card)
    plain_errors = _errors(partial(run, plain), subjects, draw_noises(subjects, settings), paths, request)
    record = {
        "format": TABLE_FORMAT,
        "rows": student.table.as_json(),
        "error": _mean(errors),
        "error_of_dpmpp_2m": _mean(plain_errors),
        "errors": errors,
        "evaluations": settings.rows,
        "evaluations_of_the_teacher": sum(1 if scale == 1 else 2 for scale in scales),
        "settings": {**asdict(request.teacher), **asdict(settings)},
        "parameters": sum(parameter.numel() for parameter in lora.parameters()),
        "compute": compute.as_json(),
        "training": facts,
    }
    write_lora(outputs.weights, LoraFile(lora.changes(), outputs.name, facts["steps_done"]))
    write_record(outputs.record, **record)
    return record


def _parts(subject: Subject) -> list[object]:
    """Return what a training depends on in a subject, for its hash."""
    leak = subject.leak
    tensors = [] if leak is None else [torch.from_numpy(one) for one in (leak.mean, leak.directions, leak.variances)]
    return [digest_of(subject.base.unet), subject.context, *tensors]


def _loss_function(
    student: Student, subjects: Sequence[Subject], paths: Sequence[torch.Tensor], request: DistillRequest
) -> LossFunction:
    """Return the loss of a batch: the mean square error of the latents after a row, divided by the variance at the end.

    Errors of all rows count alike: what a row does wrong at a high noise level is about as large at the end
    (docs/notes/few-steps.md), although it is a small share of the latents there.
    """
    settings, compute = request.settings, request.compute
    variances = [one[:, -1].var().item() for one in paths]

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        place = number % len(subjects)
        points, count = paths[place], settings.batch_size
        pictures = torch.randint(len(points) - settings.kept, (count,), generator=generator)
        rows = torch.randint(settings.rows, (count,), generator=generator)
        x, wanted = (points[pictures, rows + offset].to(compute.device) for offset in (0, 1))
        with compute.autocast():
            found = student.step(subjects[place], x, rows.to(compute.device))
        return (found - wanted).pow(2).mean() / max(variances[place], EPSILON)

    return loss_of


@torch.no_grad()
def _errors(
    end: Callable[[Subject, torch.Tensor], torch.Tensor],
    subjects: Sequence[Subject],
    begins: Sequence[torch.Tensor],
    paths: Sequence[torch.Tensor],
    request: DistillRequest,
) -> list[float]:
    """Return the relative error of a sampler's last latents for each subject, on the noises that were kept back.

    end: Returns the last latents for what stands in `begins`, which has N rows per subject.
    """
    kept, found = request.settings.kept, []
    for subject, begin, points in zip(subjects, begins, paths, strict=True):
        chunks = begin[-kept:].to(request.compute.device).split(request.settings.batch_size)
        with request.compute.autocast():
            ends = torch.cat([end(subject, chunk).float() for chunk in chunks])
        found.append(math.sqrt(relative(ends, points[-kept:, -1].to(ends.device)).item()))
    return found


def _mean(errors: Sequence[float]) -> float:
    """Return the root of the mean square."""
    return math.sqrt(sum(error**2 for error in errors) / len(errors))
