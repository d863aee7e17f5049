"""The interface of everything that `merge` puts into a base, and the reader of its files."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from trainer.adapters.kinds import HYPERNETWORK, UNET, kind_of
from trainer.adapters.unet_weights import UnetWeights, read_unet_weights
from trainer.base.base import Base
from trainer.hypernetwork.files import HypernetworkFile, read_hypernetwork
from trainer.lora.files import LoraFile, read_lora
from trainer.training.record import ClassRecord

__all__ = ["Adapter", "AnyAdapter", "read_adapter"]


class Adapter(Protocol):
    """What a file of an adapter states, and how it acts on a base."""

    @property
    def kind(self) -> str:
        """The word of a prompt's tag: hypernet, lora or unet."""

    @property
    def name(self) -> str:
        """The name in a prompt's tag."""

    @property
    def record(self) -> ClassRecord | None:
        """The class that the adapter was trained on. None in files of other programs."""

    @property
    def base_sha256(self) -> str | None:
        """SHA-256 of the UNet that the adapter was trained on. None if the file does not state it."""

    def expect_fitting(self, base: Base) -> None:
        """Raise RequestError unless the base has everything that the adapter changes."""

    def attached(self, base: Base, multiplier: float = 1.0) -> AbstractContextManager[None]:
        """Return a context in which the base computes with the adapter, and keeps its own weights."""


AnyAdapter = HypernetworkFile | LoraFile | UnetWeights


def read_adapter(path: Path) -> AnyAdapter:
    """Return the hypernetwork, the LoRA or the trained UNet of a file. Raises RequestError."""
    kind, _ = kind_of(path)
    if kind == UNET:
        return read_unet_weights(path)
    if kind == HYPERNETWORK:
        return read_hypernetwork(path)
    # The reader says what a file of another kind is.
    return read_lora(path)
