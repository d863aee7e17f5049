"""What txt2img and img2img have in common, as settings of the engine. Warnings name what is not supported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.bundle.variants import installed, matching
from engine.errors import RequestError
from engine.output.infotext import PRESET_KEY, parse_infotext
from engine.sampling.prompt_tags import NETWORK, Adapter, read_tags
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Common
from engine.serve.sdapi.names import PRESET, class_of, is_same, sampler_settings
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
OF_PRESET = ("steps", "sampler_name", "scheduler", "cfg_scale")
"""Fields of a request that the learned table of a preset states itself."""
ANCESTRAL = ("euler_a", "dpm2_a", "dpmpp_2s_a", "dpm_fast")
OF_SDE = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde")
ETA_OF = {"ddim": 0.0, "ddim_cfgpp": 0.0, **dict.fromkeys((*ANCESTRAL, *OF_SDE), 1.0)}
"""The eta of each sampler for which the WebUI has one."""


def with_infotext(fields: Common) -> Common:
    """Return the fields with those of the infotext in place of everything that was not given."""
    if not fields.infotext:
        return fields
    found = parse_infotext(fields.infotext)
    stated = {field: found.fields[key] for key, field in OF_INFOTEXT.items() if key in found.fields}
    stated |= {"prompt": found.prompt, "negative_prompt": found.negative_prompt}
    given = fields.model_dump(exclude_unset=True)
    if PRESET_KEY in found.fields:
        # The table of the preset states these, and no request can state a learned sampler otherwise.
        stated = {field: value for field, value in stated.items() if field not in OF_PRESET}
        given["override_settings"] = {PRESET: found.fields[PRESET_KEY], **fields.override_settings}
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

    Tags such as <lora:name:0.8> choose the class that was merged of exactly these adapters. An empty prompt is the
    prompt of the class.
    """
    warnings: list[str] = []
    prompts: dict[str, str | None] = {}
    for name in ("prompt", "negative_prompt"):
        try:
            rest, wanted = read_tags(getattr(fields, name), name)
        except RequestError as error:
            raise ApiError(422, str(error)) from error
        if wanted and not fields.disable_extra_networks:
            if name != "prompt":
                raise ApiError(422, f"{name}: {wanted[0]} stands in the negative prompt; move it to the prompt")
            served = _variant(wanted, served, classes)
        others = [tag.group()[:80] for tag in NETWORK.finditer(rest)]
        warnings += [f"the network {tag} is not known and not applied" for tag in others]
        prompts[name] = NETWORK.sub("", rest).strip() or None
    return prompts, served, warnings


def _variant(wanted: tuple[Adapter, ...], served: ServedClass, classes: list[ServedClass]) -> ServedClass:
    """Return the class that was merged of exactly these adapters, first of the bundle of `served`. Raises ApiError.

    A single hypernetwork at strength 1 may also be named as a checkpoint is.
    """
    for bundle in dict.fromkeys([served.bundle, *(one.bundle for one in classes)]):
        own = {one.name: one for one in classes if one.bundle == bundle}
        if found := matching(wanted, {name: one.adapters for name, one in own.items()}):
            return served if served.bundle == bundle and served.name in found else own[found[0]]
    if len(wanted) == 1 and wanted[0] == Adapter("hypernet", wanted[0].name):
        return class_of(wanted[0].name, classes)
    known = installed({one.name: one.adapters for one in classes})
    raise ApiError(422, f"{''.join(map(str, wanted))} is not installed. Installed are {known}.")


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
