"""Files of the small networks that stand in or behind a decoder: safetensors with format and settings as metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from engine.errors import RequestError

__all__ = ["expect_sizes", "read_network", "write_network"]

Network = TypeVar("Network", bound=nn.Module)


def write_network(network: nn.Module, settings: Mapping[str, Any], format_: str, path: Path) -> None:
    """Write the tensors of a network in float32, with its settings and the name of the format."""
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, {"format": format_, "settings": json.dumps(settings)})


def read_network(
    path: Path,
    format_: str,
    build: Callable[[dict[str, Any], dict[str, torch.Tensor]], Network],
    *,
    subject: str,
    writer: str,
) -> Network:
    """Return the frozen network in a file.

    Args:
        build: Returns the network of these settings with these tensors. It raises ValueError, KeyError, TypeError or
            RuntimeError if they do not fit, with the reason.
        subject: The network in words, for the error.
        writer: The function that writes such a file, for the error.

    Raises RequestError if the file is unreadable or of another format, if its tensors do not fit its settings, or if a
    value is not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if metadata.get("format") != format_:
            raise ValueError(f"its format is {metadata.get('format')}")
        network = build(json.loads(metadata["settings"]), tensors)
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("values that are not finite")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RequestError(
            f"{subject} {path}",
            found=f"unreadable ({error})",
            expected=f"a safetensors file of the format {format_!r} with the tensors of its settings",
            fix=f"write the file again with {writer}",
        ) from error
    return network.eval().requires_grad_(False)


def expect_sizes(latent_channels: int, factor: int, vae: AutoencoderKL, path: Path, *, subject: str) -> None:
    """Raise RequestError unless a network of these sizes fits a VAE. path, subject: as in `read_network`."""
    found = (latent_channels, factor)
    expected = (vae.config.latent_channels, 2 ** (len(vae.config.block_out_channels) - 1))
    if found != expected:
        words = "{} latent channels, {} pixels per latent pixel"
        name = subject.removeprefix("The ")
        raise RequestError(
            f"{subject} {path}",
            found=words.format(*found),
            expected=words.format(*expected) + ", as the VAE beside it has",
            fix=f"use the {name} that was trained with this VAE",
        )
