"""The tiny base, a merged class and the tiny bundle once more, with a refiner of random weights behind the decoder.

The refiner ends with blocks of JPEG.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from exporter.graphs import export_decoder
from exporter.load import load_merged
from exporter.weights import move_weights
from trainer.base.jpeg import JpegGrid
from trainer.base.refiner import REFINER_FILE, Refiner, RefinerSettings, write_refiner

__all__ = ["GRID", "make_stochastic", "random_refiner"]

GRID = JpegGrid(scale=1.5, left=3, top=0.5)


def random_refiner(**settings: Any) -> Refiner:
    """A refiner for the tiny base with a context branch, unless the settings say otherwise. Its grain is visible.

    With a JpegGrid it rounds to 3 grey levels, in colour to 6, so that two runtimes that round one coefficient
    differently still draw nearly the same picture.
    """
    sizes = {"latent_channels": 4, "factor": 4, "width": 16, "convolutions": 4, "noise_planes": 8, "context_width": 8}
    torch.manual_seed(0)
    refiner = Refiner(RefinerSettings(**{**sizes, **settings}))
    for strength in refiner.strengths:
        nn.init.uniform_(strength, -0.5, 0.5)
    if refiner.jpeg is not None:
        refiner.jpeg.steps.copy_(torch.tensor([3.0, 6.0, 6.0])[:, None, None])
    return refiner.eval().requires_grad_(False)


def make_stochastic(path: Path, folder: Path) -> None:
    """Write folder/base, folder/merged/cyt_mast and folder/bundle from the same of `path`.

    The bundle equals the one that the exporter writes from merged classes with this refiner, except that only its
    decoder is exported again: the exports of the UNets would take a minute.
    """
    for part in ("base", "merged/cyt_mast", "bundle"):
        shutil.copytree(path / part, folder / part)
    for part in ("base", "merged/cyt_mast"):
        write_refiner(random_refiner(jpeg=GRID), folder / part / REFINER_FILE)
    merged, bundle = load_merged(folder / "merged/cyt_mast"), folder / "bundle"
    graph = export_decoder(merged.vae, merged.unet.config.sample_size, merged.refiner)
    move_weights(graph, bundle, "vae_decoder.bin", "vae_decoder.bin", set())
    (bundle / "vae_decoder.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    manifest = json.loads((bundle / "manifest.json").read_text())
    noise = {"planes": merged.refiner.sizes.planes, "scale": merged.refiner.sizes.noise_scale}
    manifest |= {
        "format_version": 2,
        "base_sha256": merged.base_sha256(),
        "decoder_noise": noise,
        "decoder_jpeg": asdict(GRID),
    }
    for name in manifest["decoder"]:
        content = (bundle / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
