"""Export a structure once: a store of ONNX graphs that all tests of a session share.

Many tests export the decoder, the text encoder and the UNets of the same tiny base, and each export takes many seconds.
The store holds templates (exporter/reuse.py): graphs without weights, which it fills with the weights of the module
that a test exports. Commands in processes of their own do not use the store: the whole path's export is never stored.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import onnx
from filelock import FileLock
from torch import nn

from exporter import graphs
from exporter.load import load_merged
from exporter.reuse import Place, Template, emptied, structure_of

__all__ = ["SOURCES", "fill_store", "lasting_store", "stored"]

Export = Callable[..., onnx.ModelProto]
SOURCES = ("exporter", "trainer", "benchmarks/peers")
"""Folders with the modules that tests export, and with the exporter."""
PACKAGES = ("torch", "onnx", "onnxscript", "onnx-ir", "diffusers", "transformers", "sympy")
"""Packages that make a graph."""


def lasting_store(root: Path) -> Path:
    """Return the folder of a checkout's store for its present sources and packages. Stores of earlier ones are
    removed."""
    digest = hashlib.sha256(json.dumps([version(name) for name in PACKAGES]).encode())
    for path in sorted(path for name in SOURCES for path in (root / name).rglob("*.py")):
        digest.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    stores = root / "build/test_graphs"
    folder = stores / digest.hexdigest()
    stores.mkdir(parents=True, exist_ok=True)
    for other in stores.iterdir():
        if other.is_dir() and other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def stored(export: Export, folder: Path) -> Export:
    """Return `exporter.graphs.export_graph` with a store in the folder."""
    folder.mkdir(parents=True, exist_ok=True)

    @functools.wraps(export)
    def export_once(module: nn.Module, inputs: Any, *options: Any) -> onnx.ModelProto:
        path = folder / f"{structure_of(module.eval(), inputs, *options)}.onnx"
        with FileLock(path.with_suffix(".lock")):
            if path.exists() and (model := _read(path).filled(module)):
                return model
            with warnings.catch_warnings():
                # Torch's exporter warns of its own future.
                warnings.simplefilter("ignore")
                model = export(module, inputs, *options)
            if (template := emptied(model, module)) is None:
                return model
            _write(path, template)
        filled = template.filled(module)
        assert filled is not None
        return filled

    return export_once


def fill_store(merged: Path, bundle: Path, folder: Path) -> None:
    """Put the graphs of a bundle into the store, which `python -m exporter onnx` wrote from a merged folder."""
    model = load_merged(merged)
    name, shape = model.record["class_name"], tuple(model.embed_prompts([""]).shape[1:])
    side, pixels_per_latent = model.unet.config.sample_size, 2 ** (len(model.vae.config.block_out_channels) - 1)
    exports = {
        f"unet.{name}": lambda: graphs.export_unet(graphs.to_half(model.unet), shape),
        "vae_decoder": lambda: graphs.export_decoder(model.vae, side),
        "vae_encoder": lambda: graphs.export_encoder(model.vae, side * pixels_per_latent),
        "text_encoder": lambda: graphs.export_text_encoder(model.text_encoder, shape[0]),
        "step": lambda: graphs.export_step(model.unet.config.in_channels),
    }
    original = graphs.export_graph
    try:
        for graph, export in exports.items():
            path = bundle / f"{graph}.onnx"
            graphs.export_graph = stored(lambda *_, path=path: onnx.load(path), folder)
            export()
    finally:
        graphs.export_graph = original


def _write(path: Path, template: Template) -> None:
    places = {name: (place.name, place.transposed) for name, place in template.places.items()}
    path.with_suffix(".json").write_text(json.dumps(places))
    unfinished = path.parent / uuid4().hex
    unfinished.write_bytes(template.graph.SerializeToString())
    unfinished.replace(path)


def _read(path: Path) -> Template:
    places = json.loads(path.with_suffix(".json").read_text())
    return Template(onnx.load(path), {name: Place(*place) for name, place in places.items()})
