"""Samplers as tables: one row per evaluation of the UNet, in float64 and without any model.

A row evaluates D = u - sigma * eps(u * c_in, t) at a point u, which is x if the row before says nothing else. Then
`x_next = a x + b D + c H1 + c2 H2 + c3 H3 + d z`. H1, H2, H3 are what the three rows before kept: their D, if they say
nothing else. z is standard normal, and x is variance-exploding: x = x0 + sigma * eps. The equations of the samplers are
in the files of their families: `multistep`, `single_step`, `stochastic` and `score_sde`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from engine.sampling.multistep import dpmpp_2m, lms, plms, unipc
from engine.sampling.schedules import ABOVE_ZERO, SCHEDULES, Floats, NoiseSchedule
from engine.sampling.score_sde import predictor_corrector, probability_flow, reverse_sde
from engine.sampling.single_step import ddim, dpm2, euler, heun
from engine.sampling.stages import Sampling, Stage, stages_of
from engine.sampling.start import SAME, StartLevel
from engine.sampling.stochastic import (
    ddpm,
    dpm2_a,
    dpm_fast,
    dpmpp_2m_sde,
    dpmpp_2m_sde_heun,
    dpmpp_2s_a,
    dpmpp_3m_sde,
    dpmpp_sde,
    euler_a,
    langevin,
    lcm,
    restart,
)

__all__ = [
    "LANGEVIN",
    "NO_TABLE",
    "SAMPLERS",
    "Langevin",
    "Sampler",
    "SamplerPlan",
    "StepRow",
    "noise_levels",
    "plan_steps",
]

Terms = tuple[float, ...]
"""Coefficients of x, D, H1, H2, H3 and z."""
KEEPS_D = (0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
CFG_PLUS_PLUS = 12.5
"""The WebUI divides the guidance scale by this number if the sampler is DDIM CFG++."""


@dataclass(frozen=True)
class StepRow:
    """One evaluation: the noise level, the inputs of the UNet (timestep, input scale), and the coefficients of what
    follows."""

    sigma: float
    timestep: float
    c_in: float
    a: float
    b: float
    c: float
    d: float
    c2: float = 0.0
    c3: float = 0.0
    point: Terms | None = None
    """Coefficients (6,) of the next u. None evaluates at the next x."""
    kept: Terms = KEEPS_D
    """Coefficients (6,) of what later rows see as H1, H2, H3."""

    @property
    def x(self) -> Terms:
        """Coefficients (6,) of the next x."""
        return self.a, self.b, self.c, self.c2, self.c3, self.d

    @property
    def keeps_denoised(self) -> bool:
        """Whether the row keeps D."""
        return self.kept == KEEPS_D

    @property
    def simple(self) -> bool:
        """Whether the row is x_next = a x + b D + c H1 + d z, evaluates at x and keeps D."""
        return self.point is None and self.keeps_denoised and self.c2 == self.c3 == 0

    @property
    def draws(self) -> bool:
        """Whether the row needs new noise."""
        return any(terms[5] for terms in (self.x, self.point or KEEPS_D))


@dataclass(frozen=True)
class SamplerPlan:
    """The table of a sampler: its rows in order, and the standard deviation of the first latents."""

    initial_scale: float
    rows: tuple[StepRow, ...]
    guidance_factors: tuple[float, ...] | None = None
    """What the guidance scale of each guided row is multiplied by. None changes no scale."""

    def as_json(self) -> dict[str, Any]:
        """Return the table as plain JSON values, as cpp_bench reads it."""
        rows = []
        for row in self.rows:
            inputs = {"sigma": row.sigma, "timestep": row.timestep, "c_in": row.c_in}
            terms = {"x": row.x, "kept": row.kept, **({} if row.point is None else {"point": row.point})}
            rows.append({**inputs, **{name: list(values) for name, values in terms.items()}})
        return {"initial_scale": self.initial_scale, "rows": rows}

    def sha256(self, scales: tuple[float, ...]) -> str:
        """Return the hash of these numbers and of the guidance scale of each row, as little-endian float64.

        The numbers that only some samplers need follow if a row has one of them.
        """
        numbers = [self.initial_scale]
        for row, scale in zip(self.rows, scales, strict=True):
            numbers += [row.sigma, row.timestep, row.c_in, row.a, row.b, row.c, row.d, scale]
        if not all(row.simple for row in self.rows):
            for row in self.rows:
                numbers += [row.c2, row.c3, *(row.point or row.x), *row.kept]
        return hashlib.sha256(np.array(numbers, "<f8").tobytes()).hexdigest()


@dataclass(frozen=True)
class Sampler:
    """A sampler: its stages, and the facts that its plan needs."""

    stages: Sampling
    schedule: str
    """Name of its native schedule."""
    variance_preserving: bool = False
    """Whether the first latents have the deviation sqrt(1 + sigma^2), as in DDPM and DDIM, instead of sigma."""
    ends_at_zero: bool = True
    """Whether the last step goes to sigma 0. DDIM ends at the model's smallest sigma, as Stable Diffusion configures it
    (set_alpha_to_one false)."""
    skips_last_level: bool = False
    """Whether the last level above 0 is left out, and the schedule has one level more instead, as in the WebUI."""
    guidance_plus_plus: bool = False
    """Whether noise returns without guidance: CFG++, Chung et al. 2024 (arXiv:2406.08070)."""


@dataclass(frozen=True)
class Langevin:
    """The settings of annealed Langevin dynamics besides its noise levels."""

    step_size: float = 1e-4
    """Step of the smallest level, in units of x squared."""
    steps_per_level: int = 20


LANGEVIN = "langevin"

SAMPLERS: dict[str, Sampler] = {
    "dpmpp_2m": Sampler(stages_of(dpmpp_2m), "karras"),
    "euler": Sampler(stages_of(euler), "normal"),
    "euler_a": Sampler(stages_of(euler_a), "normal"),
    "ddim": Sampler(stages_of(ddim), "leading", variance_preserving=True, ends_at_zero=False),
    "ddpm": Sampler(stages_of(ddpm), "leading", variance_preserving=True),
    LANGEVIN: Sampler(stages_of(partial(langevin, step_size=Langevin().step_size)), "exponential"),
    "dpmpp_sde": Sampler(dpmpp_sde, "karras"),
    "dpmpp_2m_sde": Sampler(dpmpp_2m_sde, "exponential"),
    "dpmpp_2m_sde_heun": Sampler(dpmpp_2m_sde_heun, "exponential"),
    "dpmpp_2s_a": Sampler(dpmpp_2s_a, "karras"),
    "dpmpp_3m_sde": Sampler(dpmpp_3m_sde, "exponential", skips_last_level=True),
    "lms": Sampler(lms, "normal"),
    "heun": Sampler(heun, "normal"),
    "dpm2": Sampler(dpm2, "karras", skips_last_level=True),
    "dpm2_a": Sampler(dpm2_a, "karras", skips_last_level=True),
    "dpm_fast": Sampler(dpm_fast, "exponential", ends_at_zero=False),
    "restart": Sampler(restart, "karras"),
    "ddim_cfgpp": Sampler(
        stages_of(ddim), "leading", variance_preserving=True, ends_at_zero=False, guidance_plus_plus=True
    ),
    "plms": Sampler(plms, "leading", variance_preserving=True, ends_at_zero=False),
    "unipc": Sampler(unipc, "sgm_uniform", variance_preserving=True, ends_at_zero=False),
    "lcm": Sampler(lcm, "lcm"),
    "reverse_sde": Sampler(reverse_sde, "exponential"),
    "predictor_corrector": Sampler(predictor_corrector, "exponential"),
    "probability_flow": Sampler(probability_flow, "exponential"),
}

NO_TABLE = {
    "dpm_adaptive": "it chooses each step by the error of the step before, so that it has no fixed table, and the "
    "pictures of one batch would influence each other"
}
"""Samplers of the WebUI that this engine refuses, and why."""


def noise_levels(noise: NoiseSchedule, *, sampler: str, schedule: str, num_inference_steps: int) -> Floats:
    """Return the descending noise levels above 0 of a sampler's steps. Raises KeyError for an unknown name."""
    if SAMPLERS[sampler].skips_last_level:
        return SCHEDULES[schedule](noise, num_inference_steps + 1)[:-1]
    return SCHEDULES[schedule](noise, num_inference_steps)


