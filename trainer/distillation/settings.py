"""Settings of `distill`, `match`, `refine`, `shrink` and `match-decoder`. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from engine.sampling.learned import MAX_ROWS
from trainer.tables.settings import TeacherSettings
from trainer.training.settings import LoopSettings, decaying_loop

__all__ = ["DistillSettings", "MatchDecoderSettings", "MatchSettings", "RefineSettings", "ShrinkSettings"]


@dataclass(frozen=True)
class DistillSettings:
    """What is learnt, and how."""

    PANEL: ClassVar[str] = "Distillation"

    rows: int = setting(
        4, help="Steps of the distilled sampler. They divide --teacher-steps.", within=Range(2, MAX_ROWS)
    )
    rank: int = setting(16, help="Rank of the LoRA. A larger one learns more and needs more bytes.", within=Range(1))
    pictures: int = setting(
        64, help="Noises per class. An eighth of them, at least one, only judges the result.", within=Range(2, 100_000)
    )
    steps: int = setting(2000, help="Number of training steps. The classes take turns.", within=Range(low=1))
    batch_size: int = setting(32, help="Steps of trajectories per training step.", within=Range(low=1))
    accumulation: int = setting(
        1,
        help="Batches per training step; their gradients are averaged. The classes take turns.",
        flag="--gradient-accumulation",
        within=Range(low=1),
    )
    learning_rate: float = setting(
        4e-4, help="Highest learning rate; the rate then falls along a cosine.", within=Range(above=0)
    )
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(0, 2**62))

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def kept(self) -> int:
        """Noises per class that only judge the result."""
        return max(1, self.pictures // 8)

    def loop(self) -> LoopSettings:
        """Return the settings of the training."""
        warmup = min(100, max(1, self.steps // 10))
        return decaying_loop(
            self.steps,
            self.batch_size,
            self.learning_rate,
            warmup=warmup,
            seed=self.seed,
            weight_decay=0.0,
            ema_decay=0.99,
            accumulation=self.accumulation,
        )

    def stride(self, teacher: TeacherSettings) -> int:
        """Return how many steps of the teacher one row replaces. Raises RequestError."""
        if teacher.teacher_steps % self.rows or teacher.teacher_steps == self.rows:
            raise RequestError(
                "--rows",
                found=f"{self.rows} with {teacher.teacher_steps} steps of the teacher",
                expected="a divisor of --teacher-steps below it, because each row replaces the same number of steps",
                fix="change --rows or --teacher-steps",
            )
        return teacher.teacher_steps // self.rows


@dataclass(frozen=True)
class MatchSettings:
    """How the pictures of few steps are matched with photographs."""

    PANEL: ClassVar[str] = "Matching"

    rows: int | None = setting(
        None,
        help="Steps of the sampler afterwards, at most those of LORA (default: as many).",
        within=Range(1, MAX_ROWS),
    )
    steps: int = setting(600, help="Number of training steps. The classes take turns.", within=Range(low=1))
    batch_size: int = setting(8, help="Drawn pictures per training step.", within=Range(2, 4096))
    learning_rate: float = setting(
        2e-4, help="Highest learning rate; the rate then falls along a cosine.", within=Range(above=0)
    )
    anchor_weight: float = setting(
        0.5,
        help="Weight of the anchor: how strongly the latents stay where the LoRA drew them before.",
        within=Range(low=0),
    )
    class_weight: float = setting(
        0.0,
        help="Weight of features from classifiers that are trained on the photographs first (0: no classifiers). At "
        "least two classes need 100 photographs.",
        within=Range(low=0),
    )
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(0, 2**62))

    def __post_init__(self) -> None:
        check_settings(self)

    def loop(self) -> LoopSettings:
        """Return the settings of the training."""
        return _short_loop(self)


@dataclass(frozen=True)
class RefineSettings:
    """How the refiner is trained on drawn pictures."""

    PANEL: ClassVar[str] = "Refining"

    steps: int = setting(
        900, help="Number of training steps. Classes and ways of drawing take turns.", within=Range(low=1)
    )
    batch_size: int = setting(12, help="Drawn pictures per training step.", within=Range(2, 4096))
    learning_rate: float = setting(
        7e-5, help="Highest learning rate; the rate then falls along a cosine.", within=Range(above=0)
    )
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(0, 2**62))
    stored_as: Path | None = setting(
        None,
        help="A JPEG photograph as it lay before prepare: drawn pictures get the blocks of such a file.",
        metavar="JPEG",
    )

    def __post_init__(self) -> None:
        check_settings(self)

    def loop(self) -> LoopSettings:
        """Return the settings of the training."""
        return _short_loop(self)


@dataclass(frozen=True)
class ShrinkSettings:
    """How the small decoder is trained."""

    PANEL: ClassVar[str] = "Shrinking"

    steps: int = setting(6000, help="Number of training steps.", within=Range(low=1))
    texture_share: float = setting(
        0.25,
        help="Share of the steps, the last ones, that also compare features and texture. 0 compares pixels alone, "
        "which blurs texture.",
        within=Range(0, 1),
    )
    batch_size: int = setting(8, help="Pictures per training step.", within=Range(low=1))
    learning_rate: float = setting(
        1.5e-3, help="Highest learning rate; the rate then falls along a cosine.", within=Range(above=0)
    )
    width: int = setting(
        48,
        help="Channels of the small decoder's finest level. Each coarser level has sqrt(2) times as many.",
        within=Range(1, 1024),
    )
    pictures: int = setting(
        160,
        help="Pictures that each class draws in each way. An eighth of them, at least one, only judges the result.",
        within=Range(2, 100_000),
    )
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(0, 2**62))

    def __post_init__(self) -> None:
        check_settings(self)

    def loop(self) -> LoopSettings:
        """Return the settings of the training."""
        return decaying_loop(
            self.steps,
            self.batch_size,
            self.learning_rate,
            warmup=min(100, max(1, self.steps // 10)),
            seed=self.seed,
            weight_decay=0.0,
            ema_decay=0.998,
        )


@dataclass(frozen=True)
class MatchDecoderSettings:
    """How the pictures of a small decoder are matched with photographs."""

    PANEL: ClassVar[str] = "Matching"

    steps: int = setting(900, help="Number of training steps. The classes take turns.", within=Range(low=1))
    batch_size: int = setting(8, help="Drawn pictures per training step.", within=Range(2, 4096))
    learning_rate: float = setting(
        6e-5, help="Highest learning rate; the rate then falls along a cosine.", within=Range(above=0)
    )
    anchor_weight: float = setting(
        1.0, help="Weight of the anchor: how strongly pictures stay those of the VAE's decoder.", within=Range(low=0)
    )
    pictures: int = setting(
        160,
        help="Pictures that each class draws. An eighth of them, at least one, only judges the result.",
        within=Range(2, 100_000),
    )
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(0, 2**62))

    def __post_init__(self) -> None:
        check_settings(self)

    def loop(self) -> LoopSettings:
        """Return the settings of the training."""
        return _short_loop(self)


def _short_loop(settings: MatchSettings | RefineSettings | MatchDecoderSettings) -> LoopSettings:
    """Return the settings of a training that changes finished weights a little."""
    return decaying_loop(
        settings.steps,
        settings.batch_size,
        settings.learning_rate,
        warmup=min(20, settings.steps),
        seed=settings.seed,
        weight_decay=0.0,
        ema_decay=0.98,
    )
