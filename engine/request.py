"""What is asked for, checked against the bundle before any model loads."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import RequestError
from engine.manifest import Manifest
from engine.noise import MAX_SEED
from engine.samplers import SAMPLERS, SCHEDULES

__all__ = ["PRECISIONS", "GenerateRequest", "make_request"]

PRECISIONS = ("auto", "f32")
MAX_PICTURES = 10**9


@dataclass(frozen=True)
class GenerateRequest:
    """A whole run: equal requests on one machine and backend write equal bytes."""

    class_names: tuple[str, ...]
    n: int
    """Pictures of each class; picture i has seed `seed + i`."""
    seed: int
    sampler: str
    schedule: str
    num_inference_steps: int
    guidance_scale: float
    batch_size: int
    precision: str
    threads: int

    def as_json(self) -> dict[str, Any]:
        """The request as plain values."""
        return {**asdict(self), "class_names": list(self.class_names)}


def make_request(
    manifest: Manifest,
    *,
    class_names: Sequence[str],
    n: int,
    seed: int = 0,
    sampler: str | None = None,
    schedule: str | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    batch_size: int | None = None,
    precision: str = "auto",
    threads: int = 0,
) -> GenerateRequest:
    """Fill in the manifest's defaults and check everything; "all" stands for every class, seed -1 draws one.

    Raises RequestError for the first thing that is wrong.
    """
    known = tuple(manifest.classes)
    chosen = known if "all" in class_names else tuple(dict.fromkeys(class_names))
    if not chosen:
        raise RequestError("--class", found="none", expected=f"one of {', '.join(known)}, or all", mend="name a class")
    for name in chosen:
        if name not in manifest.classes:
            raise RequestError(
                f"The class {name}",
                found=f"not in the bundle {manifest.name}",
                expected=f"one of {', '.join(known)}, or all",
                mend="choose one of these, or add the class to a bundle with `python -m exporter onnx`",
            )
    defaults = manifest.defaults
    request = GenerateRequest(
        class_names=chosen,
        n=n,
        seed=secrets.randbelow(2**32) if seed == -1 else seed,
        sampler=_choice("--sampler", sampler or defaults.sampler, SAMPLERS),
        schedule=_choice("--schedule", schedule or defaults.schedule, SCHEDULES),
        num_inference_steps=defaults.num_inference_steps if num_inference_steps is None else num_inference_steps,
        guidance_scale=defaults.guidance_scale if guidance_scale is None else guidance_scale,
        batch_size=min(defaults.batch_size, max(n, 1)) if batch_size is None else batch_size,
        precision=_choice("--precision", precision, PRECISIONS),
        threads=threads,
    )
    _within("--n", request.n, 1, MAX_PICTURES)
    _within("--seed", request.seed, 0, MAX_SEED - request.n)
    _within("--steps", request.num_inference_steps, 1, manifest.noise.num_train_timesteps)
    _within("--guidance-scale", request.guidance_scale, 0, 100)
    _within("--batch-size", request.batch_size, 1, 4096)
    _within("--threads", request.threads, 0, 4096)
    return request


def _choice(flag: str, value: str, allowed: Sequence[str] | dict[str, Any]) -> str:
    if value not in allowed:
        raise RequestError(flag, found=value, expected=f"one of {', '.join(allowed)}", mend="choose one of these")
    return value


def _within(flag: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:
        raise RequestError(flag, found=str(value), expected=f"{low} to {high}", mend="change the value")
