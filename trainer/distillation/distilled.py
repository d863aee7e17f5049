"""A distilled LoRA with the table of its few steps, as `distill` wrote them, and what it draws."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.errors import RequestError, first_line
from engine.sampling.learned import LearnedTable
from engine.sampling.schedules import NoiseSchedule
from trainer.distillation.student import Student
from trainer.lora.files import LoraFile, read_lora
from trainer.lora.network import Lora
from trainer.tables.subjects import Subject, begin
from trainer.training.devices import Compute, draw_normal

__all__ = ["Distilled", "FewSteps"]


@dataclass(frozen=True)
class Distilled:
    """What `distill` wrote: a LoRA, and the record with the table of its rows."""

    lora: LoraFile
    table: LearnedTable
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
        except (OSError, ValueError, RecursionError) as error:
            raise RequestError(
                f"The table {path}",
                found=first_line(error),
                expected="the record that `python -m trainer distill` wrote beside the LoRA",
                fix="name the LoRA where distill wrote it",
            ) from error
        return cls(lora, table, record)

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


@dataclass(frozen=True)
class FewSteps:
    """Draws latents with a LoRA in the rows of its table."""

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
