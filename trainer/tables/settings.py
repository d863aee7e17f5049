"""Settings of `table`, and of the teacher that `distill` has, too. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.options import Range, check_settings, setting
from engine.sampling.learned import MAX_ROWS
from trainer.training.settings import LoopSettings, decaying_loop

__all__ = ["TableSettings", "TeacherSettings"]


@dataclass(frozen=True)
class TeacherSettings:
    """The sampler of many steps that few steps are to follow."""

    PANEL: ClassVar[str] = "Teacher"

    teacher_steps: int = setting(20, help="Steps of the teacher, DPM++ 2M on Karras' levels.", within=Range(2, 1000))
    guidance_scale: float | None = setting(
        None, help="Guidance scale of the teacher (default: from the base).", within=Range(0, 100)
    )
    guidance_interval: tuple[float, float] | None = setting(
        None, help="LO HI: the teacher guides only between these sigmas (default: from the base)."
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class TableSettings:
    """The table that is learned, and how."""

    PANEL: ClassVar[str] = "Learning"

    rows: int = setting(8, help="Steps of the learned table.", within=Range(2, MAX_ROWS))
    pictures: int = setting(
        64, help="Noises per class. A quarter of them, at least one, only judges the table.", within=Range(2, 100_000)
    )
    steps: int = setting(200, help="Optimiser steps.", within=Range(1, 1_000_000))
    batch_size: int = setting(8, help="Noises per step.", within=Range(low=1))
    learning_rate: float = setting(
        0.01, help="Learning rate at the start; the rate then falls along a cosine.", within=Range(above=0)
    )
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(0, 2**62))

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def kept(self) -> int:
        """Noises per class that only judge the table."""
        return max(1, self.pictures // 4)

    def loop(self) -> LoopSettings:
        """Return the settings of the training."""
        return decaying_loop(
            self.steps, self.batch_size, self.learning_rate, warmup=1, seed=self.seed, weight_decay=0.0
        )
