"""The interface of a peer, and the work that every system is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.rounds import Opened
from engine.bundle.folder import Bundle
from engine.bundle.job import Job
from engine.bundle.request import GenerateRequest
from engine.pipeline.pipeline import decoder_noise_of, noise_of
from exporter.load import MergedModel

__all__ = ["TIMESTEP", "Peer", "Work"]

TIMESTEP = 500
"""Timestep of the part `step`: a whole number, which diffusers uses unchanged."""


@dataclass(frozen=True)
class Work:
    """A job of one batch of one class with seeds 0, 1, ..., on OpenVINO in float32, and the class's merged models."""

    job: Job
    merged: MergedModel
    folder: Path
    """Folder for PNG files."""
    preset_job: Job | None = None
    """The job of the engine with a preset: its pictures differ from those of the peers."""

    @property
    def bundle(self) -> Bundle:
        """The bundle of the job."""
        return self.job.bundle

    @property
    def request(self) -> GenerateRequest:
        """The request of the job."""
        return self.job.request

    @property
    def engine_job(self) -> Job:
        """The job of the engine, which has the settings of the peers without a preset."""
        return self.preset_job or self.job

    @property
    def class_name(self) -> str:
        """The class that is drawn."""
        return self.request.class_names[0]

    @cached_property
    def noise(self) -> NDArray[np.float32]:
        """Initial noise (B, C, h, w) float32."""
        return noise_of(self.job, self.class_name)(range(self.request.batch_size)).draw()

    @cached_property
    def decoder_noise(self) -> dict[str, NDArray[np.float32]]:
        """The decoder's inputs besides the latents: noise (B, P, H, W) float32 if the decoder draws grain."""
        return decoder_noise_of(self.job, self.class_name, range(self.request.batch_size))

    @cached_property
    def context(self) -> NDArray[np.float32]:
        """Embeddings (2B, T, D) float32: those of the prompt, then those of the empty prompt."""
        prompt = self.bundle.manifest.classes[self.class_name].prompt
        embeddings = self.merged.embed_prompts([prompt, ""])
        return np.repeat(embeddings.numpy(), self.request.batch_size, axis=0)


class Peer(Protocol):
    """One of the compared programs. It offers one or more systems, such as diffusers in float32 and in bfloat16."""

    def add_to(self, opened: Opened, work: Work, part: str) -> None:
        """Add the systems for a part, or the reasons why they cannot be measured."""
        ...
