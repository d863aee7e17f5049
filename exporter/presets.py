"""Presets: named settings in a bundle's manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.bundle.folder import Bundle
from engine.bundle.presets import PRECISIONS
from engine.bundle.request import GenerateRequest
from engine.errors import RequestError
from engine.locks import locked_folder
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.progress import StageProgress, silent_stages
from engine.sampling.learned import LearnedTable
from exporter.manifest_file import drop_unused, load_manifest, replace_manifest
from exporter.preset_decoder import write_decoder
from exporter.preset_unets import write_unets
from exporter.proof import prove
from exporter.small_decoder import read_small_decoder
from exporter.staging import exchange, take_along

__all__ = ["write_preset", "write_table_preset"]


def write_preset(bundle: Bundle, name: str, request: GenerateRequest) -> None:
    """Store a request's sampler, schedule, steps, guidance and precision under a name, and replace an older preset with
    this name. Raises RequestError and leaves the manifest unchanged if the preset is not allowed."""
    if request.langevin is not None:
        raise RequestError(
            "A preset", found=f"the sampler {request.sampler}", expected="any other", fix="choose another sampler"
        )
    settings: dict[str, Any] = {
        "sampler": request.sampler,
        "schedule": request.schedule,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
    }
    if request.guidance_interval is not None:
        settings["guidance_interval"] = list(request.guidance_interval)
    _write(bundle, name, settings, request.precision)


def write_table_preset(
    bundle: Bundle,
    name: str,
    table: Path,
    precision: str | None,
    merged: Sequence[Path] = (),
    *,
    decoder: Path | None = None,
    progress: StageProgress = silent_stages,
) -> None:
    """Store a learned table, which `python -m trainer table` wrote, and a precision under a name, and replace an older
    preset with this name.

    merged: Merged folders of classes of the bundle, whose UNets were trained for the table. The preset draws these
        classes alone. Without folders it draws with the UNets of the bundle's classes. New UNets have no 8-bit graphs
        until `exporter.int8.write_int8` adds some, also if the precision is int8.
    decoder: File of a small decoder, which draws the pictures of the preset in place of the bundle's decoder, with the
        refiner of the merged folders behind it. Needs merged folders.

    Raises RequestError and leaves the bundle unchanged if the table, a folder or the small decoder does not suit the
    bundle, and CytosynthError if the runtimes disagree on a graph.
    """
    if decoder is not None and not merged:
        raise RequestError(
            "--decoder",
            found="no merged folders",
            expected="the merged folders of the preset, whose refiner follows the small decoder",
            fix="name the merged folders, or leave out --decoder",
        )
    settings: dict[str, Any] = {"table": _read_table(bundle, table)}
    if not merged:
        for class_name in bundle.manifest.classes if precision is not None else ():
            bundle.manifest.graphs(class_name, precision or PRECISIONS[0])
        _write(bundle, name, settings, precision or PRECISIONS[0])
        return
    _expect_name(name)
    if precision is not None:
        settings["precision"] = precision
    channels, factor = bundle.manifest.latent_shape[0], bundle.manifest.pixels_per_latent
    small = None if decoder is None else read_small_decoder(decoder, channels, factor)
    with locked_folder(bundle.folder):
        bundle.verify(bundle.manifest.files)
        with TemporaryDirectory(dir=bundle.folder.parent, prefix=f".{bundle.folder.name}-") as temporary:
            staging = Path(temporary) / "new"
            staging.mkdir()
            manifest = load_manifest(bundle.folder)
            if small is not None:
                progress(f"small decoder of the preset {name}")
                settings["decoder"] = write_decoder(bundle, name, small, merged, manifest, staging)
            unets = write_unets(bundle, name, merged, manifest, staging, progress)
            manifest.setdefault("presets", {})[name] = {**settings, "unets": unets}
            dropped = drop_unused(manifest)
            replace_manifest(staging, manifest)
            take_along(bundle.folder, staging, dropped)
            for class_name in {files["unet"]: class_name for class_name, files in unets.items()}.values():
                progress(f"{class_name}: checking on each runtime")
                prove(staging, class_name, name)
            exchange(staging, bundle.folder, Path(temporary) / "old")


def _read_table(bundle: Bundle, table: Path) -> list[dict[str, float]]:
    """Return the rows of a learned table. Raises RequestError."""
    try:
        read = json.loads(table.read_text(encoding="utf-8"))
        return LearnedTable.of_record(read, bundle.manifest.noise).as_json()
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(
            f"The table {table}",
            found=str(error),
            expected=f"a learned table for the noise schedule of the bundle {bundle.manifest.name}",
            fix="make it with `python -m trainer table`",
        ) from error


def _expect_name(name: str) -> None:
    if not is_class_name(name):
        raise RequestError("The preset's name", found=name, expected=CLASS_NAME_RULE, fix="choose another")


def _write(bundle: Bundle, name: str, settings: dict[str, Any], precision: str) -> None:
    _expect_name(name)
    if precision != PRECISIONS[0]:
        settings["precision"] = precision
    with locked_folder(bundle.folder):
        manifest = load_manifest(bundle.folder)
        manifest.setdefault("presets", {})[name] = settings
        dropped = drop_unused(manifest)
        replace_manifest(bundle.folder, manifest)
        for unused in dropped:
            (bundle.folder / unused).unlink(missing_ok=True)
