"""Presets: named settings in a bundle's manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.bundle.folder import Bundle
from engine.bundle.presets import PRECISIONS
from engine.bundle.request import GenerateRequest
from engine.errors import RequestError
from engine.locks import locked_folder
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.sampling.learned import TABLE_FORMAT, LearnedTable
from exporter.manifest_file import load_manifest, replace_manifest

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


def write_table_preset(bundle: Bundle, name: str, table: Path, precision: str | None) -> None:
    """Store a learned table, which `python -m trainer table` wrote, and a precision under a name, and replace an older
    preset with this name. Raises RequestError and leaves the manifest unchanged if the table does not suit the
    bundle."""
    try:
        read = json.loads(table.read_text(encoding="utf-8"))
        if not isinstance(read, dict) or read.get("format") != TABLE_FORMAT:
            raise ValueError(f"no file of the format {TABLE_FORMAT}")
        rows = LearnedTable.parse(read.get("rows"), bundle.manifest.noise).as_json()
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(
            f"The table {table}",
            found=str(error),
            expected=f"a learned table for the noise schedule of the bundle {bundle.manifest.name}",
            fix="make it with `python -m trainer table`",
        ) from error
    if precision is not None:
        for class_name in bundle.manifest.classes:
            bundle.manifest.graphs(class_name, precision)
    _write(bundle, name, {"table": rows}, precision or PRECISIONS[0])


def _write(bundle: Bundle, name: str, settings: dict[str, Any], precision: str) -> None:
    if not is_class_name(name):
        raise RequestError("The preset's name", found=name, expected=CLASS_NAME_RULE, fix="choose another")
    if precision != PRECISIONS[0]:
        settings["precision"] = precision
    with locked_folder(bundle.folder):
        manifest = load_manifest(bundle.folder)
        manifest.setdefault("presets", {})[name] = settings
        replace_manifest(bundle.folder, manifest)
