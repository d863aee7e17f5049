"""What a picture says of itself: synthetic, its class, seed and settings, and whose pictures taught it."""

from __future__ import annotations

import json
from typing import Any

from PIL.PngImagePlugin import PngInfo

from engine.bundle import Bundle
from engine.request import GenerateRequest

__all__ = ["PNG_KEY", "describe", "png_text"]

PNG_KEY = "cytosynth"
"""The PNG text chunk that holds a picture's description as JSON."""


def describe(bundle: Bundle, request: GenerateRequest, class_name: str, seed: int) -> dict[str, Any]:
    """The description of one picture: a pure function of the request, so a continued run repeats it exactly."""
    entry = bundle.manifest.classes[class_name]
    return {
        "synthetic": True,
        "digital_source_type": "trainedAlgorithmicMedia",
        "class": class_name,
        "seed": seed,
        "sampler": request.sampler,
        "schedule": request.schedule,
        "steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "bundle": bundle.manifest.name,
        "bundle_sha256": bundle.sha256,
        "trained_on": entry.origin,
        "training_pictures": entry.pictures,
        "licence": entry.licence,
        "attribution": entry.attribution,
    }


def png_text(description: dict[str, Any]) -> PngInfo:
    """The description as an international text chunk."""
    info = PngInfo()
    info.add_itxt(PNG_KEY, json.dumps(description, ensure_ascii=False))
    return info
