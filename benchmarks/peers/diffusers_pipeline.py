"""Pipelines of diffusers, which the peers diffusers and ONNX Runtime share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from numpy.typing import NDArray

from benchmarks.peers.peer import TIMESTEP, Work
from benchmarks.rounds import System, timed
from exporter.load import MergedModel

__all__ = ["Drawing", "make_pipeline", "system_of"]


@dataclass(frozen=True)
class Drawing:
    """A pipeline of diffusers, and the refiner behind its decoder if the merged folder has one.

    refine: maps pictures (B, 3, H, W) in [-1, 1], latents and noise to pictures with grain.
    """

    pipeline: StableDiffusionPipeline
    refine: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] | None = None


def make_pipeline(merged: MergedModel, module: Callable[[str], Any]) -> StableDiffusionPipeline:
    """Return a pipeline with DPM++ 2M on Karras's sigmas.

    module: returns the module for the name vae, unet or text_encoder.
    """
    pipeline = StableDiffusionPipeline(
        **{kind: module(kind) for kind in ("vae", "unet", "text_encoder")},
        tokenizer=merged.tokenizer,
        scheduler=DPMSolverMultistepScheduler.from_config(
            merged.scheduler, use_karras_sigmas=True, euler_at_final=False, timestep_spacing="linspace"
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def system_of(program: str, name: str, work: Work, part: str, make: Callable[[], Drawing]) -> System:
    """Return a system that computes a part with a pipeline."""
    drawing = make()
    pipeline = drawing.pipeline
    dtype = pipeline.unet.dtype
    noise, context = torch.from_numpy(work.noise).to(dtype), torch.from_numpy(work.context).to(dtype)
    doubled, (cond, uncond) = torch.cat([noise, noise]), context.chunk(2)

    def decoded(latents: torch.Tensor) -> torch.Tensor:
        pictures = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
        if drawing.refine is None:
            return pictures
        return drawing.refine(pictures, latents, torch.from_numpy(work.decoder_noise["noise"]).to(dtype))

    def picture() -> NDArray[Any]:
        # The pipeline has no refiner, so its decoding is only used without one.
        pictures = pipeline(
            prompt_embeds=cond,
            negative_prompt_embeds=uncond,
            num_inference_steps=work.request.num_inference_steps,
            guidance_scale=work.request.guidance_scale,
            latents=noise,
            output_type="pil" if drawing.refine is None else "latent",
        ).images
        if drawing.refine is not None:
            pictures = pipeline.image_processor.postprocess(decoded(pictures).float(), output_type="pil")
        for seed, one in enumerate(pictures):
            one.save(work.folder / f"{seed}.png", compress_level=1)
        return np.stack([np.asarray(one) for one in pictures])

    def step() -> NDArray[Any]:
        eps = pipeline.unet(doubled, TIMESTEP, encoder_hidden_states=context, return_dict=False)[0]
        return np.asarray(eps.float().numpy())

    def decode() -> NDArray[Any]:
        return np.asarray(pipeline.image_processor.postprocess(decoded(noise), output_type="np") * 255)

    return System(name, program, timed(torch.no_grad()({"picture": picture, "step": step, "decode": decode}[part])))
