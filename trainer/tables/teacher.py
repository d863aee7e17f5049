"""The teacher of few steps: the latents on its way from drawn noises, and how far another sampler ends from them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from engine.progress import Progress, silent
from trainer.base.base import digest_of
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import Subject, relative, run, start, walk
from trainer.training.devices import Compute
from trainer.training.kept_latents import kept_latents
from trainer.training.loop import digest_parts
from trainer.training.outputs import Outputs

__all__ = ["FollowRequest", "Following", "Teacher", "evaluations", "mean_error"]

PATHS = "paths"


class Following(Protocol):
    """The settings of few steps on which the teacher's latents depend."""

    @property
    def rows(self) -> int:
        """Steps of the short sampler."""

    @property
    def pictures(self) -> int:
        """Noises per class."""

    @property
    def kept(self) -> int:
        """Noises per class that only judge the result: the last ones."""

    @property
    def batch_size(self) -> int:
        """Noises that are drawn at once."""

    @property
    def seed(self) -> int:
        """Seed of the noises."""


Settings = TypeVar("Settings", bound=Following)


@dataclass(frozen=True)
class FollowRequest(Generic[Settings]):
    """A request to learn few steps that follow a teacher: a table, or a LoRA of distilled classes."""

    outputs: Outputs
    teacher: TeacherSettings
    settings: Settings
    compute: Compute
    stop: threading.Event | None = None
    progress: Progress = silent


class Teacher:
    """DPM++ 2M of many steps for subjects of one base, whose UNets it freezes and moves to the device."""

    def __init__(
        self, subjects: Sequence[Subject], teacher: TeacherSettings, following: Following, compute: Compute
    ) -> None:
        base = subjects[0].base
        self._subjects, self._settings, self._following, self._compute = subjects, teacher, following, compute
        self.parameters, self.scales = start(base.noise, teacher.teacher_steps, teacher, base.card)
        self.digest = digest_parts(
            *(part for subject in subjects for part in _parts(subject)),
            teacher,
            self.scales,
            following.rows,
            following.pictures,
            following.seed,
            compute.precision,
        )
        """SHA-256 of everything on which the latents depend."""
        for subject in subjects:
            compute.ready(subject.base.unet).eval()

    def noises(self) -> list[torch.Tensor]:
        """Return standard normal noises (N, C, h, w) of each subject, on the CPU."""
        generator = torch.Generator().manual_seed(self._following.seed)
        config = self._subjects[0].base.unet.config
        shape = (self._following.pictures, config.in_channels, config.sample_size, config.sample_size)
        return [torch.randn(shape, generator=generator) for _ in self._subjects]

    def paths(self, path: Path, stride: int, progress: Progress) -> list[torch.Tensor]:
        """Return the latents (N, P + 1, C, h, w) of each subject before each `stride`-th step and at the end.

        P is the number of the teacher's steps divided by `stride`. The latents are on the CPU. They are kept in the
        safetensors file `path`, because drawing them takes longer than many training steps.

        Raises RequestError if the file is of another training or unreadable.
        """

        def draw() -> dict[str, torch.Tensor]:
            return {f"{PATHS}.{place}": one for place, one in enumerate(self._draw(stride, progress))}

        found = kept_latents(path, self.digest, draw)
        return [found[f"{PATHS}.{place}"] for place in range(len(self._subjects))]

    @torch.no_grad()
    def _draw(self, stride: int, progress: Progress) -> list[torch.Tensor]:
        found, done = [], 0
        for subject, noises in zip(self._subjects, self.noises(), strict=True):
            chunks = []
            for chunk in noises.split(self._following.batch_size):
                with self._compute.autocast():
                    points = [
                        x.float().cpu()
                        for place, x in enumerate(walk(self.parameters, subject, chunk.to(self._compute.device)))
                        if place % stride == 0
                    ]
                chunks.append(torch.stack(points, 1))
                done += len(chunk)
                progress("teacher", done, self._following.pictures * len(self._subjects))
            found.append(torch.cat(chunks))
        return found

    @torch.no_grad()
    def errors(
        self,
        end: Callable[[Subject, torch.Tensor], torch.Tensor],
        begins: Sequence[torch.Tensor],
        paths: Sequence[torch.Tensor],
    ) -> list[float]:
        """Return the relative error of a sampler's last latents for each subject, on the noises that were kept back.

        An error is the root mean square of the difference from the teacher's latents, divided by their deviation.

        end: Returns the last latents for what stands in `begins`, which has N rows per subject.
        """
        kept, found = self._following.kept, []
        for subject, begin, points in zip(self._subjects, begins, paths, strict=True):
            chunks = begin[-kept:].to(self._compute.device).split(self._following.batch_size)
            with self._compute.autocast():
                ends = torch.cat([end(subject, chunk).float() for chunk in chunks])
            found.append(math.sqrt(relative(ends, points[-kept:, -1].to(ends.device)).item()))
        return found

    def error_of_dpmpp_2m(self, paths: Sequence[torch.Tensor]) -> float:
        """Return the mean error of DPM++ 2M with as many steps as the short sampler, and the teacher's guidance."""
        base = self._subjects[0].base
        plain, _ = start(base.noise, self._following.rows, self._settings, base.card)
        return mean_error(self.errors(partial(run, plain), self.noises(), paths))


def _parts(subject: Subject) -> list[object]:
    """Return what a training depends on in a subject, for its hash."""
    leak = subject.leak
    tensors = [] if leak is None else [torch.from_numpy(one) for one in (leak.mean, leak.directions, leak.variances)]
    return [digest_of(subject.base.unet), subject.context, *tensors]


def evaluations(scales: Sequence[float]) -> int:
    """Return the UNet evaluations per picture of steps with these guidance scales: a guided step needs two."""
    return sum(1 if scale == 1 else 2 for scale in scales)


def mean_error(errors: Sequence[float]) -> float:
    """Return the root of the mean square."""
    return math.sqrt(sum(error**2 for error in errors) / len(errors))
