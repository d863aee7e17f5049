"""Jobs: a checked request together with everything that is derived from it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest, make_request
from engine.bundle.settings import RequestSettings
from engine.bundle.words import with_used_prompts
from engine.sampling.guidance import guidance_table
from engine.sampling.samplers import Langevin, SamplerPlan, plan_steps

__all__ = ["Job", "make_job"]


@dataclass(frozen=True)
class Job:
    """The pictures to make: the bundle, the request, and the tables that both determine."""

    bundle: Bundle
    request: GenerateRequest
    plan: SamplerPlan
    """The sampler's table."""
    scales: tuple[float, ...]
    """The guidance scale of each row of the table."""
    warnings: tuple[str, ...] = ()
    """What of the request is used otherwise than it was written: prompts that were cut, and unknown words."""

    @classmethod
    def of(cls, bundle: Bundle, request: GenerateRequest, warnings: tuple[str, ...] = ()) -> Self:
        """Return the job of a request, with its tables computed."""
        plan = plan_steps(
            bundle.manifest.noise,
            sampler=request.sampler,
            schedule=request.schedule,
            num_inference_steps=request.num_inference_steps,
            langevin_settings=request.langevin or Langevin(),
        )
        sigmas = [row.sigma for row in plan.rows]
        scales = guidance_table(sigmas, request.guidance_scale, request.guidance_interval)
        return cls(bundle, request, plan, scales, warnings)

    def changed(self, **fields: Any) -> Job:
        """Return the job whose request has these fields instead. They are not checked again."""
        return Job.of(self.bundle, replace(self.request, **fields), self.warnings)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape (channels, height, width) of one picture's latents."""
        pixels = self.bundle.manifest.pixels_per_latent
        return self.bundle.manifest.latent_shape[0], self.request.height // pixels, self.request.width // pixels

    @property
    def plan_sha256(self) -> str:
        """SHA-256 of both tables."""
        return self.plan.sha256(self.scales)


def make_job(
    bundle: Bundle,
    class_names: Sequence[str],
    n: int | Mapping[str, int],
    settings: RequestSettings | None = None,
    previous: Mapping[str, Any] | None = None,
) -> Job:
    """Return the job of a request that is made and checked by `make_request`. Raises RequestError.

    A prompt that is too long for the text encoder is cut after its last whole word; the warnings of the job say so.
    """
    request = make_request(bundle.manifest, class_names, n, settings, previous)
    return Job.of(bundle, *with_used_prompts(bundle, request))
