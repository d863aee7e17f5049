"""Merged folders whose UNets have a LoRA in them, and the learned table of a preset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from engine.bundle.manifest import Manifest
from engine.sampling.samplers import plan_steps

RANK = 2
CHANGED = ("to_q.weight", "to_v.weight", "conv1.weight")


def distilled(merged: Path, folder: Path, strength: float = 0.3) -> Path:
    """Copy a merged folder and change its UNet by a matrix of rank RANK per layer, the same in every class."""
    shutil.copytree(merged, folder)
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    rng = np.random.default_rng(0)
    for name in sorted(name for name in tensors if name.endswith(CHANGED)):
        weight = tensors[name]
        rows = len(weight)
        change = rng.standard_normal((rows, RANK)) @ rng.standard_normal((RANK, weight.size // rows))
        tensors[name] = weight + (strength / RANK**0.5 * weight.std() * change).reshape(weight.shape).astype(np.float32)
    save_file(tensors, path)
    return folder


def table_of(path: Path, manifest: Manifest, guidance_scale: float = 1.0, **changes: object) -> Path:
    """Write the file of a learned table with the numbers of DPM++ 2M in three steps."""
    plan = plan_steps(manifest.noise, sampler="dpmpp_2m", schedule="karras", num_inference_steps=3)
    names = ("sigma", "timestep", "a", "b", "c")
    rows = [{name: getattr(row, name) for name in names} | {"guidance_scale": guidance_scale} for row in plan.rows]
    path.write_text(json.dumps({"format": "cytosynth-table-1", "rows": rows} | changes))
    return path
