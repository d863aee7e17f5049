"""Jobs: a checked request together with everything that is derived from it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest, make_request
from engine.bundle.settings import RequestSettings
from engine.bundle.words import prompt_warnings
from engine.initial.pictures import InitialPictures, find_initial_pictures
from engine.sampling.guidance import guidance_table
from engine.sampling.samplers import Langevin, SamplerPlan, plan_steps
from engine.sampling.start import StartLevel

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
    """What of the request is used otherwise than it was written: unknown words, and transparent initial pictures."""
    initial: InitialPictures | None = None
    """The initial pictures, if the request has some."""
    start: StartLevel | None = None
    """Where in the noise schedule the trajectories begin at given latents. None begins at noise alone."""

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        request: GenerateRequest,
        warnings: tuple[str, ...] = (),
        initial: InitialPictures | None = None,
        start: StartLevel | None = None,
    ) -> Self:
        """Return the job of a request, with its tables computed."""
        if request.initial is not None:
            start = request.initial.level
        if request.table is not None:
            table = request.table.first(request.num_inference_steps)
            return cls(bundle, request, table.plan(), table.scales, warnings)
        plan = plan_steps(
            bundle.manifest.noise,
            sampler=request.sampler,
            schedule=request.schedule,
            num_inference_steps=request.num_inference_steps,
            langevin_settings=request.langevin or Langevin(),
            start=start,
        )
        sigmas = [row.sigma for row in plan.rows]
        scales = guidance_table(sigmas, request.guidance_scale, request.guidance_interval, plan.guidance_factors)
        return cls(bundle, request, plan, scales, warnings, initial, start)

    def changed(self, **fields: Any) -> Job:
        """Return the job whose request has these fields instead. They are not checked again."""
        return Job.of(self.bundle, replace(self.request, **fields), self.warnings, self.initial, self.start)

    @property
    def second_pass(self) -> Job | None:
        """The job that draws the larger pictures of a hires fix from the latents of this one. None if there is none."""
        hires = self.request.hires
        if hires is None:
            return None
        request = replace(
            self.request, width=hires.width, height=hires.height, num_inference_steps=hires.steps, hires=None
        )
        return Job.of(self.bundle, request, start=hires.level)

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

    Initial pictures are found, checked and hashed. The warnings of the job name words of the prompts that the base
    never learnt.
    """
    settings = settings or RequestSettings()
    request = make_request(bundle.manifest, class_names, n, settings, previous)
    initial: InitialPictures | None = None
    found: tuple[str, ...] = ()
    if request.initial is not None:
        initial, found = find_initial_pictures(
            settings.initial, request.initial, request.class_names, (request.width, request.height)
        )
        request = replace(request, initial=replace(request.initial, sha256=initial.sha256))
    return Job.of(bundle, request, (*prompt_warnings(bundle, request), *found), initial)
