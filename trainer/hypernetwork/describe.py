"""Descriptions of files of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import RequestError
from engine.terminal import printable
from trainer.hypernetwork.embeddings import FORMAT as EMBEDDING_FORMAT
from trainer.hypernetwork.embeddings import TENSOR, Embedding, read_embedding
from trainer.hypernetwork.files import HypernetworkFile, load_plain, read_hypernetwork, read_optimizer

__all__ = ["describe"]


def describe(path: Path) -> list[str]:
    """Return lines that describe a hypernetwork, an embedding, or the tensors of another file. Raises RequestError."""
    kind, names = _kind(path)
    if kind == "hypernetwork":
        file = read_hypernetwork(path)
        lines = _hypernetwork(file)
        if path.suffix.lower() == ".pt" and read_optimizer(path, file.hypernetwork) is not None:
            lines.append("optimizer: AdamW, for these weights")
    elif kind == "embedding":
        lines = _embedding(read_embedding(path))
    else:
        lines = [f"{len(names)} tensors", *(f"  {name} {shape}" for name, shape in names.items())]
    return [printable(line) for line in [f"{path}: {kind}", *lines]]


def _kind(path: Path) -> tuple[str, dict[str, Any]]:
    if path.suffix.lower() != ".safetensors":
        state = load_plain(path)
        if isinstance(state, dict) and any(isinstance(key, int) for key in state):
            return "hypernetwork", {}
        if isinstance(state, dict) and "string_to_param" in state:
            return "embedding", {}
        return "a torch file", dict(_tensors(state))
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            names = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise RequestError(
            f"The file {path}",
            found=f"unreadable ({error})",
            expected="a safetensors or torch file",
            fix="check the path",
        ) from error
    if "hypernetwork" in metadata:
        return "hypernetwork", {}
    if metadata.get("format") == EMBEDDING_FORMAT or list(names) == [TENSOR]:
        return "embedding", {}
    return "safetensors", names


def _tensors(value: Any, name: str = "") -> list[tuple[str, tuple[int, ...]]]:
    if isinstance(value, torch.Tensor):
        return [(name, tuple(value.shape))]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [found for key, inner in items for found in _tensors(inner, f"{name}.{key}" if name else str(key))]


def _hypernetwork(file: HypernetworkFile) -> list[str]:
    settings = asdict(file.hypernetwork.settings)
    count = sum(parameter.numel() for parameter in file.hypernetwork.parameters())
    linear = "linear: can be folded" if file.hypernetwork.settings.is_linear else "not linear: stays in the graph"
    lines = [
        f"name: {file.name}, step {file.step}",
        f"dimensions: {', '.join(map(str, file.hypernetwork.dimensions))}",
        f"parameters: {count:,}, {linear}",
        *(f"{name}: {value}" for name, value in settings.items()),
        *(f"{name}: {value}" for name, value in file.extra.items()),
    ]
    if file.record is not None:
        lines += [f"{name}: {value}" for name, value in asdict(file.record).items()]
    if file.base_sha256 is not None:
        lines.append(f"UNet of the base: SHA-256 {file.base_sha256}")
    return lines


def _embedding(embedding: Embedding) -> list[str]:
    count, width = embedding.vectors.shape
    return [
        f"name: {embedding.name}, step {embedding.step}",
        f"vectors: {count} with {width} values each",
        f"in prompts: {embedding.prompt}",
    ]
