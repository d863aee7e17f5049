"""Settings of the pictures to make, declared once for the command line and the Python library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, get_type_hints

from engine.bundle.presets import PRECISIONS
from engine.errors import RequestError
from engine.initial.settings import InitialSettings
from engine.options import Range, setting
from engine.sampling.hires import UPSCALERS
from engine.sampling.noise import RNGS
from engine.sampling.samplers import NO_TABLE, SAMPLERS
from engine.sampling.schedules import SCHEDULES

__all__ = [
    "AUTO",
    "BACKENDS",
    "BATCH_SIZES",
    "EMPHASES",
    "EVERYWHERE",
    "GROUPS",
    "THREADS",
    "GuidanceSettings",
    "HardwareSettings",
    "HiresSettings",
    "PictureSettings",
    "RequestSettings",
    "SamplingSettings",
    "VariationSettings",
    "parse_batch_size",
    "parse_sampler",
    "settings_of",
]

AUTO = "auto"
BACKENDS = ("openvino", "onnxruntime", "tensorrt")
EMPHASES = ("original", "no_norm")
EVERYWHERE = (0.0, 1e6)
"""A guidance interval that contains every sigma."""
BATCH_SIZES = Range(1, 4096)
THREADS = Range(0, 4096)


def parse_batch_size(text: str) -> int | str:
    """Return the number that the text states, or "auto". Raises RequestError."""
    if text == AUTO:
        return AUTO
    if not (text.isascii() and text.isdecimal()):
        raise RequestError("--batch-size", found=text, expected="a number above 0, or auto", fix="change the value")
    return int(text)


def parse_sampler(name: str) -> str:
    """Return the name of a sampler. Raises RequestError with the reason for one that cannot be a table."""
    if name in NO_TABLE:
        raise RequestError(
            "--sampler",
            found=f"{name}: {NO_TABLE[name]}",
            expected=f"one of {', '.join(SAMPLERS)}",
            fix="choose one of these, for example dpm_fast, which has fixed steps",
        )
    return name


@dataclass(frozen=True)
class SamplingSettings:
    """How latents are sampled. None takes the value of the preset or of the bundle."""

    PANEL: ClassVar[str] = "Sampling"

    seed: int = setting(0, help="Seed of the first picture. Picture i has seed + i; -1 draws a random seed.")
    rng: str = setting(
        "numpy", help="Random number generator; nv reproduces the noise of CUDA's randn", choices=[*RNGS]
    )
    shared_noise: bool = setting(
        False, help="Give pictures of the same seed the same noise in every class, as --rng nv always does."
    )
    preset: str | None = setting(
        None, help="Preset defined by the bundle, for example fast. Options given explicitly override it."
    )
    num_inference_steps: int | None = setting(
        None,
        flag="--steps",
        help="Number of sampling steps (default: from the bundle). Some samplers evaluate the UNet twice per step.",
    )
    sampler: str | None = setting(
        None, help="Sampler (default: from the bundle)", choices=[*SAMPLERS], parser=parse_sampler, metavar="NAME"
    )
    schedule: str | None = setting(None, help="Noise schedule (default: that of the sampler)", choices=[*SCHEDULES])
    langevin_step_size: float | None = setting(
        None, help="Step size of the smallest noise level, for the sampler langevin."
    )
    langevin_steps_per_level: int | None = setting(
        None, help="Number of steps per noise level, for the sampler langevin."
    )


@dataclass(frozen=True)
class GuidanceSettings:
    """Classifier-free guidance. None takes the value of the preset or of the bundle."""

    PANEL: ClassVar[str] = "Guidance"

    guidance_scale: float | None = setting(
        None, help="Guidance scale; 1 is no guidance (default: from the bundle).", within=Range(0, 100)
    )
    guidance_interval: tuple[float, float] | None = setting(
        None, help="LO HI: guide only between these sigmas (default: from the bundle)."
    )


@dataclass(frozen=True)
class PictureSettings:
    """Prompts and size of the pictures."""

    PANEL: ClassVar[str] = "Prompt and size"

    prompt: str | None = setting(
        None, help="Prompt (default: the prompt of the class). (x:1.2), [a:b:0.5], BREAK and AND have a meaning."
    )
    negative_prompt: str | None = setting(None, help="Negative prompt (default: empty).")
    clip_skip: int = setting(
        1, help="Layer of the text encoder whose output is used; 1 is the last.", within=Range(1, 64)
    )
    emphasis: str = setting(
        "original",
        choices=EMPHASES,
        help="How a prompt's weights change its embeddings: scaled back to the mean that they had, or not",
    )
    width: int | None = setting(None, help="Width in pixels (default: from the bundle).")
    height: int | None = setting(None, help="Height in pixels (default: from the bundle).")


@dataclass(frozen=True)
class HardwareSettings:
    """The runtime that computes the pictures, and how much of the machine it uses."""

    PANEL: ClassVar[str] = "Hardware"

    batch_size: int | str | None = setting(
        None,
        help="Pictures per batch, or auto to measure the fastest (default: from the bundle).",
        parser=parse_batch_size,
        metavar="N|auto",
    )
    backend: str = setting(AUTO, help="Inference runtime", choices=(AUTO, *BACKENDS))
    threads: int = setting(0, help="Processor threads; 0 uses every core available to the process.", within=THREADS)
    precision: str | None = setting(
        None,
        help="Arithmetic (f32 is exact). A resumed run keeps its precision (default: from the preset, or auto)",
        choices=PRECISIONS,
    )


@dataclass(frozen=True)
class HiresSettings:
    """A second pass at a larger size, which begins at the enlarged result of the first."""

    PANEL: ClassVar[str] = "Hires fix"

    hires_scale: float | None = setting(
        None, within=Range(above=1, high=16), help="Draw a second time, this many times as large."
    )
    hires_size: tuple[int, int] | None = setting(
        None, metavar="W H", help="Size of the second pass in pixels, instead of --hires-scale."
    )
    hires_upscaler: str = setting(
        "lanczos", choices=UPSCALERS, help="What enlarges the first pass: a filter of its pixels or of its latents"
    )
    hires_steps: int | None = setting(
        None, within=Range(low=1), help="Number of steps of the second pass (default: as in the first)."
    )
    hires_strength: float = setting(
        0.4, within=Range(0, 1), help="How much the second pass changes. Filters of latents need about 0.7."
    )


@dataclass(frozen=True)
class VariationSettings:
    """Pictures near that of a seed: its first noise is mixed with that of other seeds."""

    PANEL: ClassVar[str] = "Variation of a seed"

    variation_strength: float = setting(
        0.0,
        within=Range(0, 1),
        help="Draw variations of the picture with the seed, which all pictures then have: 0 is this picture, 1 is that "
        "of the variation seed.",
    )
    variation_seed: int | None = setting(
        None, within=Range(low=-1), help="Seed of the first variation. Picture i has it plus i (default: random)."
    )
    noise_size: tuple[int, int] | None = setting(
        None,
        metavar="W H",
        help="Take the noise of pictures of this size in pixels, in the centre, so that a seed at another size has a "
        "similar composition.",
    )


@dataclass(frozen=True)
class RequestSettings:
    """Everything that a request sets besides its classes and their numbers of pictures."""

    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    picture: PictureSettings = field(default_factory=PictureSettings)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    initial: InitialSettings = field(default_factory=InitialSettings)
    hires: HiresSettings = field(default_factory=HiresSettings)
    variation: VariationSettings = field(default_factory=VariationSettings)

    def changed(self, values: Mapping[str, Any]) -> RequestSettings:
        """Return the settings with other values of the fields of their groups. Other names are ignored."""
        groups = {}
        for declared in fields(self):
            group = getattr(self, declared.name)
            own = {one.name for one in fields(group)} & values.keys()
            groups[declared.name] = replace(group, **{name: values[name] for name in own})
        return RequestSettings(**groups)


GROUPS: dict[str, type[Any]] = get_type_hints(RequestSettings)
"""The groups of settings by the name of their field in RequestSettings."""


def settings_of(**options: Any) -> RequestSettings:
    """Return the settings with these fields, for example `settings_of(sampler="ddim", guidance_scale=2.0)`.

    The option names are the field names of the groups: SamplingSettings, GuidanceSettings, PictureSettings,
    HardwareSettings, InitialSettings, HiresSettings and VariationSettings. Raises TypeError for an unknown name.
    """
    known = [declared.name for kind in GROUPS.values() for declared in fields(kind)]
    if unknown := options.keys() - {*known}:
        raise TypeError(f"unknown options {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    return RequestSettings().changed(options)
