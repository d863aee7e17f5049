"""The description inside each picture: synthetic, class, seed, settings, and the origin of the training pictures."""

from __future__ import annotations

import json
from typing import Any

from PIL.PngImagePlugin import PngInfo

from engine.bundle.job import Job
from engine.initial.settings import InitialRequest
from engine.output.infotext import (
    CONTENT_NAMES,
    PRESET_KEY,
    UPSCALER_NAMES,
    sampler_name,
    schedule_name,
    write_infotext,
)
from engine.pictures import PNG_KEY
from engine.version import __version__

__all__ = ["OPTIONAL", "PARAMETERS_KEY", "derived_facts", "describe", "facts_of_picture", "parameters_line", "png_text"]

PARAMETERS_KEY = "parameters"
"""The PNG text chunk that AUTOMATIC1111's WebUI reads."""
OPTIONAL = (
    "base_licence",
    "base_attribution",
    "shared_noise",
    "preset",
    "unet_sha256",
    "guidance_interval",
    "langevin_step_size",
    "langevin_steps_per_level",
    "clip_skip",
    "emphasis",
    "first_width",
    "first_height",
    "hires_upscaler",
    "hires_steps",
    "hires_strength",
    "interrupted_after",
    "variation_seed",
    "variation_strength",
    "noise_size",
    "derived",
    "strength",
    "start_sigma",
    "drawn_width",
    "drawn_height",
    "resize_mode",
    "mask_blur",
    "masked_content",
    "inpaint_area",
    "mask_invert",
    "mask_padding",
    "expand",
    "initial_picture",
    "initial_sha256",
    "initial_synthetic",
    "mask",
    "mask_sha256",
)
"""Fields that a description only has if they differ from what every version did at first, or if the bundle has them."""


def describe(job: Job, class_name: str) -> dict[str, Any]:
    """Return the description that all pictures of a class share, which is everything except the seed.

    It is a pure function of the job, so that a resumed run repeats it exactly.
    """
    bundle, request = job.bundle, job.request
    entry = bundle.manifest.classes[class_name]
    description: dict[str, Any] = {
        "synthetic": True,
        "digital_source_type": "trainedAlgorithmicMedia",
        "class": class_name,
        "prompt": entry.prompt if request.prompt is None else request.prompt,
        "prompt_given": request.prompt is not None,
        "negative_prompt": request.negative_prompt,
        "sampler": request.sampler,
        "schedule": request.schedule,
        "steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "plan_sha256": job.plan_sha256,
        "rng": request.rng,
        "width": request.width,
        "height": request.height,
        "batch_size": request.batch_size,
        "backend": request.backend,
        "precision": request.precision,
        "threads": request.threads,
        "bundle": bundle.manifest.name,
        "bundle_sha256": bundle.sha256,
        "base": bundle.manifest.base,
        "trained_on": entry.origin,
        "training_pictures": entry.pictures,
        "licence": entry.licence,
        "attribution": entry.attribution,
    }
    if bundle.manifest.base_facts is not None:
        description["base_licence"] = bundle.manifest.base_facts.licence
        description["base_attribution"] = bundle.manifest.base_facts.attribution
    if not request.shared_noise:
        # Pictures of versions that do not state it have shared noise.
        description["shared_noise"] = False
    if request.preset is not None:
        description |= _describe_preset(job, class_name)
    if request.guidance_interval is not None:
        description["guidance_interval"] = list(request.guidance_interval)
    if request.langevin is not None:
        description["langevin_step_size"] = request.langevin.step_size
        description["langevin_steps_per_level"] = request.langevin.steps_per_level
    if request.clip_skip != 1:
        description["clip_skip"] = request.clip_skip
    if request.emphasis != "original":
        description["emphasis"] = request.emphasis
    if request.variation is not None:
        varied = request.variation
        description |= {"variation_strength": varied.strength} if varied.seed is not None else {}
        description |= {"noise_size": [varied.width, varied.height]} if varied.width is not None else {}
    if request.hires is not None:
        hires = request.hires
        description |= {
            "width": hires.width,
            "height": hires.height,
            "first_width": request.width,
            "first_height": request.height,
            "hires_upscaler": hires.upscaler,
            "hires_steps": hires.steps,
            "hires_strength": hires.strength,
        }
    if request.initial is not None:
        description |= _describe_initial(job, request.initial)
    return description


