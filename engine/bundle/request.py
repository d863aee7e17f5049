"""Requests for pictures, checked against the bundle before any model loads."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from engine.bundle.hires import check_side, expect_encoder, hires_request
from engine.bundle.manifest import Manifest
from engine.bundle.presets import PRECISIONS, Preset
from engine.bundle.settings import (
    AUTO,
    BATCH_SIZES,
    EMPHASES,
    EVERYWHERE,
    THREADS,
    HardwareSettings,
    PictureSettings,
    RequestSettings,
    SamplingSettings,
    parse_sampler,
)
from engine.bundle.tables import expect_distinct_levels, expect_table_alone
from engine.bundle.variants import select_variant
from engine.bundle.variation import variation_request
from engine.errors import RequestError
from engine.initial.settings import InitialRequest, initial_request
from engine.machine import available_cores
from engine.options import Range, check_settings, check_within
from engine.sampling.hires import Hires
from engine.sampling.learned import LearnedTable
from engine.sampling.noise import MAX_SEED, WITH_CLASSES
from engine.sampling.prompt_syntax import parse_prompt
from engine.sampling.samplers import LANGEVIN, SAMPLERS, Langevin
from engine.sampling.variation import Variation

__all__ = ["GenerateRequest", "make_request"]

Value = TypeVar("Value")
MAX_PICTURES = 10**9
MAX_ROWS = 100_000
"""Largest number of UNet evaluations per picture."""


@dataclass(frozen=True)
class GenerateRequest:
    """The request for a whole run. Equal requests on one machine write equal bytes."""

    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    """Number of pictures of each class. Picture i of a class has seed `seed + i`."""
    seed: int
    rng: str
    shared_noise: bool
    """Whether all classes have the same noise at the same seed. Otherwise the name of the class enters the noise."""
    sampler: str
    schedule: str
    num_inference_steps: int
    langevin: Langevin | None
    """Settings of the sampler langevin; None for every other sampler."""
    guidance_scale: float
    guidance_interval: tuple[float, float] | None
    """The sigmas between which guidance applies; None applies it everywhere."""
    prompt: str | None
    """Replaces the prompt of the class; None keeps that prompt."""
    negative_prompt: str | None
    width: int
    height: int
    batch_size: int
    backend: str
    precision: str
    threads: int
    initial: InitialRequest | None = None
    """How the initial pictures are used; None starts from noise alone."""
    hires: Hires | None = None
    """The second pass; None draws once."""
    clip_skip: int = 1
    emphasis: str = EMPHASES[0]
    table: LearnedTable | None = None
    """The learned table of the preset, in place of sampler, schedule and guidance; None computes the table."""
    preset: str | None = None
    """Name of the preset of a learned table."""
    unets_sha256: str | None = None
    """SHA-256 of the preset's UNets of these classes and of its small decoder; None takes the UNets of the classes."""
    variation: Variation | None = None
    """How the first noise differs from that of the seeds; None takes theirs."""

    @property
    def final_size(self) -> tuple[int, int]:
        """Width and height of the decoded pictures."""
        return (self.width, self.height) if self.hires is None else (self.hires.width, self.hires.height)

    def as_json(self) -> dict[str, Any]:
        """Return the request as plain JSON values.

        shared_noise, `initial`, `hires`, `variation`, clip_skip and emphasis are only stated if they differ from what
        versions that do not state them did.
        """
        interval = None if self.guidance_interval is None else list(self.guidance_interval)
        lists = {"class_names": list(self.class_names), "counts": list(self.counts), "guidance_interval": interval}
        values = {**asdict(self), **lists}
        if self.shared_noise:
            del values["shared_noise"]
        if not all(parse_prompt(prompt).plain for prompt in (self.prompt, self.negative_prompt) if prompt):
            # Earlier versions took the brackets for text, so that a run of theirs cannot be resumed.
            values["prompt_syntax"] = 1
        for name in ("clip_skip", "emphasis"):
            if values[name] == getattr(GenerateRequest, name):
                del values[name]
        del values["initial"], values["hires"], values["variation"], values["table"], values["preset"]
        if self.unets_sha256 is None:
            del values["unets_sha256"]
        if self.table is not None:
            values["table_sha256"] = self.table.sha256
        if self.initial is not None:
            values["initial"] = self.initial.as_json()
        if self.hires is not None:
            values["hires"] = asdict(self.hires)
        if self.variation is not None:
            values["variation"] = asdict(self.variation)
        return values


