"""Files of trained weights: safetensors with the class record and the hash of the base in their metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from engine.files import replace_file
from trainer.training.record import ClassRecord

__all__ = ["write_weights"]


def write_weights(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    record: ClassRecord | None,
    base_sha256: str | None = None,
) -> None:
    """Write tensors and metadata as safetensors, and add the record and the SHA-256 of the base's UNet if known."""
    stated = dict(metadata)
    if record is not None:
        stated["record"] = json.dumps(asdict(record))
    if base_sha256 is not None:
        stated["base_sha256"] = base_sha256
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part, stated)
