"""A table as parameters: noise levels that descend, and what is added to the coefficients of DPM++ 2M."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from engine.sampling.learned import LearnedRow, LearnedTable
from engine.sampling.samplers import SamplerPlan
from engine.sampling.schedules import NoiseSchedule

__all__ = ["TableParameters"]

PASTS = 3
"""c, c2 and c3: coefficients of earlier D."""


class TableParameters(nn.Module):
    """The parameters of a table of N rows, which begins as the plan that it is made from.

    The levels are sigma_i = sigma_{i+1} exp(e^{gap_i}). With r_i = sigma_{i+1} / sigma_i and the coefficients b, c of
    DPM++ 2M for these levels, row i is x_next = (r + da) x + b' D + (c + dc) D_1 + dc2 D_2 + dc3 D_3, where b' makes
    the sum of all coefficients 1 for the last row, and 1 for every other row, as it is in every solver: latents that
    all equal one constant stay there.
    """

    def __init__(self, plan: SamplerPlan, scales: tuple[float, ...], noise: NoiseSchedule) -> None:
        super().__init__()
        sigmas = torch.tensor([row.sigma for row in plan.rows], dtype=torch.float64)
        self._noise, self._limits = noise, (float(noise.sigmas[0]), float(noise.sigmas[-1]))
        self._levels = torch.from_numpy(noise.sigmas).log()
        self.lowest = nn.Parameter(sigmas[-1].log().float())
        self.gaps = nn.Parameter((sigmas[:-1] / sigmas[1:]).log().log().float())
        self.shifts = nn.Parameter(torch.zeros(len(sigmas)))
        """Added to the timestep of each row, in hundreds."""
        self.a = nn.Parameter(torch.zeros(len(sigmas)))
        self.pasts = nn.Parameter(torch.zeros(len(sigmas), PASTS))
        self.scales = nn.Parameter(torch.tensor(scales))
        guided = torch.tensor([scale != 1 for scale in scales])
        known = torch.arange(len(sigmas))[:, None] > torch.arange(PASTS)
        self._guided, self._known = guided, known

    def sigmas(self) -> torch.Tensor:
        """Return the descending levels (N,), within those of the model."""
        logs = self.lowest + torch.flip(torch.cumsum(torch.flip(self.gaps.exp(), (0,)), 0), (0,))
        low, high = map(math.log, self._limits)
        return torch.cat([logs, self.lowest[None]]).clamp(low, high).exp()

    def timesteps(self, sigmas: torch.Tensor) -> torch.Tensor:
        """Return what the UNet is told about each level (N,)."""
        levels = self._levels.to(sigmas)
        found = sigmas.log()
        place = torch.searchsorted(levels, found.detach()).clamp(1, len(levels) - 1)
        low, high = levels[place - 1], levels[place]
        exact = place - 1 + (found - low) / (high - low)
        return (exact + 100 * self.shifts).clamp(0, len(levels) - 1)

    def coefficients(self, sigmas: torch.Tensor) -> torch.Tensor:
        """Return a, b, c, c2, c3 of each row, (N, 5)."""
        ratio = torch.cat([sigmas[1:] / sigmas[:-1], torch.zeros(1).to(sigmas)])
        # The last step goes to sigma 0 and returns D, which is of first order.
        inner = ratio[:-1]
        steps = -inner.log()
        extrapolation = torch.zeros_like(ratio)
        if len(inner) > 1:
            extrapolation[1:-1] = (steps[1:] / (2 * steps[:-1])) * (1 - inner[1:])
        a = ratio + self.a
        pasts = torch.where(self._known, self.pasts, torch.zeros_like(self.pasts))
        pasts = torch.cat([(pasts[:, 0] - extrapolation)[:, None], pasts[:, 1:]], dim=1)
        b = 1 - a - pasts.sum(1)
        return torch.cat([a[:, None], b[:, None], pasts], dim=1)

    def guidance(self) -> list[torch.Tensor | None]:
        """Return the guidance scale of each row; None for a row without guidance, which needs half the work."""
        return [scale if guided else None for scale, guided in zip(self.scales, self._guided.tolist(), strict=True)]

    @torch.no_grad()
    def table(self) -> LearnedTable:
        """Return the table as data."""
        sigmas = self.sigmas()
        timesteps, coefficients = self.timesteps(sigmas).tolist(), self.coefficients(sigmas).tolist()
        scales = [1.0 if scale is None else float(scale) for scale in self.guidance()]
        bounded = np.clip(sigmas.numpy().astype(np.float64), *self._limits).tolist()
        return LearnedTable(
            tuple(
                LearnedRow(sigma, timestep, scale, *row)
                for sigma, timestep, scale, row in zip(bounded, timesteps, scales, coefficients, strict=True)
            )
        )
