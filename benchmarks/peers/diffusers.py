"""diffusers as a system of `bench`: eager, compiled, and its loop on ONNX Runtime. Each pipeline is made once."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from numpy.typing import NDArray

from benchmarks.peers.onnxruntime import expect_one_file, replace_by_onnxruntime
from benchmarks.peers.work import TIMESTEP, Work
from benchmarks.rounds import Opened, System, timed
from engine.errors import RequestError
from exporter.load import MergedModel

__all__ = ["DiffusersPeers"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class DiffusersPeers:
    """The pipelines of one merged folder."""

    def __init__(self, merged: MergedModel, threads: int) -> None:
        self._merged, self._threads = merged, threads
        self._eager, self._compiled, self._onnxruntime = (
            cache(make) for make in (self._make_eager, self._make_compiled, self._make_onnxruntime)
        )

    def add_to(self, opened: Opened, work: Work, part: str) -> None:
        """The systems of a part. Compiled code of the parts before is dropped: after eight shapes torch would compile
        no more, and be eager in silence."""
        torch.compiler.reset()
        pipelines: dict[str, Callable[[], StableDiffusionPipeline]]
        pipelines = {f"diffusers {dtype}": partial(self._eager, dtype) for dtype in DTYPES}
        pipelines |= {f"diffusers {dtype} compiled": partial(self._compiled, dtype) for dtype in DTYPES}
        pipelines["ONNX Runtime float32"] = self._onnxruntime
        for name, pipeline in pipelines.items():
            opened.add(name, partial(_system, name, work, part, pipeline))

    def _make_eager(self, dtype: str) -> StableDiffusionPipeline:
        def module(kind: str) -> Any:
            """In float32 the folder's own, as nothing changes them: a copy of Stable Diffusion's size is 4 GB."""
            own = getattr(self._merged, kind)
            return own if own.dtype == DTYPES[dtype] else copy.deepcopy(own).to(DTYPES[dtype])

        return self._pipeline(module)

    def _make_compiled(self, dtype: str) -> StableDiffusionPipeline:
        if shutil.which("g++") is None and shutil.which("clang++") is None:
            raise RequestError("torch.compile", found="no C++ compiler", expected="g++", fix="apt install g++")
        eager = self._eager(dtype)

        def twin(kind: str) -> Any:
            """The module again, on the same tensors."""
            module = getattr(eager, kind)
            return copy.deepcopy(module, {id(one): one for one in (*module.parameters(), *module.buffers())})

        pipeline = self._pipeline(twin)
        pipeline.unet.compile(dynamic=False)
        pipeline.vae.decode = torch.compile(pipeline.vae.decode, dynamic=False)
        return pipeline

    def _make_onnxruntime(self) -> StableDiffusionPipeline:
        """With both networks on ONNX Runtime, as Optimum runs them."""
        expect_one_file(self._merged.unet)
        pipeline = self._pipeline(lambda kind: copy.deepcopy(getattr(self._merged, kind)))
        replace_by_onnxruntime(pipeline, self._threads, self._merged.tokenizer.model_max_length)
        return pipeline

    def _pipeline(self, module: Callable[[str], Any]) -> StableDiffusionPipeline:
        """With DPM++ 2M on Karras's sigmas."""
        pipeline = StableDiffusionPipeline(
            **{kind: module(kind) for kind in ("vae", "unet", "text_encoder")},
            tokenizer=self._merged.tokenizer,
            scheduler=DPMSolverMultistepScheduler.from_config(
                self._merged.scheduler, use_karras_sigmas=True, euler_at_final=False, timestep_spacing="linspace"
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _system(name: str, work: Work, part: str, make: Callable[[], StableDiffusionPipeline]) -> System:
    pipeline = make()
    dtype = pipeline.unet.dtype
    noise, context = torch.from_numpy(work.noise).to(dtype), torch.from_numpy(work.context).to(dtype)
    doubled, (cond, uncond) = torch.cat([noise, noise]), context.chunk(2)

    def picture() -> NDArray[Any]:
        pictures = pipeline(
            prompt_embeds=cond,
            negative_prompt_embeds=uncond,
            num_inference_steps=work.request.num_inference_steps,
            guidance_scale=work.request.guidance_scale,
            latents=noise,
        ).images
        for seed, one in enumerate(pictures):
            one.save(work.folder / f"{seed}.png", compress_level=1)
        return np.stack([np.asarray(one) for one in pictures])

    def step() -> NDArray[Any]:
        eps = pipeline.unet(doubled, TIMESTEP, encoder_hidden_states=context, return_dict=False)[0]
        return np.asarray(eps.float().numpy())

    def decode() -> NDArray[Any]:
        images = pipeline.vae.decode(noise / pipeline.vae.config.scaling_factor, return_dict=False)[0]
        return np.asarray(pipeline.image_processor.postprocess(images, output_type="np") * 255)

    return System(name, timed(torch.no_grad()({"picture": picture, "step": step, "decode": decode}[part])))
