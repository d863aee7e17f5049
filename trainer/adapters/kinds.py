"""What a file of weights is, by its metadata and the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import RequestError
from trainer.adapters.unet_weights import FORMAT as UNET_FORMAT
from trainer.base.torch_files import load_plain
from trainer.hypernetwork.embeddings import FORMAT as EMBEDDING_FORMAT
from trainer.hypernetwork.embeddings import TENSOR
from trainer.hypernetwork.files import FORMAT as HYPERNETWORK_FORMAT
from trainer.lora.others import LORA as KEYS
from trainer.lora.others import family_of, other_kind

__all__ = ["EMBEDDING", "HYPERNETWORK", "LORA", "UNET", "kind_of"]

HYPERNETWORK, EMBEDDING, UNET, LORA = "hypernetwork", "embedding", "trained UNet", "LoRA"
"""The kinds of files that this project reads."""


def kind_of(path: Path) -> tuple[str, dict[str, Any]]:
    """Return what a file is, and the shapes of its tensors by name, as far as the names say what it is.

    Raises RequestError for a file that cannot be read.
    """
    if path.suffix.lower() != ".safetensors":
        state = load_plain(path)
        if isinstance(state, dict) and any(isinstance(key, int) for key in state):
            return HYPERNETWORK, {}
        if isinstance(state, dict) and "string_to_param" in state:
            return EMBEDDING, {}
        found = dict(_tensors(state))
        return _kind_by_keys(found, {}) or "a torch file", found
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            names = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise RequestError(
            f"The file {path}",
            found=f"unreadable ({error})",
            expected="a safetensors or torch file",
            fix="check the path, or copy the file again",
        ) from error
    if "hypernetwork" in metadata or metadata.get("format") == HYPERNETWORK_FORMAT:
        return HYPERNETWORK, {}
    if metadata.get("format") == EMBEDDING_FORMAT or list(names) == [TENSOR]:
        return EMBEDDING, {}
    if metadata.get("format") == UNET_FORMAT:
        return UNET, {}
    return _kind_by_keys(names, metadata) or "safetensors", names


def _kind_by_keys(names: Mapping[str, Any], metadata: Mapping[str, str]) -> str | None:
    """Return what the names of tensors say that a file is, or None if they say nothing."""
    if other := other_kind(names):
        return other[0] if not other[0].startswith("no") else None
    if not any(KEYS.search(name) for name in names):
        return None
    family = family_of(names, metadata)
    return f"LoRA for {family}, which cannot be merged here" if family else LORA


def _tensors(value: Any, name: str = "") -> list[tuple[str, tuple[int, ...]]]:
    if isinstance(value, torch.Tensor):
        return [(name, tuple(value.shape))]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [found for key, inner in items for found in _tensors(inner, f"{name}.{key}" if name else str(key))]
