"""`table`: learn noise levels, coefficients and guidance of few steps against the end points of a teacher.

The whole trajectory of the few steps is differentiated (S4S, Frankel et al. 2025, arXiv:2502.17423, with the levels
learned as in LD3, Tong et al. 2024, arXiv:2405.15506). The teacher takes many steps from the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.errors import CytosynthError, RequestError
from engine.progress import Progress, silent
from engine.sampling.guidance import guidance_table
from engine.sampling.learned import TABLE_FORMAT, LearnedTable
from engine.sampling.samplers import plan_steps
from engine.sampling.schedules import NoiseSchedule
from engine.sampling.signal_leak import SignalLeak, read_signal_leak
from trainer.adapters.merged import open_merged
from trainer.base.base import Base, encode_prompts
from trainer.hypernetwork.signal_leak import SIGNAL_LEAK_FILE
from trainer.tables.parameters import TableParameters
from trainer.tables.settings import TableSettings
from trainer.training.devices import Compute, choose_attention

__all__ = ["Learned", "Subject", "as_json", "learn_table", "open_subjects"]

SAMPLER, SCHEDULE = "dpmpp_2m", "karras"
JUDGED_EVERY = 10
EPSILON = 1e-8


@dataclass(frozen=True)
class Subject:
    """A merged model, the embeddings (2, T, D) of its prompt and of the empty prompt, and its signal leak."""

    base: Base
    context: torch.Tensor
    leak: SignalLeak | None


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


def open_subjects(folders: Sequence[Path]) -> list[Subject]:
    """Return the models of merged folders. Raises RequestError if one cannot be read, or if their bases differ."""
    subjects = [_open_subject(folder) for folder in folders]
    first = subjects[0].base
    for folder, subject in zip(folders[1:], subjects[1:], strict=True):
        if _structure(subject.base) != _structure(first):
            raise RequestError(
                f"The merged folder {folder}",
                found=f"another UNet or schedule than in {folders[0]}",
                expected="classes of one base",
                fix="learn a table for each base",
            )
    return subjects


def _structure(base: Base) -> list[dict[str, Any]]:
    configs = (base.scheduler.config, base.unet.config)
    return [{name: value for name, value in config.items() if not name.startswith("_")} for config in configs]


def _open_subject(folder: Path) -> Subject:
    base, prompt = open_merged(folder)
    path = folder / SIGNAL_LEAK_FILE
    side = base.unet.config.sample_size
    leak = read_signal_leak(path, (base.unet.config.in_channels, side, side)) if path.exists() else None
    with torch.no_grad():
        return Subject(base, encode_prompts(base, [prompt, ""]), leak)


def as_json(found: Learned, settings: TableSettings) -> dict[str, Any]:
    """Return the content of a table's file."""
    return {
        "format": TABLE_FORMAT,
        "rows": found.table.as_json(),
        "settings": asdict(settings),
        "error": found.after,
        "error_of_dpmpp_2m": found.before,
        "evaluations": found.evaluations[0],
        "evaluations_of_the_teacher": found.evaluations[1],
    }


def learn_table(
    subjects: Sequence[Subject],
    settings: TableSettings,
    compute: Compute,
    progress: Progress = silent,
) -> Learned:
    """Return a table for all subjects, which must share one noise schedule and one latent shape.

    Raises CytosynthError if the optimisation finds values that are not finite.
    """
    first = subjects[0].base
    card, noise = first.card, first.noise
    scale = card.guidance_scale if settings.guidance_scale is None else settings.guidance_scale
    interval = settings.guidance_interval or card.guidance_interval
    teacher, teacher_scales = _start(noise, settings.teacher_steps, scale, interval)
    student, scales = _start(noise, settings.rows, scale, interval)
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
        loss = _relative(run(student, chosen.subject, chosen.noises[rows]), chosen.ends[rows])
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


def _start(
    noise: NoiseSchedule, steps: int, scale: float, interval: tuple[float, float] | None
) -> tuple[TableParameters, tuple[float, ...]]:
    plan = plan_steps(noise, sampler=SAMPLER, schedule=SCHEDULE, num_inference_steps=steps)
    scales = guidance_table([row.sigma for row in plan.rows], scale, interval)
    return TableParameters(plan, scales, noise), scales


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
        errors.append(_relative(found, torch.cat(ends)).item())
    return math.sqrt(sum(errors) / len(errors))


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (found - wanted).pow(2).mean() / wanted.var().clamp(min=EPSILON)


def run(parameters: TableParameters, subject: Subject, noises: torch.Tensor) -> torch.Tensor:
    """Return the latents (B, C, h, w) at the end of a table, differentiable by its parameters.

    noises: standard normal (B, C, h, w).
    """
    unet = subject.base.unet
    sigmas = parameters.sigmas().to(noises.device)
    timesteps = parameters.timesteps(sigmas)
    coefficients = parameters.coefficients(sigmas)
    x = _begin(subject.leak, noises, sigmas[0])
    prompt, empty = (row.expand(len(x), -1, -1) for row in subject.context.to(x)[:, None])
    past: list[torch.Tensor] = []
    for sigma, t, row, scale in zip(sigmas, timesteps, coefficients, parameters.guidance(), strict=True):
        scaled = x / torch.sqrt(sigma**2 + 1)
        if scale is None:
            eps = unet(scaled, t, prompt).sample
        else:
            cond, uncond = unet(torch.cat([scaled, scaled]), t, torch.cat([prompt, empty])).sample.chunk(2)
            eps = uncond + scale * (cond - uncond)
        denoised = x - sigma * eps
        x = row[0] * x + row[1] * denoised
        for coefficient, earlier in zip(row[2:], past, strict=False):
            x = x + coefficient * earlier
        past = [denoised, *past[:2]]
    return x


def _begin(leak: SignalLeak | None, noises: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return the first latents: noise of the first level, with the trace of the class (engine.sampling.signal_leak)."""
    if leak is None:
        return sigma * noises
    mean, directions, variances = (
        torch.from_numpy(np.asarray(one)).to(noises) for one in (leak.mean, leak.directions, leak.variances)
    )
    along = torch.tensordot(noises, directions, dims=([1, 2, 3], [1, 2, 3]))
    gains = torch.sqrt(variances + sigma**2) - sigma
    return sigma * noises + mean + torch.tensordot(along * gains, directions, dims=1)
