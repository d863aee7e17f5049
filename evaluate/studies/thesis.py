"""Figures that the thesis published: "Diffusion models for generating cytological images", West Ukrainian National
University, 2025, tables 3.3 to 3.7.

Its FID and IS are those of Stable Diffusion 1.5 at 512 x 512 on pictures that are not public. The thesis does not name
Inception's layer. Values below 1 cannot be those of the last pooling layer on about 100 pictures; the first 64 features
are the most likely layer. The text to figure 3.6 puts the best FID of cyt_kist_mast at 15,000 steps, but the table puts
it at 20,000. This module follows the tables.
"""

from __future__ import annotations

__all__ = ["MEANS", "OVERALL", "PUBLISHED", "STEPS", "TABLES"]

STEPS = (5000, 10000, 15000, 20000)
PUBLISHED: dict[str, dict[int, tuple[float, float]]] = {
    "cyt_kist_mast": dict(zip(STEPS, ((0.58, 2.60), (0.50, 2.70), (0.46, 2.80), (0.42, 2.90)), strict=True)),
    "cyt_mast": dict(zip(STEPS, ((0.63, 2.45), (0.56, 2.55), (0.50, 2.68), (0.47, 2.73)), strict=True)),
    "cyt_nep_fib_mast": dict(zip(STEPS, ((0.55, 2.55), (0.48, 2.68), (0.44, 2.80), (0.41, 2.88)), strict=True)),
    "cyt_nep_mast": dict(zip(STEPS, ((0.60, 2.48), (0.53, 2.60), (0.49, 2.72), (0.45, 2.80)), strict=True)),
}
"""FID and IS by class and training steps, from tables 3.3 to 3.6."""
TABLES = {"cyt_kist_mast": "3.3", "cyt_mast": "3.4", "cyt_nep_fib_mast": "3.5", "cyt_nep_mast": "3.6"}
MEANS: dict[str, tuple[float, float]] = {
    "cyt_kist_mast": (0.49, 2.75),
    "cyt_mast": (0.54, 2.60),
    "cyt_nep_fib_mast": (0.47, 2.73),
    "cyt_nep_mast": (0.52, 2.65),
}
"""Mean FID and IS of each class, as printed in table 3.7."""
OVERALL = (0.51, 2.68)
"""Mean FID and IS over all classes and steps."""
