"""The manifest of a bundle: make, read and replace it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.bundle.manifest import FORMAT_VERSION, read_manifest
from engine.errors import RequestError
from engine.files import contents_of, replace_file
from engine.names import CLASS_NAME_RULE, is_class_name
from exporter.card import base_facts, defaults_of
from exporter.settings import BundleSettings

__all__ = [
    "DECODER",
    "DECODER_WEIGHTS",
    "INT8",
    "SIGNAL_LEAK",
    "STEP",
    "TEXT_ENCODER",
    "TEXT_WEIGHTS",
    "TOKENIZER",
    "drop_unused",
    "existing_manifest",
    "load_manifest",
    "new_manifest",
    "replace_manifest",
]

INT8 = ".int8.onnx"
"""Ending of the names of 8-bit graphs."""
SIGNAL_LEAK = "signal_leak."
"""Beginning of the names of signal leaks."""
DECODER, DECODER_WEIGHTS, STEP = "vae_decoder.onnx", "vae_decoder.bin", "step.onnx"
TEXT_ENCODER, TEXT_WEIGHTS, TOKENIZER = "text_encoder.onnx", "text_encoder.bin", "tokenizer.json"


def load_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a bundle as plain values."""
    return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


def replace_manifest(folder: Path, manifest: dict[str, Any], new_files: Mapping[str, Path] | None = None) -> None:
    """Replace the manifest of a bundle.

    new_files: maps names in the bundle to files that move there just before the manifest is replaced. Raises
    RequestError and leaves the bundle unchanged if the engine cannot read the manifest.
    """
    with replace_file(folder / "manifest.json") as part:
        part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        read_manifest(part)
        for name, path in (new_files or {}).items():
            path.replace(folder / name)


def existing_manifest(out: Path) -> dict[str, Any] | None:
    """Return the manifest of a bundle's folder as plain values, or None if the folder is new or empty."""
    if not out.exists() or not contents_of(out):
        return None
    read_manifest(out / "manifest.json")
    return load_manifest(out)


def drop_unused(manifest: dict[str, Any]) -> set[str]:
    """Remove files that no class uses any more from the manifest: 8-bit graphs and signal leaks of replaced classes.
    Return the names of these files."""
    used = {entry.get(key) for entry in manifest["classes"].values() for key in ("unet_int8", "signal_leak")}
    used |= {manifest.get("decoder_int8")}
    optional = {name for name in manifest["files"] if name.endswith(INT8) or name.startswith(SIGNAL_LEAK)}
    dropped = optional - used
    for name in dropped:
        del manifest["files"][name]
    return dropped


def new_manifest(out: Path, settings: BundleSettings, card: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a bundle without classes. Raises RequestError for values that the engine refuses."""
    name = settings.name or out.resolve().name
    if not is_class_name(name):
        raise RequestError("The bundle's name", found=name, expected=CLASS_NAME_RULE, fix="choose one with --name")
    if settings.guidance_interval is not None and not 0 <= (ends := settings.guidance_interval)[0] <= ends[1] < 1e6:
        raise RequestError(
            "--guidance-interval",
            found=f"{ends[0]:g} {ends[1]:g}",
            expected="0 <= LO <= HI < 1000000, in sigma",
            fix="change the values",
        )
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        **base_facts(card, settings.base),
        "decoder": [DECODER, DECODER_WEIGHTS],
        "step": STEP,
        "text_encoder": {"graph": TEXT_ENCODER, "weights": [TEXT_WEIGHTS], "tokenizer": TOKENIZER},
        "defaults": {"sampler": "dpmpp_2m", "schedule": "karras", **defaults_of(card, settings)},
        "classes": {},
        "files": {},
    }
