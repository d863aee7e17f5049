"""The log-likelihood of pictures under a merged model, in bits per dimension of their latents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import RequestError
from engine.files import sha256_of
from engine.progress import Progress, silent
from trainer.base.base import Base, digest_of, encode_prompts
from trainer.likelihood.probability_flow import Estimate, log_likelihood
from trainer.likelihood.settings import LikelihoodSettings
from trainer.pictures.dataset import PictureSet
from trainer.training.devices import Compute, choose_attention
from trainer.training.encoding import encode_set

__all__ = ["FORMAT", "Likelihoods", "measure_likelihood"]

FORMAT = "cytosynth-likelihood-1"
"""First field of the record, which `evaluate` expects."""


@dataclass(frozen=True)
class Likelihoods:
    """The bits per dimension of each picture: - log2 p / d, where d counts the numbers of a latent."""

    paths: list[Path]
    bits: np.ndarray[Any, np.dtype[np.float64]]
    errors: np.ndarray[Any, np.dtype[np.float64]]
    """Standard errors of Hutchinson's estimates of `bits`."""
    facts: dict[str, Any]
    """The model and the settings: likelihoods with equal facts can be compared."""

    @property
    def mean(self) -> float:
        """The mean of the pictures."""
        return float(self.bits.mean())

    @property
    def mean_error(self) -> float:
        """The standard error of the mean that Hutchinson's estimator causes."""
        return float(np.sqrt((self.errors**2).sum()) / len(self.errors))

    def as_json(self) -> dict[str, Any]:
        """Return the content of the record. It names files without their folders."""
        rows = zip(self.paths, self.bits.tolist(), self.errors.tolist(), strict=True)
        return {
            "format": FORMAT,
            "model": self.facts,
            "bits_per_dimension": self.mean,
            "standard_error": self.mean_error,
            "pictures": [
                {"file": path.name, "sha256": sha256_of(path), "bits_per_dimension": bits, "standard_error": error}
                for path, bits, error in rows
            ],
        }


def measure_likelihood(
    base: Base,
    prompt: str,
    data: PictureSet,
    settings: LikelihoodSettings,
    compute: Compute,
    progress: Progress = silent,
) -> Likelihoods:
    """Return the likelihood of each picture under a prompt, without guidance.

    The latents are the means of the autoencoder's posterior. Noise of the smallest level of the model is added to
    them, because a density of the latents themselves may be infinite. Noise and probes come from the picture's seed.

    Raises RequestError if the pictures are not of the model's size.
    """
    if data.size != base.picture_side:
        raise RequestError(
            "The pictures",
            found=f"{data.size} x {data.size} pixels",
            expected=f"{base.picture_side} x {base.picture_side} pixels, the size of the model's pictures",
            fix=f"prepare them with --size {base.picture_side}",
        )
    noise = base.noise
    sigmas = float(noise.sigmas[0]), float(noise.sigmas[-1])
    latents = encode_set(base.vae.to(compute.device), data.pictures, compute)
    unet = base.unet.eval().requires_grad_(False).to(compute.device)
    choose_attention(unet, compute.device)
    with torch.no_grad():
        context = encode_prompts(base, [prompt]).to(compute.device)

    def eps(x: torch.Tensor, sigma: float) -> torch.Tensor:
        t = torch.tensor(noise.timesteps(np.array(sigma)), dtype=torch.float32, device=x.device)
        found: torch.Tensor = unet(x / math.sqrt(1 + sigma**2), t, context.expand(len(x), -1, -1)).sample
        return found

    starts = range(0, len(latents), settings.batch_size)
    total, done = len(starts) * settings.steps, 0
    estimates: list[Estimate] = []
    for start in starts:

        def tick() -> None:
            nonlocal done
            done += 1
            progress("likelihood", done, total)

        chunk = latents[start : start + settings.batch_size]
        x, probes = _draw(chunk, sigmas[0], settings, settings.seed + start)
        x, probes = x.to(compute.device), probes.to(compute.device)
        estimates.append(log_likelihood(eps, x, probes, sigmas, settings.steps, tick))
    per_bit = -1 / (math.log(2) * latents[0].numel())
    return Likelihoods(
        data.paths,
        (torch.cat([one.values for one in estimates]) * per_bit).numpy(),
        (torch.cat([one.errors for one in estimates]) * -per_bit).numpy(),
        {
            "unet_sha256": digest_of(base.unet),
            "vae_sha256": digest_of(base.vae),
            "prompt": prompt,
            "dimensions": latents[0].numel(),
            "sigmas": list(sigmas),
            "steps": settings.steps,
            "probes": settings.probes,
        },
    )


def _draw(
    latents: torch.Tensor, sigma: float, settings: LikelihoodSettings, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the latents with noise (B, C, h, w), and the probes (K, B, C, h, w)."""
    noisy, probes = [], []
    for place, latent in enumerate(latents):
        generator = torch.Generator().manual_seed(seed + place)
        noisy.append(latent + sigma * torch.randn(latent.shape, generator=generator))
        probes.append(torch.randint(2, (settings.probes, *latent.shape), generator=generator).float() * 2 - 1)
    return torch.stack(noisy), torch.stack(probes, dim=1)
