"""Writing a bundle: graphs, shared and own weights, prompt embeddings, manifest; one class at a time."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
from safetensors.torch import save

from engine.errors import RequestError
from engine.manifest import FORMAT_VERSION, Defaults, read_manifest
from exporter.graphs import export_decoder, export_step, export_text_encoder, export_unet, frequencies
from exporter.load import MergedModel, load_merged
from exporter.weights import mergeable_digests, move_weights

__all__ = ["write_bundle"]

UNET_WEIGHTS, DECODER, DECODER_WEIGHTS, STEP = "unet.bin", "vae_decoder.onnx", "vae_decoder.bin", "step.onnx"
TEXT_ENCODER, TEXT_WEIGHTS, TOKENIZER = "text_encoder.onnx", "text_encoder.bin", "tokenizer.json"


def write_bundle(
    merged_folders: list[Path],
    out: Path,
    *,
    name: str,
    base: str,
    defaults: Defaults,
    progress: Callable[[str], None] = lambda what: None,
) -> None:
    """Write each merged folder as a class of the bundle `out`, adding to it where it exists.

    All files are made and checked in a temporary folder beside `out`; then they are moved in, the manifest last.
    A class that is there already is replaced; the other classes' files are not touched.
    Raises RequestError where a class comes from another base than the bundle's.
    """
    if out.exists() and any(out.iterdir()):
        read_manifest(out / "manifest.json")
    models = [load_merged(folder) for folder in merged_folders]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        staging = Path(temporary)
        for model in models:
            _add_class(model, out, staging, name=name, base=base, defaults=defaults, progress=progress)


def _add_class(
    model: MergedModel,
    out: Path,
    staging: Path,
    *,
    name: str,
    base: str,
    defaults: Defaults,
    progress: Callable[[str], None],
) -> None:
    record = model.record
    class_name = record["class_name"]
    manifest_path = out / "manifest.json"
    embeddings = model.embed_prompts([record["prompt"], ""])
    context_shape = (embeddings.shape[1], embeddings.shape[2])
    graph_name, own_name, context_name = (
        f"unet.{class_name}.onnx",
        f"unet.{class_name}.bin",
        f"context.{class_name}.safetensors",
    )
    progress(f"{class_name}: UNet")
    unet = export_unet(model.unet, context_shape)
    weights = move_weights(unet, UNET_WEIGHTS, own_name, mergeable_digests(model.unet))
    files = {graph_name: unet.SerializeToString(deterministic=True), **weights}
    if manifest_path.exists():
        manifest = json.loads(manifest_path.read_text())
        _check_same_base(manifest, files[UNET_WEIGHTS], out, class_name)
    else:
        progress("decoder, step and text encoder")
        manifest = _new_manifest(model, name=name, base=base, defaults=defaults, context_shape=context_shape)
        decoder = export_decoder(model.vae, model.unet.config.sample_size)
        files |= move_weights(decoder, DECODER_WEIGHTS, DECODER_WEIGHTS, set())
        files[DECODER] = decoder.SerializeToString(deterministic=True)
        files[STEP] = export_step(model.unet.config.in_channels).SerializeToString(deterministic=True)
        text_encoder = export_text_encoder(model.text_encoder, context_shape[0])
        files |= move_weights(text_encoder, TEXT_WEIGHTS, TEXT_WEIGHTS, set())
        files[TEXT_ENCODER] = text_encoder.SerializeToString(deterministic=True)
        files[TOKENIZER] = model.tokenizer_json().encode()
    cond, uncond = (embedding.clone() for embedding in embeddings)
    files[context_name] = save({"cond": cond, "uncond": uncond})
    for file_name, content in files.items():
        (staging / file_name).write_bytes(content)
    for graph in staging.glob("*.onnx"):
        onnx.checker.check_model(graph, full_check=True)
    manifest["classes"][class_name] = {
        "unet": graph_name,
        "weights": [UNET_WEIGHTS, own_name],
        "context": context_name,
        **{key: record[key] for key in ("prompt", "origin", "pictures", "licence", "attribution")},
    }
    for path in sorted(staging.iterdir()):
        manifest["files"][path.name] = _file_entry(path)
    (staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    read_manifest(staging / "manifest.json")
    for path in sorted(staging.iterdir(), key=lambda path: path.name == "manifest.json"):
        target = out / path.name
        if target.exists() and target.read_bytes() == path.read_bytes():
            path.unlink()
        else:
            os.replace(path, target)
    progress(f"{class_name}: written")


def _check_same_base(manifest: dict[str, Any], shared: bytes, out: Path, class_name: str) -> None:
    expected = manifest["files"][UNET_WEIGHTS]["sha256"]
    found = hashlib.sha256(shared).hexdigest()
    if found != expected:
        raise RequestError(
            f"The class {class_name} for the bundle {out}",
            found=f"shared UNet weights of SHA-256 {found}",
            expected=f"{expected}, those of the bundle's base",
            mend="export classes of another base into another bundle",
        )


def _new_manifest(
    model: MergedModel, *, name: str, base: str, defaults: Defaults, context_shape: tuple[int, int]
) -> dict[str, Any]:
    side = model.unet.config.sample_size
    schedule = {key: model.scheduler[key] for key in ("beta_start", "beta_end", "num_train_timesteps")}
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "base": base,
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
        "defaults": asdict(defaults),
        "decoder": [DECODER, DECODER_WEIGHTS],
        "step": STEP,
        "text_encoder": {"graph": TEXT_ENCODER, "weights": [TEXT_WEIGHTS], "tokenizer": TOKENIZER},
        "classes": {},
        "files": {},
    }


def _file_entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
