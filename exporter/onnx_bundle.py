"""Write a bundle class by class: graphs, weights, prompt embeddings and the manifest."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import onnx
from safetensors.torch import save

from engine.bundle.manifest import read_manifest
from engine.errors import RequestError
from engine.files import expect_place, sha256_of
from engine.locks import locked_folder
from engine.names import look_alikes
from engine.options import check_settings
from engine.progress import StageProgress, silent_stages
from exporter.card import differing_settings, read_card
from exporter.class_unets import ClassUnets
from exporter.graphs import export_decoder, export_encoder, export_step, export_text_encoder
from exporter.load import MergedModel, load_merged
from exporter.manifest_file import (
    DECODER,
    DECODER_WEIGHTS,
    SIGNAL_LEAK,
    STEP,
    TEXT_ENCODER,
    TEXT_WEIGHTS,
    TOKENIZER,
    drop_changed_unets,
    drop_unused,
    existing_manifest,
    expect_facts,
    facts_of_the_base,
    new_manifest,
)
from exporter.proof import prove
from exporter.settings import BundleSettings
from exporter.staging import exchange, take_along
from exporter.weights import write_graph

__all__ = ["write_bundle"]

ENCODER, ENCODER_WEIGHTS = "vae_encoder.onnx", "vae_encoder.bin"


def write_bundle(
    merged_folders: list[Path],
    out: Path,
    settings: BundleSettings | None = None,
    *,
    vae_encoder: bool = True,
    progress: StageProgress = silent_stages,
) -> None:
    """Write each merged folder as a class of the bundle `out`.

    An existing bundle gets further classes. A class with the same name is replaced, and its 8-bit graph is removed if
    its UNet changes; the files of other classes do not change. All classes are made, checked and run on both runtimes
    in a temporary folder beside `out`, which then replaces `out`.

    Args:
        merged_folders: Folders made by `python -m trainer merge`.
        out: Folder of the bundle.
        settings: Name, base and defaults of a new bundle. Without them a new bundle has the folder's name, and the
            description and settings of the base's card, or the thesis's settings if the base has no card. An existing
            bundle keeps its own and refuses other values.
        vae_encoder: Export the VAE's encoder, unless the bundle has one already.
        progress: Receives a line for each stage.

    Raises RequestError before anything is written if a folder cannot be exported, if two folders hold the same class,
    or if the base differs from the bundle's.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"The bundle {out}", found="a file", expected="a folder", fix="choose another name")
    expect_place(out)
    settings = settings or BundleSettings()
    check_settings(settings)
    card = read_card(merged_folders[0])
    for sentence in differing_settings(card, settings):
        progress(f"warning: {sentence}")
    with locked_folder(out):
        _write_bundle(merged_folders, out, settings, card, vae_encoder, progress)


def _write_bundle(
    merged_folders: list[Path],
    out: Path,
    settings: BundleSettings,
    card: dict[str, Any],
    vae_encoder: bool,
    progress: StageProgress,
) -> None:
    """Write a bundle into a locked folder; see write_bundle."""
    manifest = existing_manifest(out) or new_manifest(out, settings, card)
    before = dict(manifest["files"])
    wanted = {"name": settings.name, "base": settings.base}
    wanted |= {f"defaults.{key}": value for key, value in settings.defaults.items()}
    for field, value in wanted.items():
        found = manifest["defaults"].get(field[9:]) if field.startswith("defaults.") else manifest[field]
        if value is not None and found != value:
            raise RequestError(
                f"The bundle {out}, {field}", found=str(found), expected=str(value), fix="leave the option out"
            )
    names = _check_models(merged_folders, manifest, out)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        staging = Path(temporary) / "new"
        staging.mkdir()
        unets = ClassUnets(manifest, staging, out)
        for folder in merged_folders:
            # Load one model at a time, because a model of Stable Diffusion's size takes gigabytes.
            _add_class(load_merged(folder), unets, vae_encoder, progress)
        for preset, class_name in drop_changed_unets(manifest, before):
            progress(f"warning: {class_name}: the preset {preset} loses its UNet, which was made of the class before")
        dropped = drop_unused(manifest)
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        read_manifest(staging / "manifest.json")
        take_along(out, staging, dropped)
        for class_name in names:
            progress(f"{class_name}: checking on each runtime")
            prove(staging, class_name)
        exchange(staging, out, Path(temporary) / "old")
    progress(f"{out}: written")


