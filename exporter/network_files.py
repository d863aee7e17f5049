"""Files of the small networks that stand in or behind a decoder. The trainer writes them (see the glossary)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from engine.errors import RequestError

__all__ = ["read_network"]

Network = TypeVar("Network", bound=nn.Module)


def read_network(
    path: Path,
    format_: str,
    build: Callable[[dict[str, Any], dict[str, torch.Tensor]], Network],
    *,
    subject: str,
    fix: str,
) -> Network:
    """Return the frozen network in a file.

    Args:
        build: Returns the network of these settings with these tensors. It raises ValueError, KeyError, TypeError or
            RuntimeError if they do not fit, with the reason.
        subject: The network in words, for the error.
        fix: What repairs the file, for the error.

    Raises RequestError if the file is unreadable or of another format, if its tensors do not fit its settings, or if a
    value is not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != format_:
                raise ValueError(f"its format is {metadata.get('format')}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        network = build(json.loads(metadata["settings"]), tensors)
        if wrong := sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all()):
            raise ValueError(f"{wrong[0]} has values that are not finite")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RequestError(
            f"{subject} {path}",
            found=f"unreadable ({error})",
            expected=f"a safetensors file of the format {format_!r} with the tensors of its settings",
            fix=fix,
        ) from error
    return network.eval().requires_grad_(False)
