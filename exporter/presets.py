"""Presets: named settings in a bundle's manifest."""

from __future__ import annotations

from typing import Any

from engine.bundle.folder import Bundle
from engine.bundle.presets import PRECISIONS
from engine.bundle.request import GenerateRequest
from engine.errors import RequestError
from engine.locks import locked_folder
from engine.names import CLASS_NAME_RULE, is_class_name
from exporter.manifest_file import load_manifest, replace_manifest

__all__ = ["write_preset"]


def write_preset(bundle: Bundle, name: str, request: GenerateRequest) -> None:
    """Store a request's sampler, schedule, steps, guidance and precision under a name, and replace an older preset with
    this name. Raises RequestError and leaves the manifest unchanged if the preset is not allowed."""
    if not is_class_name(name):
        raise RequestError("The preset's name", found=name, expected=CLASS_NAME_RULE, fix="choose another")
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
    if request.precision != PRECISIONS[0]:
        settings["precision"] = request.precision
    with locked_folder(bundle.folder):
        manifest = load_manifest(bundle.folder)
        manifest.setdefault("presets", {})[name] = settings
        replace_manifest(bundle.folder, manifest)
