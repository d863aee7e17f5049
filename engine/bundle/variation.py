"""The variation of a request: checked, and its seed drawn."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from engine.bundle.settings import VariationSettings
from engine.errors import RequestError
from engine.options import Range, check_settings, check_within
from engine.sampling.noise import MAX_SEED
from engine.sampling.variation import Variation

__all__ = ["variation_request"]

LEAST_SIDE, MAX_SIDE = 8, 4096


def variation_request(
    settings: VariationSettings, count: int, pixels_per_latent: int, previous: Mapping[str, Any] | None
) -> Variation | None:
    """Return the checked variation of a request, or None if it has none. Raises RequestError.

    Args:
        settings: The settings of the variation.
        count: Number of pictures.
        pixels_per_latent: Sides of the noise in pixels are whole multiples of this.
        previous: Identity of the run to resume, which supplies a seed that was drawn.
    """
    check_settings(settings)
    strength, size = settings.variation_strength, settings.noise_size
    if settings.variation_seed is not None and not strength:
        raise RequestError(
            "--variation-seed",
            found="no --variation-strength",
            expected="a strength above 0",
            fix="add --variation-strength, for example 0.1, or leave out --variation-seed",
        )
    for side in size or ():
        check_within("--noise-size", side, Range(max(LEAST_SIDE, pixels_per_latent), MAX_SIDE))
        if side % pixels_per_latent:
            raise RequestError(
                "--noise-size", found=str(side), expected=f"multiples of {pixels_per_latent}", fix="change the sides"
            )
    if not strength and size is None:
        return None
    seed = None
    if strength:
        seed = _drawn(previous) if settings.variation_seed in (None, -1) else settings.variation_seed
        assert seed is not None
        check_within("--variation-seed", seed, Range(0, MAX_SEED - count))
    width, height = size or (None, None)
    return Variation(seed, strength, width, height)


def _drawn(previous: Mapping[str, Any] | None) -> int:
    """Return the seed of the run to resume, or a new one."""
    kept = (previous or {}).get("variation")
    seed = kept.get("seed") if isinstance(kept, Mapping) else None
    return seed if isinstance(seed, int) else secrets.randbelow(2**32)