def make_request(
    manifest: Manifest,
    class_names: Sequence[str],
    n: int | Mapping[str, int],
    settings: RequestSettings | None = None,
    previous: Mapping[str, Any] | None = None,
) -> GenerateRequest:
    """Return the request that these settings make of this bundle: defaults filled in, everything checked.

    Args:
        manifest: The bundle's manifest, which gives the defaults.
        class_names: Classes of the bundle; "all" is every class. Tags in the prompt may select another; see variants.
        n: Number of pictures per class, one number or a number by class name.
        settings: What to change from the defaults. A preset replaces the bundle's defaults, and explicit settings
            override the preset. The guidance interval EVERYWHERE guides every step even if the default has bounds.
        previous: Identity of the run to resume. It supplies a seed of -1, threads of 0, a batch size of "auto" and an
            absent precision. Without it the seed is drawn, the threads are those of this process, the batch size is the
            bundle's and the precision is the preset's, or "auto".

    Raises RequestError for the first value that is wrong.
    """
    settings = settings or RequestSettings()
    sampling, guidance, picture, hardware = settings.sampling, settings.guidance, settings.picture, settings.hardware
    _check_groups(settings)
    chosen, prompt = _variant(manifest, asked := _classes(manifest, class_names), picture)
    preset = _preset(manifest, settings)
    defaults = preset or manifest.defaults
    sampler = sampling.sampler or defaults.sampler
    native = defaults.schedule if sampler == defaults.sampler else SAMPLERS[sampler].schedule
    interval = _given(guidance.guidance_interval, defaults.guidance_interval)
    initial = initial_request(settings.initial)
    left, top, right, bottom = (initial and initial.expand) or (0, 0, 0, 0)
    request = GenerateRequest(
        class_names=chosen,
        counts=tuple(n if isinstance(n, int) else n[name] for name in asked),
        seed=_drawn_seed(previous) if sampling.seed == -1 else sampling.seed,
        rng=sampling.rng,
        shared_noise=sampling.shared_noise or sampling.rng not in WITH_CLASSES,
        sampler=sampler,
        schedule=sampling.schedule or native,
        num_inference_steps=_given(sampling.num_inference_steps, defaults.num_inference_steps),
        langevin=_langevin(sampler, sampling),
        guidance_scale=_given(guidance.guidance_scale, defaults.guidance_scale),
        guidance_interval=None if interval == EVERYWHERE else interval,
        prompt=prompt,
        negative_prompt=picture.negative_prompt,
        width=_given(picture.width, manifest.picture_size[0]) + left + right,
        height=_given(picture.height, manifest.picture_size[1]) + top + bottom,
        batch_size=_batch_size(hardware, previous, manifest),
        backend=hardware.backend,
        precision=hardware.precision or _precision(previous, preset),
        threads=hardware.threads or _threads(previous),
        initial=initial,
        clip_skip=picture.clip_skip,
        emphasis=picture.emphasis,
        table=None if preset is None else preset.table,
        preset=None if preset is None or preset.table is None else sampling.preset,
        unets_sha256=manifest.unets_sha256(chosen, sampling.preset),
    )
    request = _with_passes(request, manifest, settings, previous)
    for name in chosen:
        manifest.graphs(name, request.precision, request.preset)
    _check_numbers(request, manifest)
    for flag, grown, side in (("--width", left + right, request.width), ("--height", top + bottom, request.height)):
        check_side(f"{flag} with --expand" if grown else flag, side, manifest)
    if initial is not None:
        expect_encoder(manifest, "--init")
        _check_level(initial, manifest)
    _check_prompts(request, manifest)
    return request


def _check_groups(settings: RequestSettings) -> None:
    """Check each value by itself."""
    parse_sampler(settings.sampling.sampler or "")
    for group in (settings.sampling, settings.guidance, settings.picture, settings.hardware):
        check_settings(group)


def _with_passes(
    request: GenerateRequest, manifest: Manifest, settings: RequestSettings, previous: Mapping[str, Any] | None
) -> GenerateRequest:
    """Return the request with its second pass and its variation, if it has them. Raises RequestError."""
    steps, size, varied = request.num_inference_steps, (request.width, request.height), request.initial is not None
    hires = hires_request(settings.hires, size, steps, manifest, varied=varied)
    pixels = manifest.pixels_per_latent
    variation = variation_request(settings.variation, max(request.counts), pixels, previous)
    return replace(request, hires=hires, variation=variation)


def _check_prompts(request: GenerateRequest, manifest: Manifest) -> None:
    if request.prompt is None and request.negative_prompt is None and request.clip_skip == 1:
        return
    if manifest.text_encoder is None:
        raise RequestError(
            "--prompt and --negative-prompt" if request.clip_skip == 1 else "--clip-skip",
            found=f"no text encoder in the bundle {manifest.name}",
            expected="a bundle with a text encoder",
            fix="leave out these options (each class has its own prompt), or export the bundle again",
        )
    for flag, prompt in (("--prompt", request.prompt), ("--negative-prompt", request.negative_prompt)):
        parse_prompt(prompt or "", flag, parts=flag == "--prompt")


def _given(value: Value | None, default: Value) -> Value:
    return default if value is None else value


