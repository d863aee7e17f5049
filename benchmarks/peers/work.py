"""What every system of `bench` is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest
from engine.pipeline.pipeline import noise_of
from exporter.load import MergedModel

__all__ = ["TIMESTEP", "Work"]

TIMESTEP = 500
"""Of the UNet's one evaluation: a whole number, which diffusers takes as it is."""


@dataclass(frozen=True)
class Work:
    """One class's bundle and merged folder, and a request for one batch, of seeds 0, 1, ..., on OpenVINO in float32."""

    bundle: Bundle
    merged: MergedModel
    request: GenerateRequest
    folder: Path
    """Where PNG files go."""

    @property
    def class_name(self) -> str:
        """The class that is drawn."""
        return self.request.class_names[0]

    @cached_property
    def noise(self) -> NDArray[np.float32]:
        """(B, C, h, w) float32."""
        return noise_of(self.bundle, self.class_name, self.request)(range(self.request.batch_size)).draw()

    @cached_property
    def context(self) -> NDArray[np.float32]:
        """(2B, T, D) float32 embeddings: of the prompt, then of the empty one."""
        prompt = self.bundle.manifest.classes[self.class_name].prompt
        embeddings = self.merged.embed_prompts([prompt, ""])
        return np.repeat(embeddings.numpy(), self.request.batch_size, axis=0)
