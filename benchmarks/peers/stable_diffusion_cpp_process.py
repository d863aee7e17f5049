"""Run stable-diffusion.cpp in its own process, which imports no torch and frees its memory at the end."""

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
    """Draw a picture with Euler steps from CUDA's noise with seed 0.

    Returns the seconds between the end of the first step and the end of what follows it (the second step or the
    decoding), and the picture (H, W, 3) uint8. Raises CytosynthError if the program returns no picture, and
    BrokenProcessPool if it crashes.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_draw, folder, prompt, sigmas, guidance_scale, threads).result()
        except ValueError as error:  # a null pointer: the program could not read the weights
            raise CytosynthError(
                f"stable-diffusion.cpp on {folder}",
                found=f"no picture ({error})",
                expected="a picture",
                fix="run the package with verbose=True and read its messages",
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