def _check_models(folders: list[Path], manifest: dict[str, Any], out: Path) -> list[str]:
    """Check that every class is given once and has the bundle's base. A new bundle takes the base of the first model.
    Return the names of the classes."""
    names: list[str] = []
    for folder in folders:
        model = load_merged(folder)
        name = model.record["class_name"]
        if name in names:
            raise RequestError(
                f"The class {name}", found="two merged folders of this class", expected="one", fix="leave one out"
            )
        names.append(name)
        if alike := look_alikes([*manifest.get("classes", {}), *names]):
            words = f"the classes {' and '.join(alike)}, which are one file name on Windows and macOS"
            expected, fix = "names that differ in more than case", "merge one of them again with another --class"
            raise RequestError(f"The class {name} for the bundle {out}", found=words, expected=expected, fix=fix)
        found = model.base_sha256()
        if manifest.setdefault("base_sha256", found) != found:
            raise RequestError(
                f"The class {name} for the bundle {out}",
                found=f"a base with SHA-256 {found}",
                expected=f"the bundle's base with SHA-256 {manifest['base_sha256']}",
                fix="export classes of another base into another bundle",
            )
    return names


def _add_class(model: MergedModel, unets: ClassUnets, vae_encoder: bool, progress: StageProgress) -> None:
    """Write a class into the staged folder, and describe it in the manifest."""
    manifest, staging = unets.manifest, unets.staging
    record = model.record
    class_name = record["class_name"]
    embeddings = model.embed_prompts([record["prompt"], ""])
    context_shape = (embeddings.shape[1], embeddings.shape[2])
    context_name = f"context.{class_name}.safetensors"
    progress(f"{class_name}: UNet")
    is_first = not manifest["classes"]
    unet, files = unets.write(model, context_shape, progress)
    written: list[tuple[str, ...]] = [files]
    if is_first:
        progress("decoder, step and text encoder")
        written += _write_shared(model, staging, context_shape[0])
        manifest |= facts_of_the_base(model, context_shape)
    expect_facts(model, manifest, context_shape, unets.out)
    if vae_encoder and ENCODER not in manifest["files"]:
        progress("VAE encoder")
        encoder = export_encoder(model.vae, model.unet.config.sample_size * manifest["latents"]["pixels_per_latent"])
        written.append(write_graph(encoder, staging, ENCODER, ENCODER_WEIGHTS))
        manifest["vae_encoder"] = [ENCODER, ENCODER_WEIGHTS]
    cond, uncond = (embedding.clone() for embedding in embeddings)
    (staging / context_name).write_bytes(save({"cond": cond, "uncond": uncond}))
    own = {"context": context_name}
    before = manifest["classes"].get(class_name, {})
    known = {name: manifest["files"].get(name) for name in (unet["unet"], *unet["weights"])}
    if model.signal_leak is not None:
        own["signal_leak"] = f"{SIGNAL_LEAK}{class_name}.safetensors"
        shutil.copyfile(model.signal_leak, staging / own["signal_leak"])
    for file_name in {*own.values(), *(name for names in written for name in names)}:
        path = staging / file_name
        manifest["files"][file_name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        if path.suffix == ".onnx":
            onnx.checker.check_model(path, full_check=True)
    if before.get("unet") == unet["unet"] and known == {name: manifest["files"][name] for name in known}:
        own |= {key: before[key] for key in ("unet_int8",) if key in before}
    manifest["classes"][class_name] = {
        **unet,
        **own,
        **{key: record[key] for key in ("prompt", "origin", "pictures", "licence", "attribution")},
        **({"adapters": record["adapters"]} if "adapters" in record else {}),
    }


def _write_shared(model: MergedModel, folder: Path, tokens: int) -> list[tuple[str, ...]]:
    """Write what all classes share, except the UNet's weights. Return the names of the files."""
    decoder = export_decoder(model.vae, model.unet.config.sample_size, model.refiner)
    text_encoder = export_text_encoder(model.text_encoder, tokens)
    step = export_step(model.unet.config.in_channels)
    (folder / STEP).write_bytes(step.SerializeToString(deterministic=True))
    (folder / TOKENIZER).write_text(model.tokenizer_json(), encoding="utf-8")
    return [
        write_graph(decoder, folder, DECODER, DECODER_WEIGHTS),
        write_graph(text_encoder, folder, TEXT_ENCODER, TEXT_WEIGHTS),
        (STEP, TOKENIZER),
    ]
