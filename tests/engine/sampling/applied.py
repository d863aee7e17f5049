"""What the engine's loop does with the rows of a table, in float64 and with a function instead of a UNet."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np


def rows_of(stages):
    """The rows of a sampler's stages, without the inputs of a UNet."""
    keeps_d = np.eye(6)[1]
    return [
        SimpleNamespace(
            sigma=stage.sigma,
            x=stage.x,
            point=stage.u,
            kept=keeps_d if stage.kept is None else stage.kept,
            draws=stage.x[5] != 0 or (stage.u is not None and stage.u[5] != 0),
        )
        for stage in stages
    ]


def apply_rows(rows, x, denoise, noise=()):
    """The last x. denoise: from u and sigma to D. noise: what rows that need noise take, one after another."""
    left, u, past = iter(noise), x, [np.zeros_like(x)] * 3
    for row in rows:
        denoised = denoise(u, row.sigma)
        vectors = [x, denoised, *past, next(left) if row.draws else np.zeros_like(x)]

        def combined(terms, vectors=vectors):
            return sum(term * vector for term, vector in zip(terms, vectors, strict=True))

        x = combined(row.x)
        u = x if row.point is None else combined(row.point)
        past = [combined(row.kept), *past[:2]]
    return x
