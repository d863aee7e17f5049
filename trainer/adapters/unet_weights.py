"""The file of a whole trained UNet, which `fit --method full` writes and `merge` puts in place of the base's UNet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import RequestError, first_line
from trainer.base.base import Base
from trainer.training.record import ClassRecord
from trainer.training.weights_file import write_weights

__all__ = ["FORMAT", "UnetWeights", "read_unet_weights", "write_unet_weights"]

FORMAT = "cytosynth unet 1"


@dataclass(frozen=True)
class UnetWeights:
    """The tensors of a trained UNet by their names in diffusers, and the facts in its file."""

    tensors: Mapping[str, torch.Tensor]
    name: str
    step: int = 0
    record: ClassRecord | None = None
    base_sha256: str | None = None

    @property
    def kind(self) -> str:
        """The word for the adapter in records."""
        return "unet"

    def expect_fitting(self, base: Base) -> None:
        """Raise RequestError unless the tensors have the names and shapes of the base's UNet."""
        own = {name: tuple(tensor.shape) for name, tensor in base.unet.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        if own != found:
            wrong = next(name for name in sorted({*own, *found}) if own.get(name) != found.get(name))
            raise RequestError(
                f"The UNet {self.name}, tensor {wrong}",
                found=str(found.get(wrong, "missing")),
                expected=str(own.get(wrong, "no such tensor")),
                fix="use the base that the UNet was trained on",
            )

    @contextmanager
    def attached(self, base: Base, multiplier: float = 1.0) -> Iterator[None]:
        """While the context is open, the base has the trained UNet's weights."""
        kept = {name: tensor.clone() for name, tensor in base.unet.state_dict().items()}
        self.fold(base, multiplier)
        try:
            yield
        finally:
            base.unet.load_state_dict(kept)

    @torch.no_grad()
    def fold(self, base: Base, multiplier: float = 1.0) -> str:
        """Move the UNet's weights towards the trained ones: W + multiplier (W' - W). Return a sentence about it."""
        self.expect_fitting(base)
        for name, tensor in base.unet.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.lerp(tensor.double(), self.tensors[name].double(), multiplier))
        return f"{self.name}: the whole UNet, {len(self.tensors)} tensors"


def read_unet_weights(path: Path) -> UnetWeights:
    """Return the trained UNet of a file. Raises RequestError."""
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise ValueError(f"the format {metadata.get('format')}")
        if bad := next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None):
            raise ValueError(f"values that are not finite in {bad}")
        record = ClassRecord(**json.loads(metadata["record"])) if "record" in metadata else None
        step = int(metadata.get("step", 0))
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise RequestError(
            f"The UNet {path}",
            found=f"unreadable ({first_line(error)})",
            expected="a file that `python -m trainer fit --method full` wrote",
            fix="copy the file again, or train again",
        ) from error
    return UnetWeights(tensors, metadata.get("name", path.stem), step, record, metadata.get("base_sha256"))


def write_unet_weights(path: Path, file: UnetWeights) -> None:
    """Write the tensors in float32 with the class record and the hash of the base's UNet."""
    metadata = {"format": FORMAT, "name": file.name, "step": str(file.step)}
    write_weights(path, file.tensors, metadata, file.record, file.base_sha256)