def plan_steps(
    noise: NoiseSchedule,
    *,
    sampler: str,
    schedule: str,
    num_inference_steps: int,
    langevin_settings: Langevin = Langevin(),
    start: StartLevel | None = None,
) -> SamplerPlan:
    """Return the plan of a run.

    start: where to begin if the first latents are those of an initial picture, x = z + initial_scale * noise. Nothing
    is evaluated at strength 0.

    A plan that ends above sigma 0 scales its last x by 1 / sqrt(1 + sigma^2), so that every plan ends with latents.
    Raises KeyError for an unknown sampler or schedule.
    """
    chosen = SAMPLERS[sampler]
    count = start.steps(num_inference_steps) if start else num_inference_steps
    levels = noise_levels(noise, sampler=sampler, schedule=schedule, num_inference_steps=count)
    if start is not None:
        levels = start.cut(levels, num_inference_steps)
        if not len(levels):
            return SamplerPlan(0.0, ())
    sampling = chosen.stages
    if sampler == LANGEVIN:
        levels = np.repeat(levels, langevin_settings.steps_per_level)
        sampling = stages_of(partial(langevin, step_size=langevin_settings.step_size))
    last = float(noise.sigmas[0]) if not chosen.ends_at_zero or schedule in ABOVE_ZERO else 0.0
    first = float(levels[0])
    from_noise = start is None and chosen.variance_preserving
    return SamplerPlan(
        initial_scale=float(np.sqrt(1 + first**2)) if from_noise else first,
        rows=_rows(noise, sampling(np.append(levels, last)), last),
        guidance_factors=_plus_plus(np.append(levels, last)) if chosen.guidance_plus_plus else None,
    )


