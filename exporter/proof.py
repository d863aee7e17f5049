"""Check of an export: each graph runs once on OpenVINO and on ONNX Runtime, and both must agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.backends.base import Backend
from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.bundle.manifest import Manifest, read_manifest
from engine.errors import CytosynthError
from engine.sampling.schedules import time_features

__all__ = ["prove"]

LIMIT = 0.01
"""Largest relative L2 difference of the runtimes. Both use float16 weights; one computes in float32, one in float16."""
LEVELS = 8
"""Largest mean difference of decoded pixels in grey levels."""


def prove(folder: Path, class_name: str, preset: str | None = None) -> None:
    """Raise CytosynthError unless both runtimes run every graph of the class with finite results that agree. The check
    uses one picture with half of the bundle's side, to save time and memory. preset: check the preset's UNet and small
    decoder alone."""
    manifest = read_manifest(folder / "manifest.json")
    first, second = (
        _run(backend, folder, manifest, class_name, preset)
        for backend in (OpenVINOBackend(precision="f32", cached=False), ORTBackend())
    )
    for name, values in first.items():
        other = second[name]
        if values.dtype == np.uint8:
            difference, limit = float(np.abs(values.astype(int) - other.astype(int)).mean()), float(LEVELS)
        else:
            values, other = values.astype(np.float64), other.astype(np.float64)
            difference = float(np.linalg.norm(values - other) / max(float(np.linalg.norm(values)), 1e-12))
            limit = LIMIT
        if not (np.isfinite(values).all() and np.isfinite(other).all() and difference <= limit):
            raise CytosynthError(
                f"The exported class {class_name}, {name}",
                found=f"OpenVINO and ONNX Runtime differ by {difference:.2g}",
                expected=f"finite, at most {limit:g}",
                fix="check the merged folder for weights beyond the range of float16; nothing was written",
            )


def _run(
    backend: Backend, folder: Path, manifest: Manifest, class_name: str, preset: str | None
) -> dict[str, NDArray[Any]]:
    """Return every output by "GRAPH NAME"."""
    channels, height, width = manifest.latent_shape
    multiple = manifest.latent_multiple
    sides = [max(multiple, side // 2 // multiple * multiple) for side in (height, width)]
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((1, channels, *sides)).astype(np.float32)
    entry = manifest.classes[class_name]
    unet, decoder = manifest.unet_of(class_name, preset).unet, manifest.decoder_of(preset).decoder[0]
    row = np.array([1.5, 500.5, 0.5, 0.7, 0.2, 0.1, 0.0, 2.0], np.float32)
    graphs: dict[str, tuple[dict[str, NDArray[Any]], tuple[str, ...]]] = {
        unet: (
            {
                "latents": latents,
                "time_features": time_features(np.array([500.5]), np.array(manifest.frequencies)),
                "encoder_hidden_states": load_file(folder / entry.context)["cond"][None],
            },
            ("eps",),
        ),
        decoder: (
            {
                name: latents if name == "latents" else rng.standard_normal(shape).astype(np.float32)
                for name, shape in manifest.decoder_inputs(1, (channels, sides[0], sides[1])).items()
            },
            ("images", "finite"),
        ),
        manifest.step: (
            {**dict.fromkeys(("x", "eps_cond", "eps_uncond", "D_prev", "z"), latents), "row": row},
            ("x_next", "D"),
        ),
    }
    if manifest.vae_encoder is not None:
        size = (manifest.pixels_per_latent * sides[0], manifest.pixels_per_latent * sides[1])
        pixels = rng.integers(0, 256, (1, *size, 3), np.uint8)
        graphs[manifest.vae_encoder[0]] = ({"images": pixels}, ("latents",))
    if manifest.text_encoder is not None:
        ids = np.zeros((1, manifest.context_shape[0]), np.int64)
        graphs[manifest.text_encoder.graph] = ({"input_ids": ids}, ("hidden_states",))
    if preset is not None:
        own = (unet, decoder) if manifest.presets[preset].decoder else (unet,)
        graphs = {name: graphs[name] for name in own}
    found: dict[str, NDArray[Any]] = {}
    for graph, (inputs, outputs) in graphs.items():
        model = backend.open(folder / graph, {name: value.shape for name, value in inputs.items()}, outputs)
        found |= {f"{graph} {name}": np.asarray(value) for name, value in model.run(inputs).items()}
        model.close()
    return found
