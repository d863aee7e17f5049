"""`engine generate --like`: the settings of a picture of this engine, or of AUTOMATIC1111's WebUI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from engine.bundle.folder import open_bundle
from engine.bundle.settings import EVERYWHERE, RequestSettings
from engine.cli.png_info import PngDescription, asked_size, read_png
from engine.cli.settings import SubjectSettings
from engine.errors import RequestError
from engine.output.infotext import REFUSED_NAMES, SCHEDULE_NAMES, Infotext, sampler_of, schedule_of, split_sampler
from engine.sampling.prompt_tags import KINDS, NETWORK
from engine.sampling.samplers import NO_TABLE, SAMPLERS
from engine.terminal import warn

__all__ = ["like_picture", "settings_of_infotext"]

PRESET_FIELDS = ("sampler", "schedule", "num_inference_steps", "guidance_scale", "guidance_interval", "precision")
"""What a preset states. An explicit --preset overrides these of the picture."""
NUMBER = (int, float)
SAME_NAMES: dict[str, tuple[type, ...]] = {
    "seed": (int,),
    "variation_seed": (int,),
    "variation_strength": NUMBER,
    "rng": (str,),
    "sampler": (str,),
    "schedule": (str,),
    "langevin_step_size": NUMBER,
    "langevin_steps_per_level": (int,),
    "guidance_scale": NUMBER,
    "negative_prompt": (str, type(None)),
    "clip_skip": (int,),
    "emphasis": (str,),
    "width": (int,),
    "height": (int,),
    "batch_size": (int,),
    "backend": (str,),
    "threads": (int,),
    "precision": (str,),
    "resize_mode": (str, type(None)),
    "mask_blur": NUMBER,
    "masked_content": (str,),
    "inpaint_area": (str,),
    "mask_invert": (bool,),
    "mask_padding": (int,),
    "hires_upscaler": (str,),
    "hires_steps": (int,),
    "hires_strength": NUMBER,
}
"""Fields of a description that have the name and the form of a setting, and their types."""
OTHER_TYPES: dict[str, tuple[type, ...]] = {
    "class": (str,),
    "steps": (int,),
    "prompt": (str,),
    "preset": (str,),
    "guidance_interval": (list,),
    "strength": (*NUMBER, type(None)),
    "start_sigma": NUMBER,
    "expand": (list,),
    "noise_size": (list,),
    "drawn_width": (int,),
    "drawn_height": (int,),
    "first_width": (int,),
    "first_height": (int,),
}
OTHERWISE = (
    "class",
    "preset",
    "prompt",
    "prompt_given",
    "shared_noise",
    "guidance_interval",
    "steps",
    "bundle",
    "bundle_sha256",
    "strength",
    "start_sigma",
    "expand",
    "drawn_width",
    "drawn_height",
    "derived",
    "noise_size",
    "first_width",
    "first_height",
)
"""Fields of a description that are taken over in another form."""
NO_SETTINGS = (
    "synthetic",
    "digital_source_type",
    "plan_sha256",
    "unet_sha256",
    "base",
    "trained_on",
    "training_pictures",
    "licence",
    "attribution",
    "base_licence",
    "base_attribution",
    "initial_picture",
    "rescued",
    "interrupted_after",
    "initial_sha256",
    "initial_synthetic",
    "mask",
    "mask_sha256",
)
"""Fields of a description that no option sets."""
NUMBERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Steps": ("num_inference_steps", int),
    "CFG scale": ("guidance_scale", float),
    "Seed": ("seed", int),
    "Size-1": ("width", int),
    "Size-2": ("height", int),
    "Clip skip": ("clip_skip", int),
    "Variation seed": ("variation_seed", int),
    "Variation seed strength": ("variation_strength", float),
}
"""Fields of the WebUI that are numbers: the setting of each, and its type."""
TAKEN = {*NUMBERS, "Sampler", "Schedule type", "Emphasis", "RNG", "Seed resize from-1", "Seed resize from-2"}
"""Fields of the WebUI that are taken over."""
NO_MATTER = {"Version", "User"}


def like_picture(
    subject: SubjectSettings, settings: RequestSettings, given: Callable[[str], bool]
) -> tuple[SubjectSettings, RequestSettings]:
    """Return the settings with those of the picture that --like names in place of everything that was not given.

    given: whether the option of a field stands on the command line. Warns of everything that cannot be taken over.
    Raises RequestError if the picture needs what is not there: its bundle, its initial picture, or its sampler.
    """
    assert subject.like is not None
    found = read_png(subject.like)
    if found.description:
        values = _of_description(found, subject, given)
    else:
        values, warnings = settings_of_infotext(found.infotext, given)
        for words in warnings:
            warn(f"{subject.like}: {words}.")
    if given("preset"):
        values = {name: value for name, value in values.items() if name not in PRESET_FIELDS}
    if given("variation_strength") and not settings.variation.variation_strength:
        values.pop("variation_seed", None)
    values = {name: value for name, value in values.items() if not given(name)}
    if subject.n is None and subject.balance is None:
        values["n"] = 1
    own = {declared.name for declared in fields(subject)} & values.keys()
    return replace(subject, **{name: values[name] for name in own}), settings.changed(values)


def _of_description(found: PngDescription, subject: SubjectSettings, given: Callable[[str], bool]) -> dict[str, Any]:
    """Return the settings that make a picture of this engine again."""
    description, name = found.description, f"The picture {subject.like}"
    if "upscaled" in description:
        raise RequestError(
            name,
            found="a picture that `engine upscale` made",
            expected="a picture of `engine generate`",
            fix=found.command,
        )
    unknown = sorted(description.keys() - {*SAME_NAMES, *OTHERWISE, *NO_SETTINGS})
    if unknown:
        raise RequestError(
            name,
            found=f"the fields {', '.join(unknown)}, which --like does not know",
            expected="a picture of this version or an earlier one",
            fix="use the version that wrote the picture, or give the options one by one",
        )
    for key, kinds in (SAME_NAMES | OTHER_TYPES).items():
        if key in description and not isinstance(description[key], kinds):
            raise RequestError(
                f"{name}, field {key}",
                found=repr(description[key])[:40],
                expected=" or ".join(kind.__name__ for kind in kinds),
                fix="give the options one by one",
            )
    _expect_bundle(name, description, subject, given)
    if "interrupted_after" in description:
        warn(f"{subject.like} was stopped after {description['interrupted_after']} steps. The whole picture is drawn.")
    values = {key: description[key] for key in SAME_NAMES if key in description}
    values["num_inference_steps"] = description.get("steps")
    values["class_name"] = [description.get("class")]
    interval = description.get("guidance_interval")
    values["guidance_interval"] = EVERYWHERE if interval is None else tuple(interval)
    values["shared_noise"] = description.get("shared_noise", True) is not False and description.get("rng") != "nv"
    if "preset" in description:
        # A learned table states steps and guidance itself. The bundle is the same, so that the preset is the same, too.
        values = {name: value for name, value in values.items() if name not in PRESET_FIELDS or name == "precision"}
        values["preset"] = description["preset"]
    if description.get("prompt_given") is True:
        values["prompt"] = description["prompt"]
    if description.get("derived"):
        values |= _of_initial(name, description, given)
    if "noise_size" in description:
        values["noise_size"] = tuple(description["noise_size"])
    if "first_width" in description:
        values["hires_size"] = (description["width"], description["height"])
        values |= asked_size(description)
    return values


def _of_initial(name: str, description: dict[str, Any], given: Callable[[str], bool]) -> dict[str, Any]:
    """Return the settings that a picture with an initial picture has. The files themselves must be given."""
    for flag, field, key in (("--init", "init", "initial_picture"), ("--mask", "mask", "mask")):
        if key in description and not given(field):
            sha256 = description.get("initial_sha256" if field == "init" else "mask_sha256", "unknown")
            raise RequestError(
                name,
                found=f"it was made with {flag} {description[key]}",
                expected=f"this file, SHA-256 {sha256}",
                fix=f"add {flag} and the file",
            )
    strength = description.get("strength")
    return {
        "strength": strength,
        "start_sigma": description.get("start_sigma") if strength is None else None,
        "expand": tuple(description["expand"]) if "expand" in description else None,
        **asked_size(description),
    }


def _expect_bundle(
    name: str, description: dict[str, Any], subject: SubjectSettings, given: Callable[[str], bool]
) -> None:
    """Raise RequestError unless the bundle is that of the picture. Warn if the command line names another one."""
    opened, wanted = open_bundle(subject.bundle), description.get("bundle_sha256")
    if opened.sha256 == wanted:
        return
    if given("bundle"):
        warn(f"{name} is of the bundle {description.get('bundle')} {wanted}, so that the result is another picture.")
        return
    raise RequestError(
        "--bundle",
        found=f"the bundle {opened.manifest.name}, SHA-256 {opened.sha256}",
        expected=f"the bundle {description.get('bundle')}, SHA-256 {wanted}, which made {subject.like}",
        fix="name that bundle with --bundle, or another one to draw other pictures with the same settings",
    )


def settings_of_infotext(found: Infotext, given: Callable[[str], bool]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that a text of the WebUI states, and one sentence for each thing that is not taken over.

    Raises RequestError for a sampler, schedule or number that this engine does not have, unless the option is given.
    """
    texts = {"prompt": found.prompt, "negative_prompt": found.negative_prompt or None}
    values: dict[str, Any] = {}
    warnings = []
    for name, text in texts.items():
        # Tags of adapters stay: they select a class or are refused, as in a prompt of the command line.
        unknown = [tag[0] for tag in NETWORK.finditer(text or "") if tag[1] not in KINDS]
        if unknown and not given(name):
            warnings.append(f"the networks {', '.join(unknown)} are not known and not applied")
        values[name] = text and NETWORK.sub(lambda tag: tag[0] if tag[1] in KINDS else "", text).strip()
    values |= _numbers(found.fields, given)
    if not (given("sampler") and given("schedule")):
        values |= _sampler(found.fields, given)
    values["guidance_interval"] = EVERYWHERE
    if "Emphasis" in found.fields:
        values["emphasis"] = "no_norm" if found.fields["Emphasis"] == "No norm" else "original"
        if found.fields["Emphasis"] not in ("No norm", "Original") and not given("emphasis"):
            warnings.append(f"Emphasis {found.fields['Emphasis']} is not known, and Original is used")
    rng = found.fields.get("RNG", "GPU")
    values["rng"] = {"NV": "nv", "GPU": "nv", "NumPy": "numpy"}.get(rng)
    if values["rng"] is None:
        del values["rng"]
        if not given("rng"):
            warnings.append(f"the noise of RNG {rng} is not available, so that the seed gives another picture")
    left = {key: value for key, value in found.fields.items() if key not in TAKEN | NO_MATTER}
    warnings += [f"{key} {value!r} is not taken over" for key, value in left.items()]
    if found.hires:
        warnings.append("the second pass (hires fix) is not taken over: the picture has the size of the first pass")
    return values, warnings


