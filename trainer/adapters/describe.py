"""Descriptions of files of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from engine.terminal import printable
from trainer.adapters.kinds import EMBEDDING, HYPERNETWORK, LORA, UNET, kind_of
from trainer.adapters.unet_weights import UnetWeights, read_unet_weights
from trainer.hypernetwork.embeddings import Embedding, read_embedding
from trainer.hypernetwork.files import HypernetworkFile, read_hypernetwork, read_optimizer
from trainer.lora.files import LoraFile, read_lora
from trainer.lora.names import PARTS
from trainer.training.record import ClassRecord

__all__ = ["describe"]


def describe(path: Path) -> list[str]:
    """Return lines that describe an adapter, an embedding, or the tensors of another file. Raises RequestError.

    A file with keys of a LoRA that `merge` refuses is described with the reason.
    """
    kind, names = kind_of(path)
    if kind == HYPERNETWORK:
        file = read_hypernetwork(path)
        lines = _hypernetwork(file)
        if path.suffix.lower() == ".pt" and read_optimizer(path, file.hypernetwork) is not None:
            lines.append("optimizer: AdamW, for these weights")
    elif kind == EMBEDDING:
        lines = _embedding(read_embedding(path))
    elif kind == UNET:
        lines = _unet(read_unet_weights(path))
    elif kind == LORA:
        lines = _lora(read_lora(path))
    else:
        lines = [f"{len(names)} tensors", *(f"  {name} {shape}" for name, shape in names.items())]
    return [printable(line) for line in [f"{path}: {kind}", *lines]]


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
    return lines + _origin(file.record, file.base_sha256)


def _origin(record: ClassRecord | None, base_sha256: str | None) -> list[str]:
    """Return the lines about the class and the base of an adapter, as far as its file states them."""
    lines = [] if record is None else [f"{name}: {value}" for name, value in asdict(record).items()]
    return lines if base_sha256 is None else [*lines, f"UNet of the base: SHA-256 {base_sha256}"]


def _lora(file: LoraFile) -> list[str]:
    changes = file.changes
    ranks = sorted({change.rank for change in changes.values() if change.rank is not None})
    scales = sorted({change.scale for change in changes.values()})
    counts = {shown: sum(place.part == part for place in changes) for part, shown in PARTS.items()}
    lines = [
        f"name: {file.name}, step {file.step}",
        f"kind: {', '.join(file.kinds)}",
        f"modules: {', '.join(f'{count} of the {part}' for part, count in counts.items() if count)}",
        f"rank: {_span(ranks)}; factor alpha / rank: {_span(scales)}",
    ]
    # What kohya's scripts state about a training; the rest of their metadata has hundreds of lines.
    known = ("ss_network_module", "ss_base_model_version", "ss_sd_model_name", "ss_output_name", "modelspec.license")
    lines += [f"{name}: {file.metadata[name]}" for name in known if name in file.metadata]
    return lines + _origin(file.record, file.base_sha256)


def _span(values: Sequence[float]) -> str:
    shown = [f"{value:g}" for value in values]
    return shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}" if shown else "none"


def _unet(file: UnetWeights) -> list[str]:
    count = sum(tensor.numel() for tensor in file.tensors.values())
    lines = [f"name: {file.name}, step {file.step}", f"parameters: {count:,}"]
    return lines + _origin(file.record, file.base_sha256)


def _embedding(embedding: Embedding) -> list[str]:
    count, width = embedding.vectors.shape
    return [
        f"name: {embedding.name}, step {embedding.step}",
        f"vectors: {count} with {width} values each",
        f"in prompts: {embedding.prompt}",
    ]
