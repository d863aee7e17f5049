"""Answers with pictures: `images`, `parameters`, and `info`, which is JSON in a text."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel

from engine.output.infotext import sampler_name, schedule_name
from engine.serve.service import ServedClass, Ticket
from engine.version import __version__

__all__ = ["JSON", "Pictures", "info_of", "parameters_of"]


class JSON(Response):
    """JSON in ASCII, so that any text can be sent. It is written once, without a search for objects to convert."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(json.dumps(content).encode("ascii"), status_code, headers)


class Pictures(BaseModel):
    """The answer of txt2img and img2img."""

    images: list[str]
    parameters: dict[str, Any]
    info: str
    warnings: list[str]


def parameters_of(sent: dict[str, Any], ticket: Ticket) -> dict[str, Any]:
    """Return the fields of a request with the values that were used."""
    request = ticket.job.request
    used: dict[str, Any] = {
        "seed": request.seed,
        "steps": request.num_inference_steps,
        "cfg_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        "sampler_name": sampler_name(request.sampler),
        "scheduler": schedule_name(request.schedule),
    }
    return {**sent, **used}


def info_of(ticket: Ticket, served: ServedClass, strength: float | None, warnings: Sequence[str]) -> dict[str, Any]:
    """Return what `info` states, with every key of the WebUI and `warnings`."""
    request, pictures = ticket.job.request, ticket.pictures
    prompt = served.prompt if request.prompt is None else request.prompt
    negative, count = request.negative_prompt or "", len(pictures)
    width, height = request.final_size
    subseeds = [picture.description.get("variation_seed", -1) for picture in pictures]
    varied = request.variation
    noise = (varied.width or -1, varied.height or -1) if varied else (-1, -1)
    return {
        "prompt": prompt,
        "all_prompts": [prompt] * count,
        "negative_prompt": negative,
        "all_negative_prompts": [negative] * count,
        "seed": pictures[0].seed if pictures else request.seed,
        "all_seeds": [picture.seed for picture in pictures],
        "subseed": subseeds[0] if subseeds else -1,
        "all_subseeds": subseeds,
        "subseed_strength": varied.strength if varied else 0,
        "width": width,
        "height": height,
        "sampler_name": sampler_name(request.sampler),
        "cfg_scale": request.guidance_scale,
        "steps": request.num_inference_steps,
        "batch_size": request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": served.model,
        "sd_model_hash": served.sha256[:10],
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": noise[0],
        "seed_resize_from_h": noise[1],
        "denoising_strength": strength,
        "extra_generation_params": {"Schedule type": schedule_name(request.schedule)},
        "index_of_first_image": 0,
        "infotexts": [picture.infotext for picture in pictures],
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(ticket.asked)),
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": f"cytosynth {__version__}",
        "warnings": list(warnings),
    }