def _langevin(sampler: str, sampling: SamplingSettings) -> Langevin | None:
    step_size, steps = sampling.langevin_step_size, sampling.langevin_steps_per_level
    if sampler == LANGEVIN:
        own = Langevin()
        return Langevin(_given(step_size, own.step_size), _given(steps, own.steps_per_level))
    if step_size is not None or steps is not None:
        raise RequestError(
            "--langevin-step-size and --langevin-steps-per-level",
            found=f"the sampler {sampler}",
            expected=f"the sampler {LANGEVIN}",
            fix=f"add --sampler {LANGEVIN}, or leave out both options",
        )
    return None


def _batch_size(hardware: HardwareSettings, previous: Mapping[str, Any] | None, manifest: Manifest) -> int:
    if isinstance(hardware.batch_size, int):
        return hardware.batch_size
    kept = (previous or {}).get("batch_size") if hardware.batch_size == AUTO else None
    return kept if isinstance(kept, int) else manifest.defaults.batch_size


def _classes(manifest: Manifest, class_names: Sequence[str]) -> tuple[str, ...]:
    known = tuple(manifest.classes)
    chosen = known if "all" in class_names else tuple(dict.fromkeys(class_names))
    if not chosen:
        raise RequestError("--class", found="none", expected=f"one of {', '.join(known)}, or all", fix="name a class")
    for name in chosen:
        if name not in manifest.classes:
            raise RequestError(
                f"The class {name}",
                found=f"not in the bundle {manifest.name}",
                expected=f"one of {', '.join(known)}, or all",
                fix="choose one of these, or add the class to a bundle with `python -m exporter onnx`",
            )
    return chosen


def _variant(
    manifest: Manifest, asked: tuple[str, ...], picture: PictureSettings
) -> tuple[tuple[str, ...], str | None]:
    """Return the classes and the prompt after tags such as <lora:name:0.8> were followed."""
    classes = {name: entry.adapters for name, entry in manifest.classes.items()}
    return select_variant(asked, picture.prompt, picture.negative_prompt, classes)


def _preset(manifest: Manifest, settings: RequestSettings) -> Preset | None:
    """Return the preset that the settings name, or None. Raises RequestError."""
    name = settings.sampling.preset
    if name is None:
        return None
    if name not in manifest.presets:
        raise RequestError(
            "--preset",
            found=name,
            expected=f"one of {', '.join(manifest.presets) or 'none'}, the presets of the bundle {manifest.name}",
            fix="leave out the option, or add the preset to the bundle with `python -m exporter preset`",
        )
    if manifest.presets[name].table is not None:
        expect_table_alone(settings)
    return manifest.presets[name]


def _drawn_seed(previous: Mapping[str, Any] | None) -> int:
    seed = (previous or {}).get("seed")
    return seed if isinstance(seed, int) else secrets.randbelow(2**32)


def _precision(previous: Mapping[str, Any] | None, preset: Preset | None) -> str:
    precision = (previous or {}).get("precision")
    if precision in PRECISIONS:
        return str(precision)
    return preset.precision if preset else PRECISIONS[0]


def _threads(previous: Mapping[str, Any] | None) -> int:
    """Return the number of threads of the run to resume, or the number of cores available to this process."""
    threads = (previous or {}).get("threads")
    if isinstance(threads, int):
        return threads
    return available_cores()


def _check_numbers(request: GenerateRequest, manifest: Manifest) -> None:
    """Check what depends on the manifest, on other values of the request, or on the run that it resumes."""
    for count in (min(request.counts), max(request.counts)):
        check_within("--n", count, Range(1, MAX_PICTURES))
    check_within("--seed", request.seed, Range(0, MAX_SEED - max(request.counts)))
    check_within("--steps", request.num_inference_steps, Range(1, manifest.noise.num_train_timesteps))
    check_within("--batch-size", request.batch_size, BATCH_SIZES)
    check_within("--threads", request.threads, THREADS)
    if request.langevin:
        # Above four times the smallest variance the iteration of the smallest level diverges.
        largest = 4 * float(manifest.noise.sigmas[0]) ** 2
        check_within("--langevin-step-size", request.langevin.step_size, Range(1e-12, largest))
        most = MAX_ROWS // request.num_inference_steps
        check_within("--langevin-steps-per-level", request.langevin.steps_per_level, Range(1, most))
    if request.guidance_interval is not None:
        low, high = request.guidance_interval
        if not 0 <= low <= high < math.inf:
            raise RequestError(
                "--guidance-interval",
                found=f"{low:g} {high:g}",
                expected="0 <= LO <= HI, finite, in sigma",
                fix="change the two values",
            )
    if request.table is None:
        expect_distinct_levels(manifest, request.sampler, request.schedule, request.num_inference_steps)


def _check_level(initial: InitialRequest, manifest: Manifest) -> None:
    if initial.start_sigma is not None:
        sigmas = manifest.noise.sigmas
        check_within("--start-sigma", initial.start_sigma, Range(float(sigmas[0]), float(sigmas[-1])))
