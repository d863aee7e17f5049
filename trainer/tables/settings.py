"""Settings of `table`, and of the teacher that `distill` has, too. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.options import Range, check_settings, setting
from engine.sampling.learned import MAX_ROWS

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
        0.01, help="Learning rate of Adam at the start; it falls to 0.", within=Range(above=0)
    )
    seed: int = setting(0, help="Seed of the noises.", within=Range(0, 2**62))

    def __post_init__(self) -> None:
        check_settings(self)
