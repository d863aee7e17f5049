"""What the thesis published of its own runs: "Diffusion models for generating cytological images", West Ukrainian
National University, 2025, tables 3.3 to 3.7.

Its FID and IS come from Stable Diffusion 1.5 at 512 x 512 on pictures that are not public. It names no layer; values
below 1 cannot be those of Inception's last pooling on about 100 pictures. Those of its first 64 features are likeliest.
Its text to figure 3.6 puts the best FID of cyt_kist_mast at 15,000 steps, its table at 20,000; the table stands here.
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
"""FID and IS by class and training steps: its tables 3.3 to 3.6."""
TABLES = {"cyt_kist_mast": "3.3", "cyt_mast": "3.4", "cyt_nep_fib_mast": "3.5", "cyt_nep_mast": "3.6"}
MEANS: dict[str, tuple[float, float]] = {
    "cyt_kist_mast": (0.49, 2.75),
    "cyt_mast": (0.54, 2.60),
    "cyt_nep_fib_mast": (0.47, 2.73),
    "cyt_nep_mast": (0.52, 2.65),
}
"""Mean FID and IS of each class as its table 3.7 prints them."""
OVERALL = (0.51, 2.68)
"""Mean FID and IS over all classes and steps."""
