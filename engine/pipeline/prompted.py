"""The UNet under prompts that change from step to step, have several parts, or are longer than one chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend, Model
from engine.sampling.guidance import guide_parts
from engine.sampling.schedules import time_features

if TYPE_CHECKING:
    from engine.pipeline.loops import LoopSpec

__all__ = ["PromptTable", "PromptedUNet"]

MOST = 2
"""Largest number of contexts per call of the UNet, so that no call has more rows than a guided step without parts."""


@dataclass(frozen=True)
class PromptTable:
    """Which embeddings each step takes."""

    contexts: tuple[NDArray[np.float32], ...]
    """Embeddings, each (n T, D) for a prompt of n chunks."""
    rows: tuple[tuple[int, ...], ...]
    """For each step the context of each part of the prompt, and last that of the negative prompt."""
    weights: tuple[float, ...]
    """The weight of each part."""

    def tokens(self) -> set[int]:
        """Return the different numbers of tokens."""
        return {len(context) for context in self.contexts}


class PromptedUNet:
    """Evaluates each part and the negative prompt, and combines them. Contexts of equal length share a call."""

    def __init__(self, spec: LoopSpec, table: PromptTable, backend: Backend) -> None:
        self._spec, self._table = spec, table
        self._unets: dict[tuple[int, int], Model] = {}
        for step in range(len(spec.plan.rows)):
            for call in self._calls(step):
                key = self._key(call)
                if key not in self._unets:
                    rows, tokens = key
                    inputs = spec.unet_inputs(rows)
                    inputs["encoder_hidden_states"] = (rows, tokens, spec.context.shape[2])
                    self._unets[key] = backend.open(spec.unet, inputs, ("eps",))

    def _key(self, call: Sequence[int]) -> tuple[int, int]:
        """Return the rows and tokens of a call."""
        return len(call) * self._spec.batch_size, len(self._table.contexts[call[0]])

    def _calls(self, step: int) -> list[list[int]]:
        """Return the contexts that a step needs, in groups of one length. A step without guidance needs one."""
        row = self._table.rows[step]
        if self._unguided(step):
            row = row[:1]
        by_length: dict[int, list[int]] = {}
        for context in dict.fromkeys(row):
            by_length.setdefault(len(self._table.contexts[context]), []).append(context)
        return [group[at : at + MOST] for group in by_length.values() for at in range(0, len(group), MOST)]

    def _unguided(self, step: int) -> bool:
        return self._spec.scales[step] == 1 and self._table.weights == (1.0,)

    def eps(self, latents: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        """Return the guided output (B, C, h, w) for scaled latents, in a step counted from 0."""
        spec = self._spec
        found: dict[int, NDArray[np.float32]] = {}
        for call in self._calls(step):
            rows, _ = self._key(call)
            contexts = np.stack([self._table.contexts[context] for context in call])
            inputs = {
                "latents": np.concatenate([latents] * len(call)),
                "time_features": time_features(np.full(rows, spec.plan.rows[step].timestep), spec.frequencies),
                "encoder_hidden_states": np.repeat(contexts, spec.batch_size, axis=0),
            }
            found.update(zip(call, np.split(self._unets[self._key(call)].run(inputs)["eps"], len(call)), strict=True))
        *parts, negative = self._table.rows[step]
        if self._unguided(step):
            return found[parts[0]]
        return guide_parts([found[part] for part in parts], found[negative], self._table.weights, spec.scales[step])

    def close(self) -> None:
        """Close the graphs."""
        for unet in self._unets.values():
            unet.close()