def _rows(noise: NoiseSchedule, stages: list[Stage], last: float) -> tuple[StepRow, ...]:
    sigmas = np.array([stage.sigma for stage in stages])
    columns = np.column_stack([sigmas, noise.timesteps(sigmas), 1 / np.sqrt(sigmas**2 + 1)])
    rows = []
    for i, ((sigma, timestep, c_in), stage) in enumerate(zip(columns.tolist(), stages, strict=True)):
        x = stage.x / np.sqrt(1 + last**2) if i == len(stages) - 1 else stage.x
        a, b, c, c2, c3, d = x.tolist()
        point = None if stage.u is None else tuple(stage.u.tolist())
        kept = KEEPS_D if stage.kept is None else tuple(stage.kept.tolist())
        rows.append(StepRow(sigma, timestep, c_in, a, b, c, d, c2, c3, point, kept))
    return tuple(rows)


def _plus_plus(sigmas: Floats) -> tuple[float, ...]:
    """Return the factors of CFG++. With D_s = D_uncond + s (D_cond - D_uncond) and q = sigma_{i+1} / sigma_i, its step
    x_{i+1} = D_l + q (x_i - D_uncond) is the step x_{i+1} = q x_i + (1 - q) D_s of DDIM with s = l / (1 - q).

    A last step that goes nowhere, because the schedule itself ends at the smallest sigma, has no use for D.
    """
    moved = 1 - sigmas[1:] / sigmas[:-1]
    return tuple((1 / CFG_PLUS_PLUS / np.where(moved > SAME, moved, 1)).tolist())
