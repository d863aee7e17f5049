"""What classes draw with the default settings and with few steps, as material for trainings behind the UNet."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainer.distillation.distilled import Distilled, FewSteps
from trainer.distillation.student import Student
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import Subject, run, start
from trainer.training.devices import Compute

__all__ = ["DEFAULT", "FEW_STEPS", "Drawing"]

DEFAULT, FEW_STEPS = "default settings", "few steps"


@dataclass(frozen=True)
class Drawing:
    """Draws latents of classes in one or two ways. few_steps: None if no LoRA was distilled."""

    teacher: TeacherSettings
    few_steps: Distilled | None
    compute: Compute

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways of drawing."""
        return (DEFAULT,) if self.few_steps is None else (DEFAULT, FEW_STEPS)

    @torch.no_grad()
    def draw(self, way: str, subject: Subject, count: int, seed: int) -> torch.Tensor:
        """Return latents (count, C, h, w) of a class in the UNet's scale, float32 on the CPU."""
        compute, generator = self.compute, torch.Generator().manual_seed(seed)
        if way == FEW_STEPS and self.few_steps is not None:
            sampler = FewSteps(Student.of(self.few_steps.table, compute.device), compute)
            lora = self.few_steps.network(subject).to(compute.device)
            first = sampler.first(subject, count, generator)
            found = [sampler.end(subject, lora, part) for part in first.split(compute.pictures_at_once)]
        else:
            teacher, config = self.teacher, subject.base.unet.config
            parameters, _ = start(subject.base.noise, teacher.teacher_steps, teacher, subject.base.card)
            shape = (count, config.in_channels, config.sample_size, config.sample_size)
            noises = torch.randn(shape, generator=generator).split(compute.pictures_at_once)
            with compute.autocast():
                found = [run(parameters, subject, part.to(compute.device)) for part in noises]
        return torch.cat(found).float().cpu()
