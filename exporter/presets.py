"""Names for settings, in a bundle's manifest."""

from __future__ import annotations

import json
from typing import Any

from engine.bundle import Bundle
from engine.errors import RequestError
from engine.files import replace_file
from engine.manifest import PRECISIONS, read_manifest
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.request import GenerateRequest

__all__ = ["write_preset"]


def write_preset(bundle: Bundle, name: str, request: GenerateRequest) -> None:
    """Store a request's sampler, schedule, steps, guidance and precision under a name; what has that name is replaced.
    Raises RequestError, with the manifest as it was."""
    if not is_class_name(name):
        raise RequestError("The preset's name", found=name, expected=CLASS_NAME_RULE, mend="choose another")
    if request.langevin is not None:
        raise RequestError(
            "A preset", found=f"the sampler {request.sampler}", expected="any other", mend="choose another sampler"
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
    path = bundle.folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest.setdefault("presets", {})[name] = settings
    with replace_file(path) as part:
        part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        read_manifest(part)
