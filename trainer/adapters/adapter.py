"""The interface of everything that `merge` puts into a base, and the reader that finds out what a file is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError, safe_open

from trainer.adapters.unet_weights import FORMAT as UNET_FORMAT
from trainer.adapters.unet_weights import UnetWeights, read_unet_weights
from trainer.base.base import Base
from trainer.base.torch_files import load_plain
from trainer.hypernetwork.files import FORMAT as HYPERNETWORK_FORMAT
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
    if path.suffix.lower() == ".safetensors":
        try:
            with safe_open(path, framework="pt") as opened:
                metadata = opened.metadata() or {}
        except (OSError, ValueError, SafetensorError):
            # The reader says what is wrong.
            metadata = {}
        if metadata.get("format") == UNET_FORMAT:
            return read_unet_weights(path)
        if "hypernetwork" in metadata or metadata.get("format") == HYPERNETWORK_FORMAT:
            return read_hypernetwork(path)
        return read_lora(path)
    state = load_plain(path)
    if isinstance(state, dict) and any(isinstance(key, int) for key in state):
        return read_hypernetwork(path)
    return read_lora(path)
