"""What is asked for, checked against the bundle before any model loads."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.bundle.manifest import PRECISIONS, Manifest, Preset
from engine.errors import RequestError
from engine.machine import available_cores
from engine.sampling.noise import MAX_SEED, RNGS
from engine.sampling.samplers import LANGEVIN, SAMPLERS, Langevin
from engine.sampling.schedules import SCHEDULES

__all__ = ["EVERYWHERE", "GenerateRequest", "make_request"]

EVERYWHERE = (0.0, 1e6)
"""A guidance interval that holds every sigma."""
MAX_PICTURES = 10**9
MAX_SIDE = 4096
MAX_ROWS = 100_000
"""Evaluations a picture."""


@dataclass(frozen=True)
class GenerateRequest:
    """A whole run: equal requests on one machine write equal bytes."""

    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    """Pictures of each class; picture i of a class has seed `seed + i`."""
    seed: int
    rng: str
    sampler: str
    schedule: str
    num_inference_steps: int
    langevin: Langevin | None
    """Only the sampler langevin has it."""
    guidance_scale: float
    guidance_interval: tuple[float, float] | None
    """The sigmas between which there is guidance; None is everywhere."""
    prompt: str | None
    """In place of the class's own; None keeps that."""
    negative_prompt: str | None
    width: int
    height: int
    batch_size: int
    backend: str
    precision: str
    threads: int

    def as_json(self) -> dict[str, Any]:
        """The request as plain values."""
        interval = None if self.guidance_interval is None else list(self.guidance_interval)
        lists = {"class_names": list(self.class_names), "counts": list(self.counts), "guidance_interval": interval}
        return {**asdict(self), **lists}


def make_request(
    manifest: Manifest,
    *,
    class_names: Sequence[str],
    n: int | Mapping[str, int],
    backend: str,
    seed: int = 0,
    rng: str = "numpy",
    sampler: str | None = None,
    schedule: str | None = None,
    num_inference_steps: int | None = None,
    langevin_step_size: float | None = None,
    langevin_steps_per_level: int | None = None,
    guidance_scale: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    prompt: str | None = None,
    negative_prompt: str | None = None,
    width: int | None = None,
    height: int | None = None,
    batch_size: int | None = None,
    precision: str | None = None,
    threads: int = 0,
    preset: str | None = None,
    previous: Mapping[str, Any] | None = None,
) -> GenerateRequest:
    """Fill in the manifest's defaults and check everything; "all" stands for every class. n: pictures of each class, or
    by class. preset: the bundle's name for other defaults; what is given beside it counts more. guidance_interval:
    EVERYWHERE for a bundle whose default has bounds.

    `previous` is the identity of the run that is to be continued: a seed of -1, threads of 0 and no precision are
    taken from it. Without it the seed is drawn, the threads are those of this process and the precision is the
    preset's, or "auto".
    Raises RequestError for the first thing that is wrong.
    """
    chosen = _classes(manifest, class_names)
    chosen_preset = None if preset is None else _preset(manifest, preset)
    defaults = chosen_preset or manifest.defaults
    if guidance_interval is None:
        guidance_interval = defaults.guidance_interval
    sampler = _choice("--sampler", sampler or defaults.sampler, SAMPLERS)
    native = defaults.schedule if sampler == defaults.sampler else SAMPLERS[sampler].schedule
    if sampler != LANGEVIN and (langevin_step_size is not None or langevin_steps_per_level is not None):
        raise RequestError(
            "--langevin-step-size and --langevin-steps-per-level",
            found=f"the sampler {sampler}",
            expected=f"the sampler {LANGEVIN}",
            fix=f"add --sampler {LANGEVIN}, or leave them out",
        )
    own = Langevin()
    request = GenerateRequest(
        class_names=chosen,
        counts=tuple(n if isinstance(n, int) else n[name] for name in chosen),
        seed=_drawn_seed(previous) if seed == -1 else seed,
        rng=_choice("--rng", rng, RNGS),
        sampler=sampler,
        schedule=_choice("--schedule", schedule or native, SCHEDULES),
        num_inference_steps=defaults.num_inference_steps if num_inference_steps is None else num_inference_steps,
        langevin=None
        if sampler != LANGEVIN
        else Langevin(
            own.step_size if langevin_step_size is None else langevin_step_size,
            own.steps_per_level if langevin_steps_per_level is None else langevin_steps_per_level,
        ),
        guidance_scale=defaults.guidance_scale if guidance_scale is None else guidance_scale,
        guidance_interval=None if guidance_interval == EVERYWHERE else guidance_interval,
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=manifest.picture_size[0] if width is None else width,
        height=manifest.picture_size[1] if height is None else height,
        batch_size=manifest.defaults.batch_size if batch_size is None else batch_size,
        backend=backend,
        precision=_choice("--precision", precision or _precision(previous, chosen_preset), PRECISIONS),
        threads=threads or _threads(previous),
    )
    for name in chosen:
        manifest.graphs(name, request.precision)
    _check_numbers(request, manifest)
    if (prompt is not None or negative_prompt is not None) and manifest.text_encoder is None:
        raise RequestError(
            "--prompt and --negative-prompt",
            found=f"no text encoder in the bundle {manifest.name}",
            expected="a bundle that carries one",
            fix="leave them out: each class has its own prompt; or export the bundle again",
        )
    return request


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