def _numbers(stated: dict[str, str], given: Callable[[str], bool]) -> dict[str, Any]:
    """Return the settings that are numbers. Raises RequestError for a text that is none."""
    values: dict[str, Any] = {}
    sides = [stated.get(f"Seed resize from-{side}") for side in (1, 2)]
    if None not in sides and not given("noise_size"):
        values["noise_size"] = tuple(int(side or 0) for side in sides)
    for key, (name, kind) in NUMBERS.items():
        if key not in stated or given(name):
            continue
        try:
            values[name] = kind(stated[key])
        except ValueError:
            raise RequestError(
                f"{key} of the picture", found=stated[key], expected="a number", fix="give the option itself"
            ) from None
    return values


def _sampler(stated: dict[str, str], given: Callable[[str], bool]) -> dict[str, Any]:
    """Return sampler and schedule. Raises RequestError for one that this engine does not have."""
    if "Sampler" not in stated:
        return {}
    name, at_end = split_sampler(stated["Sampler"])
    sampler, refused = sampler_of(name), REFUSED_NAMES.get(name.lower())
    if sampler is None and not given("sampler"):
        raise RequestError(
            "Sampler of the picture",
            found=stated["Sampler"] + (f": {NO_TABLE[refused]}" if refused else ""),
            expected=f"one of {', '.join(SAMPLERS)}",
            fix="choose a sampler with --sampler",
        )
    words = stated.get("Schedule type", at_end or "Automatic")
    native = SAMPLERS[sampler].schedule if sampler else ""
    schedule = schedule_of(words, native)
    if schedule is None and not given("schedule"):
        raise RequestError(
            "Schedule type of the picture",
            found=words,
            expected=f"Automatic, {', '.join(SCHEDULE_NAMES.values())}",
            fix="choose a schedule with --schedule",
        )
    return {"sampler": sampler, "schedule": schedule or None}
