"""The peer stable-diffusion.cpp. Of this project's sizes it knows only that of Stable Diffusion 1.5.

The program draws whole pictures. The part `step` times the second step of a picture with two steps. The part `decode`
times what follows the step of a picture with one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from benchmarks.peers.peer import Work
from benchmarks.peers.stable_diffusion_cpp_process import draw_alone
from benchmarks.rounds import TOLERANCES, Opened, System
from engine.errors import CytosynthError, RequestError
from engine.sampling.noise import NoiseSource
from exporter.load import MergedModel
from exporter.parity import psnr_db

__all__ = ["StableDiffusionCppPeer"]

NAME = "stable-diffusion.cpp float32"
TIMESTEPS = {"step": (500, 250), "decode": (500,)}
PROMPT, PROMPT_IDS = "cat", (49406, 2368)
"""A prompt and its token ids in CLIP's vocabulary. The program always uses this vocabulary, whatever the folder has."""
PADDING_ID = 49407
SIZE = {"in_channels": 4, "sample_size": 64, "cross_attention_dim": 768}
"""Configuration values that identify the UNet of Stable Diffusion 1.5."""


class StableDiffusionCppPeer:
    """stable-diffusion.cpp on the merged folder."""

    def add_to(self, opened: Opened, work: Work, part: str) -> None:
        """Add the system for a part, or the reason why the program cannot compute it."""
        opened.add(NAME, partial(_system, work, part))


def _system(work: Work, part: str) -> System:
    _expect_known(work, part)
    if find_spec("stable_diffusion_cpp") is None:
        package = "stable-diffusion-cpp-python"
        raise RequestError(package, found="not installed", expected="installed", fix=f"pip install {package}")
    timesteps, guidance_scale = TIMESTEPS[part], work.request.guidance_scale
    sigmas = [float(work.bundle.manifest.noise.sigmas[timestep]) for timestep in timesteps]
    folder = _folder(work)
    draw = partial(draw_alone, folder, PROMPT, sigmas, guidance_scale, work.request.threads)
    _, found = draw()
    psnr = psnr_db(found.astype(np.float64) - _reference(work.merged, timesteps, sigmas, guidance_scale))
    limit = TOLERANCES["picture"]
    if psnr < limit:
        raise CytosynthError(
            f"A picture by {NAME}",
            found=f"{psnr:.1f} dB from diffusers",
            expected=f"at least {limit:g} dB",
            fix="do not compare its speed; report the difference to its authors",
        )
    return System(
        NAME, "stable-diffusion.cpp", lambda: (draw()[0], None), f"a whole picture, {psnr:.1f} dB", warms_up=True
    )


def _expect_known(work: Work, part: str) -> None:
    config = work.merged.unet.config
    found = {name: config[name] for name in SIZE}
    if found != SIZE:
        known = ", ".join(f"{name} {value}" for name, value in SIZE.items())
        words = ", ".join(f"{name} {value}" for name, value in found.items())
        raise RequestError(
            "The UNet", found=words, expected=known, fix="use a base of the size of Stable Diffusion 1.5"
        )
    if part == "picture":
        raise RequestError(
            "The part picture",
            found="a program that starts from its own noise",
            expected="the noise of the other systems",
            fix="compare the parts step and decode",
        )
    if part == "decode" and work.merged.refiner is not None:
        raise RequestError(
            "The part decode",
            found="a program without the refiner",
            expected="a decoder that draws grain",
            fix="compare the part step",
        )
    if work.request.batch_size > 1:
        raise RequestError(
            "A batch",
            found="a program that draws pictures one by one",
            expected="one picture",
            fix="compare batch size 1",
        )


def _folder(work: Work) -> Path:
    """Return a folder with the merged weights under names that the program knows. The text encoder needs the names of
    transformers before version 5."""
    folder = work.folder / "stable-diffusion.cpp"
    if not folder.exists():
        (folder / "text_encoder").mkdir(parents=True)
        for name in ("unet", "vae"):
            (folder / name).symlink_to(work.merged.folder.resolve() / name)
        weights = work.merged.text_encoder.state_dict()
        prefix = "text_model."
        named = {name if name.startswith(prefix) else prefix + name: value for name, value in weights.items()}
        save_file(named, folder / "text_encoder/model.safetensors")
    return folder


@torch.no_grad()
def _reference(
    merged: MergedModel, timesteps: Sequence[int], sigmas: Sequence[float], guidance_scale: float
) -> NDArray[np.uint8]:
    """Draw the same picture with diffusers' modules: Euler steps from CUDA's noise with seed 0. (512, 512, 3) uint8."""
    length = merged.text_encoder.config.max_position_embeddings
    ids = [[*words, *[PADDING_ID] * (length - len(words))] for words in (PROMPT_IDS, PROMPT_IDS[:1])]
    context = merged.text_encoder(torch.tensor(ids))[0]
    shape = (SIZE["in_channels"], SIZE["sample_size"], SIZE["sample_size"])
    x = torch.from_numpy(NoiseSource([0], shape, "nv").draw()) * sigmas[0]
    for timestep, sigma, following in zip(timesteps, sigmas, [*sigmas[1:], 0.0], strict=True):
        doubled = torch.cat([x, x]) / (sigma**2 + 1) ** 0.5
        cond, uncond = merged.unet(doubled, timestep, encoder_hidden_states=context)[0].chunk(2)
        x = x + (following - sigma) * (uncond + guidance_scale * (cond - uncond))
    images: Any = merged.vae.decode(x / merged.vae.config.scaling_factor)[0]
    return np.asarray((255 * (images[0] / 2 + 0.5).clamp(0, 1)).round().byte().permute(1, 2, 0).numpy())
