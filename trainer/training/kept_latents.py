"""Latents that a training draws before its first step: kept in a file, because drawing them takes long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from engine.errors import RequestError
from engine.files import replace_file

__all__ = ["kept_latents"]

SUBJECT = "subject"


def kept_latents(path: Path, subject: str, draw: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the tensors of the safetensors file `path` by name, in no order. Without a file they are drawn and kept.

    subject: a hash of everything on which the tensors depend.

    Raises RequestError if the file is of another training or unreadable.
    """
    if not path.exists():
        found = draw()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as part:
            save_file(found, part, {SUBJECT: subject})
        return found
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get(SUBJECT) != subject:
                raise ValueError("of other classes or settings")
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise RequestError(
            f"The drawn latents {path}",
            found=str(error),
            expected="the latents of this training",
            fix="use the options of the first run, or replace the training with --overwrite",
        ) from error
