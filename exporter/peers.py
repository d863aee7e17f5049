"""`bench`: the engine against diffusers on the same merged weights, steps, guidance, batch and machine, in one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from numpy.typing import NDArray

from engine.backends.select import open_backend
from engine.bench import processor_name
from engine.bundle import Bundle
from engine.errors import CytosynthError
from engine.formats import encode_png
from engine.manifest import Manifest
from engine.noise import NoiseSource
from engine.pipeline import Pipeline, plan_of
from engine.provenance import describe
from engine.request import GenerateRequest, make_request
from exporter.load import load_merged

__all__ = ["TOLERANCE_DB", "compare_speed"]

TOLERANCE_DB = 20.0
"""Peers whose pictures of the same noise differ by more are not compared. Their timesteps are rounded to integers."""
Run = Callable[[list[int], Path], NDArray[np.uint8]]


def compare_speed(
    bundle: Bundle,
    merged_folder: Path,
    *,
    batch_size: int,
    guidance_scale: float,
    steps: int,
    rounds: int,
    compiled: bool = True,
) -> dict[str, Any]:
    """Pictures a second, decoding and PNG files included, of the engine and of diffusers in float32 and bfloat16,
    eager and, unless `compiled` is False, compiled. The order of every round is turned by one, after a warm-up round
    that also compares the pictures.

    Returns a record with the raw seconds. Raises CytosynthError where a peer's pictures differ too much.
    """
    class_name = load_merged(merged_folder).record["class_name"]

    def request(precision: str) -> GenerateRequest:
        return make_request(
            bundle.manifest,
            class_names=[class_name],
            n=batch_size,
            backend="openvino",
            batch_size=batch_size,
            guidance_scale=guidance_scale,
            num_inference_steps=steps,
            precision=precision,
        )

    bundle.verify_for([class_name])
    prompt = bundle.manifest.classes[class_name].prompt
    engines = {
        "engine f32": _engine(bundle, request("f32")),
        "engine auto": _engine(bundle, request("auto")),
    }
    peers = {
        f"diffusers {name}{' compiled' if mode else ''}": _diffusers(
            merged_folder, bundle.manifest, prompt, request("f32"), dtype, mode
        )
        for mode in ((False, True) if compiled else (False,))
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    runs: dict[str, Run] = {**engines, **peers}
    seeds = list(range(batch_size))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as folder:
        first = {name: run(seeds, Path(folder)) for name, run in runs.items()}
        psnr = {name: _psnr_db(pictures, first["engine f32"]) for name, pictures in first.items()}
        for name, value in psnr.items():
            if value < TOLERANCE_DB:
                raise CytosynthError(
                    f"The pictures of {name}",
                    found=f"{value:.1f} dB from those of the engine in float32",
                    expected=f"at least {TOLERANCE_DB:g} dB",
                    mend="compare only what computes the same",
                )
        names = list(runs)
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                began = time.perf_counter()
                runs[name](seeds, Path(folder))
                seconds[name].append(round(time.perf_counter() - began, 4))
    best = min(float(np.median(seconds[name])) for name in peers)
    return {
        "machine": processor_name(),
        "class": class_name,
        "batch_size": batch_size,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "pictures_per_second": {name: batch_size / float(np.median(values)) for name, values in seconds.items()},
        "times_the_best_of_diffusers": {name: best / float(np.median(seconds[name])) for name in engines},
        "psnr_db_against_engine_f32": {name: value for name, value in psnr.items() if name != "engine f32"},
        "bundle_sha256": bundle.sha256,
        "versions": {name: version(name) for name in ("diffusers", "torch", "openvino", "numpy")},
    }


def _engine(bundle: Bundle, request: GenerateRequest) -> Run:
    class_name = request.class_names[0]
    pipeline = Pipeline(bundle, class_name, request, open_backend(bundle, request))
    plan, scales = plan_of(bundle, request)
    description = describe(bundle, request, class_name, plan.sha256(scales))

    def run(seeds: list[int], folder: Path) -> NDArray[np.uint8]:
        pictures, _ = pipeline.decode(pipeline.generate_latents(seeds))
        for seed, picture in zip(seeds, pictures, strict=True):
            (folder / f"{seed}.png").write_bytes(encode_png(picture, {**description, "seed": seed}))
        return pictures

    return run


def _diffusers(
    folder: Path, manifest: Manifest, prompt: str, request: GenerateRequest, dtype: torch.dtype, compiled: bool
) -> Run:
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=dtype, safety_checker=None, use_safetensors=True, local_files_only=True
    )
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, use_karras_sigmas=True, euler_at_final=False, timestep_spacing="linspace"
    )
    pipeline.set_progress_bar_config(disable=True)
    if compiled:
        pipeline.unet = torch.compile(pipeline.unet)
        pipeline.vae.decode = torch.compile(pipeline.vae.decode)

    def run(seeds: list[int], target: Path) -> NDArray[np.uint8]:
        noise = torch.from_numpy(NoiseSource(seeds, manifest.latent_shape).draw()).to(dtype)
        with torch.no_grad():
            pictures = pipeline(
                [prompt] * len(seeds),
                num_inference_steps=request.num_inference_steps,
                guidance_scale=request.guidance_scale,
                latents=noise,
            ).images
        for seed, picture in zip(seeds, pictures, strict=True):
            picture.save(target / f"{seed}.png", compress_level=1)
        return np.stack([np.asarray(picture) for picture in pictures])

    return run


def _psnr_db(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    mse = np.mean((found.astype(float) - wanted.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(float(mse), 1e-10)))
