"""A stand-in for the package stable_diffusion_cpp: it checks what it is given and returns a prepared picture."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from PIL import Image
from safetensors import safe_open

from benchmarks.peers import stable_diffusion_cpp_process


class StableDiffusion:
    """Takes 0.2 s for each step after the first and 0.1 s to decode."""

    def __init__(self, model_path, n_threads, wtype, vae_decode_only, verbose):
        folder = Path(model_path)
        for name in ("unet", "vae"):
            assert (folder / name / "diffusion_pytorch_model.safetensors").is_file()
        with safe_open(folder / "text_encoder/model.safetensors", "numpy") as weights:
            assert "text_model.embeddings.token_embedding.weight" in weights.keys()  # noqa: SIM118 - not a dict
        self.picture = folder.parents[1] / "picture.png"

    def generate_image(self, prompt, cfg_scale, sample_method, sample_steps, sigmas, seed, progress_callback):
        high, *rest = map(float, sigmas.split(","))
        assert len(rest) == sample_steps
        assert rest == sorted(rest, reverse=True)
        assert high > rest[0]
        assert rest[-1] == 0
        for step in range(sample_steps + 1):
            time.sleep(0.2 if step > 1 else 0)
            progress_callback(step, sample_steps, 0.0)
        time.sleep(0.1)
        return [Image.open(self.picture).convert("RGBA")]


def draw(*arguments):
    """Do what the peer's process does, with the stand-in as the package. Only the process itself calls this."""
    sys.modules["stable_diffusion_cpp"] = sys.modules[__name__]
    return stable_diffusion_cpp_process._draw(*arguments)
