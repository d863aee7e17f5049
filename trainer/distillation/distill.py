"""`distill`: train a LoRA with which each row of a short sampler replaces several guided steps of the teacher.

A row begins at a point of the teacher's trajectory and has to end at a later point of it (progressive distillation,
Salimans and Ho 2022, arXiv:2202.00512, with all rows at once), without guidance. Because the teacher's points are the
inputs, a target is a function of its input, and nothing is averaged over several targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import torch

from engine.sampling.learned import TABLE_FORMAT
from trainer.distillation.settings import DistillSettings
from trainer.distillation.student import Student
from trainer.lora.files import LoraFile, write_lora
from trainer.lora.network import Lora
from trainer.tables.subjects import EPSILON, Subject
from trainer.tables.teacher import FollowRequest, Teacher, evaluations, mean_error
from trainer.training.loop import LossFunction, Training, digest_parts
from trainer.training.record import write_record

__all__ = ["distill"]


def distill(subjects: Sequence[Subject], request: FollowRequest[DistillSettings]) -> dict[str, Any]:
    """Train one LoRA for all subjects; write it and its record, which is the table of the rows. Return the record.

    Raises RequestError if a checkpoint does not fit, and CytosynthError if the loss is not finite.
    """
    settings, compute, outputs = request.settings, request.compute, request.outputs
    base = subjects[0].base
    stride = settings.stride(request.teacher)
    teacher = Teacher(subjects, request.teacher, settings, compute)
    paths = teacher.paths(outputs.latents, stride, request.progress)
    student = Student.following(teacher.parameters, stride, compute.device)
    torch.manual_seed(settings.seed)  # of the LoRA's first values
    lora = Lora(base.unet, settings.rank, convolutions=True).to(compute.device)
    training = Training(
        outputs.name,
        lora,
        _loss_function(student, subjects, paths, request),
        settings.loop(),
        outputs.checkpoints,
        subject=digest_parts(teacher.digest, settings.rank),
    )
    with ExitStack() as attached:
        for subject in subjects:
            attached.enter_context(lora.attached(subject.base.unet))
        facts = training.run(progress=request.progress, stop=request.stop)
        errors = teacher.errors(student.run, [points[:, 0] for points in paths], paths)
    record = {
        "format": TABLE_FORMAT,
        "rows": student.table.as_json(),
        "error": mean_error(errors),
        "error_of_dpmpp_2m": teacher.error_of_dpmpp_2m(paths),
        "errors": errors,
        "evaluations": settings.rows,
        "evaluations_of_the_teacher": evaluations(teacher.scales),
        "settings": {**asdict(request.teacher), **asdict(settings)},
        "parameters": sum(parameter.numel() for parameter in lora.parameters()),
        "compute": compute.as_json(),
        "training": facts,
    }
    write_lora(outputs.weights, LoraFile(lora.changes(), outputs.name, facts["steps_done"]))
    write_record(outputs.record, **record)
    return record


def _loss_function(
    student: Student,
    subjects: Sequence[Subject],
    paths: Sequence[torch.Tensor],
    request: FollowRequest[DistillSettings],
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
