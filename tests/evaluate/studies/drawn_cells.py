"""Drawn blood cells of known shape and stain."""

from __future__ import annotations

import numpy as np

# Optical densities (log10) of red, green and blue: typical of blood films stained after May-Grünwald and Giemsa.
NUCLEUS, CYTOPLASM, RED_CELL = (0.45, 0.72, 0.14), (0.10, 0.14, 0.02), (0.08, 0.12, 0.07)


def blood_cell(
    side=128, axes=(0.18, 0.09), angle=0.0, cell=0.28, nucleus=NUCLEUS, background=(250, 226, 200), shift=(0.0, 0.0)
):
    """A cell of radius `cell` with an elliptic nucleus of the semi-axes `axes`, shares of the side, and four red cells;
    the cell lies `shift` off the centre."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    density = np.zeros((side, side, 3))
    for place in ((-0.4, -0.4), (0.4, -0.38), (-0.4, 0.4), (0.35, 0.42)):
        density[np.hypot(y - place[0], x - place[1]) < 0.11] = RED_CELL
    y, x = y - shift[0], x - shift[1]
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    density[np.hypot(y, x) < cell] = CYTOPLASM
    density[np.hypot(u / axes[0], v / axes[1]) < 1] = nucleus
    noise = np.random.default_rng(0).normal(0, 1.5, density.shape)
    return np.clip(background * 10**-density + noise, 0, 255).astype(np.uint8)


BLANK = {
    "uniform": np.full((64, 64, 3), (232, 228, 230), np.uint8),
    "black": np.zeros((64, 64, 3), np.uint8),
    "noise": np.random.default_rng(0).integers(225, 235, (64, 64, 3)).astype(np.uint8),
    "red cells alone": blood_cell(64, (0.001, 0.001), cell=0.0),
    "nucleus in a corner": blood_cell(64, (0.08, 0.08), cell=0.1, shift=(-0.4, -0.4)),
}
