"""What txt2img and img2img have in common, as settings of the engine. Warnings name what is not supported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.output.infotext import NETWORK, parse_infotext
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Common
from engine.serve.sdapi.names import class_of, is_same, sampler_settings
from engine.serve.sdapi.options import Chosen
from engine.serve.service import ServedClass

__all__ = ["common_settings", "prompts_and_class", "refuse", "unsupported", "with_infotext"]

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "styles": ([],),
    "restore_faces": (False,),
    "tiling": (False,),
    "save_images": (False,),
    "s_min_uncond": (0,),
    "s_churn": (0,),
    "s_tmin": (0,),
    "s_tmax": (0, 999),
    "s_noise": (0, 1),
    "mask_round": (True,),
    "initial_noise_multiplier": (1,),
}
"""Fields that change nothing here, and the values that are what the engine does."""
OF_INFOTEXT = {
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Seed": "seed",
    "Size-1": "width",
    "Size-2": "height",
    "Denoising strength": "denoising_strength",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Seed resize from-1": "seed_resize_from_w",
    "Seed resize from-2": "seed_resize_from_h",
}
"""Fields of a request by the key of an infotext."""
ETA_OF = {"euler_a": 1.0, "ddim": 0.0}


def with_infotext(fields: Common) -> Common:
    """Return the fields with those of the infotext in place of everything that was not given."""
    if not fields.infotext:
        return fields
    found = parse_infotext(fields.infotext)
    stated = {field: found.fields[key] for key, field in OF_INFOTEXT.items() if key in found.fields}
    stated |= {"prompt": found.prompt, "negative_prompt": found.negative_prompt}
    given = fields.model_dump(exclude_unset=True)
    return type(fields).model_validate({**stated, **given, "infotext": ""})


def refuse(fields: Common) -> None:
    """Raise ApiError for what would make quite another picture: a refiner, or a script."""
    if fields.script_name:
        raise ApiError(422, f"Script '{fields.script_name[:80]}' not found")
    if fields.refiner_checkpoint and not is_same(fields.refiner_checkpoint):
        raise ApiError(422, "refiner_checkpoint: there is no refiner. Leave the field out.")


def unsupported(fields: Common) -> list[str]:
    """Return a warning for each field that has no effect, and differs from what the engine does."""
    found = [
        f"{name} is not supported" for name, plain in NEUTRAL.items() if getattr(fields, name, plain[0]) not in plain
    ]
    for name, script in fields.alwayson_scripts.items():
        arguments = script.get("args") if isinstance(script, dict) else script
        if arguments not in (None, [], [False]):
            found.append(f"alwayson_scripts: {name[:80]} is not supported")
    return found


def prompts_and_class(
    fields: Common, served: ServedClass, classes: list[ServedClass]
) -> tuple[dict[str, str | None], ServedClass, list[str]]:
    """Return both prompts without tags of networks, the class, and warnings. Raises ApiError.

    `<hypernet:name:1>` chooses a class, whose model holds its network. An empty prompt is the prompt of the class.
    """
    warnings = []
    for kind, arguments in NETWORK.findall(fields.prompt):
        name, _, strength = arguments.partition(":")
        if fields.disable_extra_networks:
            continue
        if kind == "hypernet" and strength in ("", "1", "1.0"):
            served = class_of(name, classes)
        else:
            warnings.append(f"the network <{kind}:{arguments[:80]}> is not applied: a class has its own, at strength 1")
    prompts = {name: NETWORK.sub("", getattr(fields, name)).strip() or None for name in ("prompt", "negative_prompt")}
    return prompts, served, warnings


def common_settings(
    fields: Common, chosen: Chosen, prompts: Mapping[str, str | None]
) -> tuple[dict[str, Any], list[str]]:
    """Return the engine's settings of the fields that both kinds of request have, and warnings. Raises ApiError."""
    sampling = sampler_settings(fields.sampler_name or fields.sampler_index, fields.scheduler)
    eta = ETA_OF.get(sampling.get("sampler", ""))
    warnings = []
    # Clients send 0 or 1 for every sampler, whatever it does.
    if eta is not None and fields.eta not in (None, 0, 1, eta):
        warnings.append(f"eta {fields.eta:g} is not supported: {eta:g} is used")
    settings = {
        **chosen.settings(),
        **prompts,
        **sampling,
        "seed": fields.seed,
        **_variation(fields),
        "num_inference_steps": fields.steps or chosen.steps,
        "guidance_scale": fields.cfg_scale,
        "width": fields.width,
        "height": fields.height,
    }
    return settings, warnings


def _variation(fields: Common) -> dict[str, Any]:
    """Return the settings of a variation seed, and of noise that is drawn at another size."""
    found: dict[str, Any] = {}
    if fields.subseed_strength:
        found |= {"variation_strength": fields.subseed_strength, "variation_seed": fields.subseed}
    if fields.seed_resize_from_w > 0 and fields.seed_resize_from_h > 0:
        found["noise_size"] = (fields.seed_resize_from_w, fields.seed_resize_from_h)
    return found
