"""stable-diffusion.cpp in a process of its own, which leaves its memory to others afterwards and imports no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import CytosynthError

__all__ = ["draw_alone"]


def draw_alone(
    folder: Path, prompt: str, sigmas: Sequence[float], guidance_scale: float, threads: int
) -> tuple[float, NDArray[np.uint8]]:
    """Euler's steps from CUDA's noise of seed 0, then the decoding: seconds from the end of the first step to that of
    what follows it, a step or the decoding, and the picture, (H, W, 3) uint8. Raises CytosynthError where there is
    none, and BrokenProcessPool where the program crashes."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_draw, folder, prompt, sigmas, guidance_scale, threads).result()
        except ValueError as error:  # a null pointer, from weights that it could not read
            raise CytosynthError(
                f"stable-diffusion.cpp on {folder}",
                found=f"no picture ({error})",
                expected="a picture",
                fix="see what it says with verbose=True",
            ) from error


def _draw(
    folder: Path, prompt: str, sigmas: Sequence[float], guidance_scale: float, threads: int
) -> tuple[float, NDArray[np.uint8]]:
    from stable_diffusion_cpp import StableDiffusion

    program = StableDiffusion(str(folder), n_threads=threads, wtype="f32", vae_decode_only=True, verbose=False)
    ends: dict[int, float] = {}
    (picture,) = program.generate_image(
        prompt,
        cfg_scale=guidance_scale,
        sample_method="euler",
        sample_steps=len(sigmas),
        sigmas=",".join(map(repr, [*sigmas, 0.0])),
        seed=0,
        progress_callback=lambda step, steps, _: ends.setdefault(step, time.perf_counter()),
    )
    ends[len(sigmas) + 1] = time.perf_counter()
    return ends[2] - ends[1], np.asarray(picture.convert("RGB"))
