"""The student: few unguided rows of a UNet with a LoRA."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.errors import RequestError
from engine.sampling.learned import LearnedRow, LearnedTable
from trainer.tables.parameters import TableParameters
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import Subject, start

__all__ = ["Student"]

STRIDE = 6
"""A shortened student has every sixth level of a schedule, about as distilled ones have."""


@dataclass(frozen=True)
class Student:
    """The rows x_next = a x + b D of the short sampler as tensors (R,)."""

    table: LearnedTable
    sigmas: torch.Tensor
    timesteps: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor

    @classmethod
    def of(cls, table: LearnedTable, device: torch.device) -> Student:
        """Return the student of a table. Raises ValueError if a row is guided or needs earlier results."""
        if any(row.guidance_scale != 1 or (row.c, row.c2, row.c3) != (0, 0, 0) for row in table.rows):
            raise ValueError("rows with guidance or earlier results")
        names = ("sigma", "timestep", "a", "b")
        return cls(table, *(torch.tensor([getattr(row, name) for row in table.rows], device=device) for name in names))

    @classmethod
    def following(cls, teacher: TableParameters, stride: int, device: torch.device) -> Student:
        """Return the rows at every `stride`-th level of the teacher; each is x_next = r x + (1 - r) D."""
        rows = teacher.table().rows[::stride]
        after = [row.sigma for row in rows[1:]] + [0.0]
        return cls.of(
            LearnedTable(
                tuple(
                    LearnedRow(row.sigma, row.timestep, 1.0, low / row.sigma, 1 - low / row.sigma)
                    for row, low in zip(rows, after, strict=True)
                )
            ),
            device,
        )

    def shortened(self, rows: int, subject: Subject, device: torch.device) -> Student:
        """Return a student of so many rows, on Karras' levels. Raises RequestError if this one has fewer."""
        if rows > len(self.sigmas):
            raise RequestError(
                "--rows",
                found=str(rows),
                expected=f"at most {len(self.sigmas)}, the steps of LORA",
                fix="choose fewer steps, or distil the classes into more",
            )
        if rows == len(self.sigmas):
            return self
        base = subject.base
        parameters, _ = start(base.noise, STRIDE * rows, TeacherSettings(STRIDE * rows), base.card)
        return Student.following(parameters, STRIDE, device)

    def step(self, subject: Subject, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the latents (B, C, h, w) after one row each; rows: (B,), the row of each picture."""
        sigma, a, b = (one[rows][:, None, None, None] for one in (self.sigmas, self.a, self.b))
        context = subject.context[:1].to(x).expand(len(x), -1, -1)
        eps = subject.base.unet(x / torch.sqrt(sigma**2 + 1), self.timesteps[rows], context).sample.float()
        return a * x + b * (x - sigma * eps)

    def run(self, subject: Subject, x: torch.Tensor) -> torch.Tensor:
        """Return the latents at the end of all rows, from the first latents x (B, C, h, w)."""
        for row in range(len(self.sigmas)):
            x = self.step(subject, x, torch.full((len(x),), row, device=x.device))
        return x
