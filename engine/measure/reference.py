"""What another program compares itself with: the noise, latents and picture of seed 0, as this engine computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from engine.backends.select import open_backend
from engine.bundle.folder import Bundle
from engine.bundle.manifest import Manifest
from engine.bundle.request import EVERYWHERE, GenerateRequest, make_request
from engine.cache import cache_folder
from engine.errors import RequestError
from engine.files import replace_file
from engine.output.provenance import own_version
from engine.pipeline.pipeline import Pipeline, noise_of

__all__ = ["BACKENDS", "FORMAT_VERSION", "SAMPLER", "default_path", "reference_requests", "write_reference"]

FORMAT_VERSION = 1
SAMPLER = "dpmpp_2m"
"""The one that cpp_bench runs."""
BACKENDS = ("openvino", "tensorrt")
"""Those that cpp_bench has."""


def reference_requests(
    manifest: Manifest,
    class_names: Sequence[str],
    *,
    backend: str,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    batch_size: int = 1,
) -> list[GenerateRequest]:
    """A request for each class, guided at every step as cpp_bench does; "all" stands for every class. OpenVINO computes
    in float32. Raises RequestError."""
    if backend not in BACKENDS:
        expected = f"one of {', '.join(BACKENDS)}"
        raise RequestError("--backend", found=backend, expected=expected, fix="choose one of these")
    asked = make_request(
        manifest,
        class_names=class_names,
        n=1,
        backend=backend,
        sampler=SAMPLER,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        guidance_interval=EVERYWHERE,
        batch_size=batch_size,
        precision="f32" if backend == "openvino" else "auto",
    )
    return [replace(asked, class_names=(name,)) for name in asked.class_names]


def default_path(bundle: Bundle, request: GenerateRequest) -> Path:
    """Where a reference lies and is looked for: in the user's cache, named by all that it depends on.

    Raises RequestError where there is no cache.
    """
    folder = cache_folder("references")
    if folder is None:
        raise RequestError(
            "The user's cache", found="no folder that can be written", expected="room for references", fix="name --out"
        )
    return folder / (
        f"{bundle.sha256[:16]}-{request.class_names[0]}-{request.backend}-{request.schedule}"
        f"-{request.num_inference_steps}-{request.guidance_scale:g}.safetensors"
    )


def write_reference(bundle: Bundle, request: GenerateRequest, path: Path) -> None:
    """Compute picture `request.seed` of the request's first class and write it as safetensors.

    Tensors: noise (C, h, w) float32, which times the sampler's initial scale is what it begins at; latents (C, h, w)
    float32, the sampler's result; image (H, W, 3) uint8. The metadata says what they are of, each value as text.
    """
    class_name, seeds = request.class_names[0], (request.seed,)
    bundle.verify_for(request.class_names)
    backend = open_backend(bundle, request)
    with Pipeline(bundle, class_name, request, backend) as pipeline:
        # Every chunk has batch_size pictures; the first is the reference.
        latents = pipeline.generate_latents(seeds * request.batch_size)
        images, _ = pipeline.decode(latents)
    noise = noise_of(bundle, class_name, request)(seeds).draw()[0]
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "bundle_sha256": bundle.sha256,
        "class": class_name,
        "sampler": request.sampler,
        "schedule": request.schedule,
        "num_inference_steps": str(request.num_inference_steps),
        "guidance_scale": repr(request.guidance_scale),
        "seed": str(request.seed),
        "rng": request.rng,
        "backend": request.backend,
        "precision": request.precision,
        "batch_size": str(request.batch_size),
        "runtime": backend.version,
        "engine_version": own_version(),
    }
    tensors = {"noise": noise, "latents": np.ascontiguousarray(latents[0]), "image": np.ascontiguousarray(images[0])}
    with replace_file(path) as part:
        save_file(tensors, part, metadata)
