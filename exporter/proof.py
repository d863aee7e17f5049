"""The proof of an export: one evaluation of the UNet and one decode on OpenVINO and ONNX Runtime, which agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.backends.base import Backend
from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.errors import CytosynthError
from engine.manifest import Manifest, read_manifest
from engine.schedules import time_features

__all__ = ["prove"]

LIMIT = 0.01
"""Relative L2 between the runtimes; they compute in float16's rounded weights, one in float32, one in float16."""
LEVELS = 8
"""Grey levels by which a decoded pixel may differ on average."""


def prove(folder: Path, class_name: str) -> None:
    """Raise CytosynthError unless both runtimes run the class's graphs, finite, and agree. One picture of half the
    bundle's side, for time and memory."""
    manifest = read_manifest(folder / "manifest.json")
    results = [
        _run(backend, folder, manifest, class_name)
        for backend in (OpenVINOBackend(precision="f32", cached=False), ORTBackend())
    ]
    (eps, images), (other_eps, other_images) = results
    difference = float(np.linalg.norm(eps - other_eps) / max(float(np.linalg.norm(eps)), 1e-12))
    levels = float(np.abs(images.astype(int) - other_images.astype(int)).mean())
    if not (np.isfinite(eps).all() and difference <= LIMIT and levels <= LEVELS):
        raise CytosynthError(
            f"The exported class {class_name}",
            found=f"OpenVINO and ONNX Runtime differ by {difference:.2g} in eps, {levels:.2g} levels in the picture",
            expected=f"finite, at most {LIMIT:g} and {LEVELS}",
            mend="nothing was written; look at the merged folder: weights beyond float16's range do this",
        )


def _run(
    backend: Backend, folder: Path, manifest: Manifest, class_name: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    channels, height, width = manifest.latent_shape
    multiple = manifest.latent_multiple
    sides = [max(multiple, side // 2 // multiple * multiple) for side in (height, width)]
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((1, channels, *sides)).astype(np.float32)
    entry = manifest.classes[class_name]
    inputs = {
        "latents": latents,
        "time_features": time_features(np.array([500.5]), np.array(manifest.frequencies)),
        "encoder_hidden_states": load_file(folder / entry.context)["cond"][None],
    }
    unet = backend.open(folder / entry.unet, {name: value.shape for name, value in inputs.items()}, ("eps",))
    eps = unet.run(inputs)["eps"]
    unet.close()
    decoder = backend.open(folder / manifest.decoder[0], {"latents": latents.shape}, ("images", "finite"))
    images = decoder.run({"latents": latents})["images"]
    decoder.close()
    return np.asarray(eps, np.float32), images
