"""`engine reference`: the noise, latents and picture of seed 0, with which cpp_bench compares its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from engine.backends.select import open_backend
from engine.bundle.folder import Bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import EVERYWHERE, settings_of
from engine.cache import cache_folder
from engine.errors import RequestError
from engine.files import replace_file
from engine.pipeline.pipeline import Pipeline, decoder_noise_of, noise_of
from engine.version import __version__

__all__ = ["BACKENDS", "FORMAT_VERSION", "SAMPLER", "default_path", "reference_jobs", "write_reference"]

FORMAT_VERSION = 2
"""Version 2 holds the table of the sampler."""
SAMPLER = "dpmpp_2m"
"""The sampler of the references that cpp_bench finds by itself."""
BACKENDS = ("openvino", "tensorrt")
"""The backends of cpp_bench."""


def reference_jobs(
    bundle: Bundle,
    class_names: Sequence[str],
    *,
    backend: str,
    sampler: str | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    batch_size: int = 1,
    preset: str | None = None,
) -> list[Job]:
    """Return a job for each class, guided at every step as in cpp_bench; "all" stands for every class.

    OpenVINO computes in float32. sampler: None is SAMPLER, or the table of the preset. Raises RequestError.
    """
    if backend not in BACKENDS:
        expected = f"one of {', '.join(BACKENDS)}"
        raise RequestError("--backend", found=backend, expected=expected, fix="choose one of these")
    settings = settings_of(
        backend=backend,
        preset=preset,
        sampler=sampler or (SAMPLER if preset is None else None),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        guidance_interval=EVERYWHERE if preset is None else None,
        batch_size=batch_size,
        precision="f32" if backend == "openvino" else "auto",
    )
    job = make_job(bundle, class_names, 1, settings)
    if preset is not None:
        _expect_one_scale(job, preset)
    draws = any(row.draws for row in job.plan.rows)
    name = job.request.sampler
    if draws or job.plan.guidance_factors is not None:
        raise RequestError(
            "--sampler",
            found=f"{name}, which {'adds noise' if draws else 'changes the guidance scale from step to step'}",
            expected="a sampler that does not, because cpp_bench draws no noise and has one guidance scale",
            fix=f"choose another sampler, for example {SAMPLER}",
        )
    return [job.changed(class_names=(name,)) for name in job.request.class_names]


def _expect_one_scale(job: Job, preset: str) -> None:
    """Raise RequestError unless the preset has a learned table with one guidance scale."""
    if job.request.table is None or len({*job.scales}) > 1:
        raise RequestError(
            f"--preset {preset}",
            found="no learned table" if job.request.table is None else "a guidance scale that changes between rows",
            expected="a learned table with one guidance scale, which is all that cpp_bench reads of a preset",
            fix="choose another preset, or leave it out and give --sampler, --steps and --guidance-scale",
        )


def default_path(job: Job) -> Path:
    """Return the path in the user's cache at which cpp_bench looks for the reference of a job.

    The name contains everything that the reference depends on. Raises RequestError if there is no cache.
    """
    folder = cache_folder("references")
    if folder is None:
        raise RequestError(
            "The user's cache",
            found="no writable folder",
            expected="a folder for references",
            fix="name a file with --out",
        )
    request = job.request
    schedule = request.schedule if request.sampler == SAMPLER else f"{request.sampler}-{request.schedule}"
    settings = f"{schedule}-{request.num_inference_steps}-{request.guidance_scale:g}"
    if request.preset is not None:
        settings = f"preset-{request.preset}"
    return folder / f"{job.bundle.sha256[:16]}-{request.class_names[0]}-{request.backend}-{settings}.safetensors"


def write_reference(job: Job, path: Path) -> None:
    """Compute the picture with the seed of the request, for its first class, and write it as safetensors.

    The tensors are noise (C, h, w) float32, latents (C, h, w) float32, which are the result of the sampler, and image
    (H, W, 3) uint8; for a decoder that draws grain also decoder_noise (planes, H, W) float32. The sampler begins at the
    noise times its initial scale. The metadata holds the settings as text.
    """
    request = job.request
    class_name, seeds = request.class_names[0], (request.seed,)
    chunk = seeds * request.batch_size
    job.bundle.verify_for(request.class_names, request.preset)
    backend = open_backend(job)
    with Pipeline(job, class_name, backend) as pipeline:
        # A chunk always has batch_size pictures. The first one is the reference.
        latents = pipeline.generate_latents(chunk)
        images, _ = pipeline.decode(latents, chunk)
    noise = noise_of(job, class_name)(seeds).draw()[0]
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "bundle_sha256": job.bundle.sha256,
        "class": class_name,
        "sampler": request.sampler,
        "schedule": request.schedule,
        "plan": json.dumps(job.plan.as_json()),
        "num_inference_steps": str(request.num_inference_steps),
        "guidance_scale": repr(request.guidance_scale),
        "seed": str(request.seed),
        "rng": request.rng,
        "shared_noise": str(request.shared_noise).lower(),
        "backend": request.backend,
        "precision": request.precision,
        "batch_size": str(request.batch_size),
        "runtime": backend.version,
        "engine_version": __version__,
    }
    if request.preset is not None:
        metadata["preset"] = request.preset
    tensors = {"noise": noise, "latents": np.ascontiguousarray(latents[0]), "image": np.ascontiguousarray(images[0])}
    tensors |= {f"decoder_{name}": values[0] for name, values in decoder_noise_of(job, class_name, seeds).items()}
    with replace_file(path) as part:
        save_file(tensors, part, metadata)