def facts_of_picture(job: Job, class_name: str, seed: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return what the description of a single picture states about its variation seed and its initial picture.

    Nothing without these. seed: the seed of the request plus the index of the picture. shape: (height, width, channels)
    of the finished picture, which has the size of its initial picture if only a masked area was drawn.
    """
    request, facts = job.request, dict[str, Any]()
    if request.variation is not None and request.variation.seed is not None:
        facts |= {"seed": request.seed, "variation_seed": request.variation.seed + seed - request.seed}
    if job.initial is not None:
        facts |= job.initial.of(class_name, seed - request.seed).facts()
        facts |= {"width": int(shape[1]), "height": int(shape[0])}
    return facts


def derived_facts(job: Job) -> dict[str, Any]:
    """Return what marks the pictures of a job as derived from other pictures, and how far they may differ."""
    assert job.start is not None
    return {
        "digital_source_type": "compositeWithTrainedAlgorithmicMedia",
        "derived": True,
        "strength": job.start.strength,
        "start_sigma": job.plan.initial_scale,
    }


def _describe_preset(job: Job, class_name: str) -> dict[str, Any]:
    """Return the name of the preset of a learned table, and the hash of its UNet and small decoder if it has UNets of
    its own."""
    unet = job.bundle.manifest.unets_sha256([class_name], job.request.preset)
    return {"preset": job.request.preset, **({} if unet is None else {"unet_sha256": unet})}


def _describe_initial(job: Job, initial: InitialRequest) -> dict[str, Any]:
    """Return what all pictures with initial pictures share. The names of the fields are those of the options."""
    description: dict[str, Any] = {
        **derived_facts(job),
        "drawn_width": job.request.width,
        "drawn_height": job.request.height,
        "resize_mode": initial.resize_mode,
    }
    if initial.repaints:
        description["mask_blur"] = initial.mask_blur
        description["masked_content"] = initial.masked_content
        description["inpaint_area"] = initial.inpaint_area
    if initial.mask_invert:
        description["mask_invert"] = True
    if initial.inpaint_area == "masked":
        description["mask_padding"] = initial.mask_padding
    if initial.expand is not None:
        description["expand"] = list(initial.expand)
    return description


def parameters_line(description: dict[str, Any]) -> str:
    """Return the description in the format of AUTOMATIC1111's WebUI."""
    strength = description.get("hires_strength", description.get("strength"))
    hires = "hires_steps" in description
    fields = {
        "Steps": description["steps"],
        "Sampler": sampler_name(description["sampler"]),
        "Schedule type": schedule_name(description["schedule"]),
        "CFG scale": f"{description['guidance_scale']:g}",
        "Seed": description["seed"],
        "Size": f"{description.get('first_width', description['width'])}x"
        f"{description.get('first_height', description['height'])}",
        "Model hash": description["bundle_sha256"][:10],
        "Model": f"{description['bundle']} {description['class']}",
        "Variation seed": description.get("variation_seed"),
        "Variation seed strength": f"{description['variation_strength']:g}"
        if "variation_seed" in description
        else None,
        "Seed resize from": "x".join(map(str, description["noise_size"])) if "noise_size" in description else None,
        "Denoising strength": None if strength is None else f"{strength:g}",
        "Clip skip": description.get("clip_skip"),
        "RNG": {"nv": "NV", "numpy": "NumPy"}[description["rng"]],
        "Emphasis": "No norm" if description.get("emphasis") == "no_norm" else None,
        "Mask blur": f"{description['mask_blur']:g}" if "mask_blur" in description else None,
        "Inpaint area": "Only masked" if description.get("inpaint_area") == "masked" else None,
        "Masked area padding": description.get("mask_padding"),
        "Masked content": CONTENT_NAMES.get(description.get("masked_content", "")),
        "Hires resize": f"{description['width']}x{description['height']}" if hires else None,
        "Hires steps": description.get("hires_steps"),
        "Hires upscaler": UPSCALER_NAMES.get(description.get("hires_upscaler", "")),
        "Interrupted after": description.get("interrupted_after"),
        PRESET_KEY: description.get("preset"),
        "Version": f"cytosynth {__version__}",
    }
    return write_infotext(description["prompt"], description["negative_prompt"], fields)


def png_text(description: dict[str, Any]) -> PngInfo:
    """Return both texts of a picture. The WebUI's text is a plain chunk unless it has letters beyond Latin-1."""
    info = PngInfo()
    info.add_text(PARAMETERS_KEY, parameters_line(description))
    info.add_itxt(PNG_KEY, json.dumps(description, ensure_ascii=False))
    return info
