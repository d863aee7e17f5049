"""`table`: learn noise levels, coefficients and guidance of few steps against the end points of a teacher.

The whole trajectory of the few steps is differentiated (S4S, Frankel et al. 2025, arXiv:2502.17423, with the levels
learned as in LD3, Tong et al. 2024, arXiv:2405.15506). The teacher takes many steps from the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from engine.errors import CytosynthError
from engine.progress import Progress, silent
from engine.sampling.learned import TABLE_FORMAT, LearnedTable
from trainer.tables.parameters import TableParameters
from trainer.tables.settings import TableSettings, TeacherSettings
from trainer.tables.subjects import Subject, relative, run, start
from trainer.training.devices import Compute, choose_attention

__all__ = ["Learned", "as_json", "learn_table"]

JUDGED_EVERY = 10


@dataclass(frozen=True)
class Learned:
    """The best table by the noises that were kept back, and relative errors of the latents there.

    An error is the root mean square of the difference from the teacher's latents, divided by their deviation.
    """

    table: LearnedTable
    before: float
    """DPM++ 2M with as many steps on Karras' levels."""
    after: float
    evaluations: tuple[int, int]
    """UNet evaluations of the table per picture, and of the teacher: a guided row needs two."""


@dataclass(frozen=True)
class _Examples:
    """Noises (N, C, h, w) of unit variance with the signal leak for each level, and the teacher's latents."""

    subject: Subject
    noises: torch.Tensor
    ends: torch.Tensor


def as_json(found: Learned, followed: TeacherSettings, settings: TableSettings) -> dict[str, Any]:
    """Return the content of a table's file."""
    return {
        "format": TABLE_FORMAT,
        "rows": found.table.as_json(),
        "settings": {**asdict(followed), **asdict(settings)},
        "error": found.after,
        "error_of_dpmpp_2m": found.before,
        "evaluations": found.evaluations[0],
        "evaluations_of_the_teacher": found.evaluations[1],
    }


def learn_table(
    subjects: Sequence[Subject],
    followed: TeacherSettings,
    settings: TableSettings,
    compute: Compute,
    progress: Progress = silent,
) -> Learned:
    """Return a table for all subjects, which must share one noise schedule and one latent shape.

    Raises CytosynthError if the optimisation finds values that are not finite.
    """
    first = subjects[0].base
    card, noise = first.card, first.noise
    teacher, teacher_scales = start(noise, followed.teacher_steps, followed, card)
    student, scales = start(noise, settings.rows, followed, card)
    for subject in subjects:
        subject.base.unet.eval().requires_grad_(False).to(compute.device)
        choose_attention(subject.base.unet, compute.device)
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        examples = [
            _examples(subject, teacher, settings, compute, generator, progress, place, len(subjects))
            for place, subject in enumerate(subjects)
        ]
    kept = max(1, settings.pictures // 4)
    judge = partial(_judge, student, examples, kept, settings.batch_size)
    before = best = judge()
    table = student.table()
    optimiser = torch.optim.Adam(student.parameters(), lr=settings.learning_rate)
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        chosen = examples[step % len(examples)]
        rows = torch.randint(len(chosen.noises) - kept, (settings.batch_size,), generator=generator)
        optimiser.zero_grad()
        loss = relative(run(student, chosen.subject, chosen.noises[rows]), chosen.ends[rows])
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        if not math.isfinite(loss.item()):
            raise CytosynthError(
                "The table",
                found=f"an error of {loss.item()} after {step + 1} steps",
                expected="a finite error",
                fix="lower --learning-rate",
            )
        progress("table", step + 1, settings.steps, math.sqrt(loss.item()))
        if (step + 1) % JUDGED_EVERY == 0 or step + 1 == settings.steps:
            found = judge()
            if found < best:
                best, table = found, student.table()
    evaluations = tuple(sum(1 if one == 1 else 2 for one in found) for found in (scales, teacher_scales))
    return Learned(table, before, best, (evaluations[0], evaluations[1]))


def _examples(
    subject: Subject,
    teacher: TableParameters,
    settings: TableSettings,
    compute: Compute,
    generator: torch.Generator,
    progress: Progress,
    place: int,
    subjects: int,
) -> _Examples:
    unet = subject.base.unet
    side = unet.config.sample_size
    noises = torch.randn(settings.pictures, unet.config.in_channels, side, side, generator=generator)
    ends = []
    for chunk in noises.split(settings.batch_size):
        ends.append(run(teacher, subject, chunk.to(compute.device)))
        done = place * settings.pictures + sum(map(len, ends))
        progress("teacher", done, subjects * settings.pictures)
    return _Examples(subject, noises.to(compute.device), torch.cat(ends))


@torch.no_grad()
def _judge(student: TableParameters, examples: Sequence[_Examples], kept: int, batch_size: int) -> float:
    """Return the relative error over the last `kept` noises of each class."""
    errors = []
    for one in examples:
        noises, ends = one.noises[-kept:].split(batch_size), one.ends[-kept:].split(batch_size)
        found = torch.cat([run(student, one.subject, chunk) for chunk in noises])
        errors.append(relative(found, torch.cat(ends)).item())
    return math.sqrt(sum(errors) / len(errors))
