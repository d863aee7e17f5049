"""Checks of what determines a sampler's table: a learned table alone, or a sampler with distinct noise levels."""

from __future__ import annotations

import numpy as np

from engine.bundle.manifest import Manifest
from engine.bundle.settings import RequestSettings
from engine.errors import RequestError
from engine.sampling.samplers import noise_levels

__all__ = ["expect_distinct_levels", "expect_table_alone"]


def expect_table_alone(settings: RequestSettings) -> None:
    """Raise RequestError if a setting would change a learned table, which is good only as it is."""
    sampling, guidance = settings.sampling, settings.guidance
    given = {
        "--sampler": sampling.sampler is not None,
        "--schedule": sampling.schedule is not None,
        "--steps": sampling.num_inference_steps is not None,
        "--guidance-scale": guidance.guidance_scale is not None,
        "--guidance-interval": guidance.guidance_interval is not None,
        "--init": settings.initial.init is not None,
        "--hires-scale": settings.hires.hires_scale is not None or settings.hires.hires_size is not None,
    }
    if wrong := [flag for flag, is_given in given.items() if is_given]:
        raise RequestError(
            f"--preset {sampling.preset}",
            found=f"{wrong[0]}, too",
            expected="a preset alone, because its noise levels, coefficients and guidance were learned together and "
            "begin at noise",
            fix=f"leave out {wrong[0]}, or the preset",
        )


def expect_distinct_levels(manifest: Manifest, sampler: str, schedule: str, num_inference_steps: int) -> None:
    """Raise RequestError if two steps would share a noise level."""
    levels = noise_levels(manifest.noise, sampler=sampler, schedule=schedule, num_inference_steps=num_inference_steps)
    if not (np.diff(levels) < 0).all():
        raise RequestError(
            f"--steps with --schedule {schedule}",
            found=str(num_inference_steps),
            expected="fewer steps, so that no two steps share a noise level",
            fix="lower --steps",
        )
