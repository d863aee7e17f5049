"""The manifest of a bundle: make, read and replace it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.bundle.manifest import DECODERS_VERSION, FORMAT_VERSION, UNETS_VERSION, read_manifest
from engine.errors import RequestError
from engine.files import contents_of, replace_file
from engine.names import CLASS_NAME_RULE, is_class_name
from exporter.card import base_facts, defaults_of
from exporter.graphs import frequencies
from exporter.load import MergedModel
from exporter.refiner import Refiner
from exporter.settings import BundleSettings

__all__ = [
    "DECODER",
    "DECODER_WEIGHTS",
    "INT8",
    "OF_PRESET",
    "SIGNAL_LEAK",
    "STEP",
    "TEXT_ENCODER",
    "TEXT_WEIGHTS",
    "TOKENIZER",
    "drop_changed_unets",
    "drop_unused",
    "existing_manifest",
    "expect_facts",
    "facts_of_the_base",
    "load_manifest",
    "new_manifest",
    "refiner_facts",
    "replace_manifest",
]

INT8 = ".int8.onnx"
"""Ending of the names of 8-bit graphs."""
OF_CLASS = "unet."
"""Beginning of the names of the UNets of classes."""
SIGNAL_LEAK = "signal_leak."
"""Beginning of the names of signal leaks."""
OF_PRESET = "preset."
"""Beginning of the names of the UNets and decoders of presets."""
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
    """Remove files that nothing uses any more from the manifest: UNets, 8-bit graphs and signal leaks of replaced
    classes, and UNets and decoders of replaced presets. Return the names of these files. The version becomes the one
    that the rest needs."""
    classes, presets = [*manifest["classes"].values()], [*manifest.get("presets", {}).values()]
    of_presets = [unet for preset in presets for unet in preset.get("unets", {}).values()]
    used = {manifest.get("decoder_int8"), *(entry.get("signal_leak") for entry in classes)}
    for preset in presets:
        used |= {*preset.get("decoder", ()), preset.get("decoder_int8")}
    for unet in (*classes, *of_presets):
        used |= {unet["unet"], unet.get("unet_int8"), *unet["weights"]}
    beginnings = (OF_CLASS, SIGNAL_LEAK, OF_PRESET)
    optional = {name for name in manifest["files"] if name.endswith(INT8) or name.startswith(beginnings)}
    dropped = optional - used
    for name in dropped:
        del manifest["files"][name]
    if any("decoder" in preset for preset in presets):
        manifest["format_version"] = DECODERS_VERSION
    elif of_presets or any("low_rank" in entry for entry in classes):
        manifest["format_version"] = UNETS_VERSION
    elif manifest["format_version"] >= UNETS_VERSION:
        manifest["format_version"] = FORMAT_VERSION
    return dropped


def drop_changed_unets(manifest: dict[str, Any], before: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Remove UNets of presets that are made of weights which have changed, and presets whose UNets are all removed.

    before: the `files` of the manifest before the change. Returns the preset and the class of each removed UNet.
    """
    removed = []
    for preset, settings in list(manifest.get("presets", {}).items()):
        unets = settings.get("unets", {})
        for class_name, unet in list(unets.items()):
            moved = not set(manifest["classes"][class_name]["weights"]) <= {*unet["weights"]}
            if moved or any(manifest["files"].get(name) != before.get(name) for name in unet["weights"]):
                del unets[class_name]
                removed.append((preset, class_name))
        if "unets" in settings and not unets:
            del manifest["presets"][preset]
    return removed


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


def facts_of_the_base(model: MergedModel, context_shape: tuple[int, int]) -> dict[str, Any]:
    """Return the fields of a manifest that say how the models are run. context_shape: (tokens, width)."""
    side = model.unet.config.sample_size
    schedule = {key: model.scheduler[key] for key in ("beta_start", "beta_end", "num_train_timesteps")}
    return {
        **refiner_facts(model.refiner),
        "latents": {
            "channels": model.unet.config.in_channels,
            "height": side,
            "width": side,
            "multiple": 2 ** (len(model.unet.config.block_out_channels) - 1),
            "pixels_per_latent": 2 ** (len(model.vae.config.block_out_channels) - 1),
        },
        "context": {"tokens": context_shape[0], "width": context_shape[1]},
        "time_features": {"order": "cos_sin", "frequencies": frequencies(model.unet)},
        "schedule": {"kind": "scaled_linear", "prediction_type": "epsilon", **schedule},
    }


def refiner_facts(refiner: Refiner | None) -> dict[str, Any]:
    """Return the fields of a manifest that say what a refiner adds to a decoder: noise as an input, blocks of JPEG."""
    if refiner is None:
        return {}
    sizes = refiner.sizes
    facts: dict[str, Any] = {"decoder_noise": {"planes": sizes.planes, "scale": sizes.noise_scale}}
    return facts if sizes.jpeg is None else {**facts, "decoder_jpeg": asdict(sizes.jpeg)}


def expect_facts(model: MergedModel, manifest: dict[str, Any], context_shape: tuple[int, int], out: Path) -> None:
    """Raise RequestError for a UNet that is run otherwise than the others of the bundle."""
    facts = facts_of_the_base(model, context_shape)
    pairs: dict[str, tuple[Any, ...]] = {name: (facts[name], manifest[name]) for name in ("latents", "context")}
    # The values are sums of rounding on another machine; their number tells the width of the UNet.
    pairs["time_features"] = tuple(len(one["time_features"]["frequencies"]) for one in (facts, manifest))
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise RequestError(
                f"The class {model.record['class_name']} for the bundle {out}, {name}",
                found=str(found),
                expected=f"{expected}, as the bundle's other classes have",
                fix="export classes of another base into another bundle",
            )
