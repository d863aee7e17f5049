"""Settings of `likelihood`. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.options import Range, check_settings, setting

__all__ = ["LikelihoodSettings"]


@dataclass(frozen=True)
class LikelihoodSettings:
    """How exactly the log-likelihood is computed."""

    PANEL: ClassVar[str] = "Estimate"

    steps: int = setting(40, help="Steps of Heun's method; each evaluates the UNet twice.", within=Range(2, 10_000))
    probes: int = setting(4, help="Random vectors of Hutchinson's estimator per picture.", within=Range(2, 1_000))
    seed: int = setting(
        0, help="Seed of the first picture. Each further picture has the next seed.", within=Range(low=0)
    )
    batch_size: int = setting(8, help="Pictures at a time. It changes memory and speed only.", within=Range(low=1))

    def __post_init__(self) -> None:
        check_settings(self)