def _preset(manifest: Manifest, name: str) -> Preset:
    if name not in manifest.presets:
        raise RequestError(
            "--preset",
            found=name,
            expected=f"one of {', '.join(manifest.presets) or 'none'}, the presets of the bundle {manifest.name}",
            fix="leave it out, or add it to the bundle with `python -m exporter preset`",
        )
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
    """As many as there are cores for this process; a run that is continued keeps what it had."""
    threads = (previous or {}).get("threads")
    if isinstance(threads, int):
        return threads
    return available_cores()


def _check_numbers(request: GenerateRequest, manifest: Manifest) -> None:
    _within("--n", min(request.counts), 1, MAX_PICTURES)
    _within("--n", max(request.counts), 1, MAX_PICTURES)
    _within("--seed", request.seed, 0, MAX_SEED - max(request.counts))
    _within("--steps", request.num_inference_steps, 1, manifest.noise.num_train_timesteps)
    _within("--guidance-scale", request.guidance_scale, 0, 100)
    _within("--batch-size", request.batch_size, 1, 4096)
    _within("--threads", request.threads, 0, 4096)
    if request.langevin:
        # Above four times the smallest variance the iteration of the smallest level diverges.
        _within("--langevin-step-size", request.langevin.step_size, 1e-12, 4 * float(manifest.noise.sigmas[0]) ** 2)
        most = MAX_ROWS // request.num_inference_steps
        _within("--langevin-steps-per-level", request.langevin.steps_per_level, 1, most)
    if request.guidance_interval is not None:
        low, high = request.guidance_interval
        if not 0 <= low <= high < math.inf:
            raise RequestError(
                "--guidance-interval",
                found=f"{low:g} {high:g}",
                expected="0 <= LO <= HI, finite, in sigma",
                fix="change them",
            )
    levels = SCHEDULES[request.schedule](manifest.noise, request.num_inference_steps)
    if not (np.diff(levels) < 0).all():
        raise RequestError(
            f"--steps with --schedule {request.schedule}",
            found=str(request.num_inference_steps),
            expected="fewer, so that no two steps share a noise level",
            fix="lower --steps",
        )
    multiple = manifest.latent_multiple * manifest.pixels_per_latent
    for flag, side in (("--width", request.width), ("--height", request.height)):
        _within(flag, side, multiple, MAX_SIDE)
        if side % multiple:
            near = side // multiple * multiple
            raise RequestError(
                flag,
                found=str(side),
                expected=f"a multiple of {multiple}",
                fix=f"take {near} or {near + multiple}",
            )


def _choice(flag: str, value: str, allowed: Sequence[str] | Mapping[str, Any]) -> str:
    if value not in allowed:
        raise RequestError(flag, found=value, expected=f"one of {', '.join(allowed)}", fix="choose one of these")
    return value


def _within(flag: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        found = str(value)
        shown = found if len(found) <= 40 else f"{found[:37]}..."
        raise RequestError(flag, found=shown, expected=f"{low} to {high}", fix="change the value")
