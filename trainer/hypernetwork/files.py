"""Hypernetwork files: safetensors with the class's record, and AUTOMATIC1111's `.pt` and `.pt.optim`.

A `.pt` is a pickle. Only tensors and plain values are read from it. Anything else is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import RequestError, first_line
from engine.files import replace_file, sha256_of
from trainer.base.base import Base
from trainer.base.torch_files import load_plain
from trainer.hypernetwork.network import SIDES, Hypernetwork, attached, expect_dimensions
from trainer.hypernetwork.structure import HypernetworkSettings
from trainer.training.record import ClassRecord
from trainer.training.weights_file import write_weights

__all__ = [
    "HypernetworkFile",
    "read_hypernetwork",
    "read_optimizer",
    "write_hypernetwork",
    "write_webui",
]

FORMAT = "cytosynth hypernetwork 1"
WEBUI_SUFFIX, OPTIMIZER_SUFFIX = ".pt", ".optim"
INITS = {name.lower(): name for name in ("Normal", "XavierUniform", "XavierNormal", "KaimingUniform", "KaimingNormal")}
"""The WebUI's spelling of the initialisations."""


@dataclass(frozen=True)
class HypernetworkFile:
    """A hypernetwork and the facts in its file. The WebUI's files have no record and no hash of the base's UNet."""

    hypernetwork: Hypernetwork
    name: str
    step: int = 0
    record: ClassRecord | None = None
    base_sha256: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """The WebUI's sd_checkpoint, sd_checkpoint_name and optional_info."""

    @property
    def kind(self) -> str:
        """The word of a prompt's tag, such as <hypernet:name:1>."""
        return "hypernet"

    def expect_fitting(self, base: Base) -> None:
        """Raise RequestError if the hypernetwork has a dimension that the base lacks."""
        expect_dimensions(base.unet, [self.hypernetwork])

    def attached(self, base: Base, multiplier: float = 1.0) -> AbstractContextManager[None]:
        """Return a context in which the UNet of the base uses the hypernetwork."""
        return attached(base.unet, [(self.hypernetwork.eval(), multiplier)])


def read_hypernetwork(path: Path) -> HypernetworkFile:
    """Return the hypernetwork of a `.safetensors` file of this project or of the WebUI's `.pt`. Raises RequestError.

    Old names of keys in a `.pt` are understood.
    """
    try:
        return _from_webui(path) if path.suffix.lower() == WEBUI_SUFFIX else _from_safetensors(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise RequestError(
            f"The hypernetwork {path}",
            found=f"unreadable ({first_line(error)})",
            expected="a file that `python -m trainer fit` wrote, or the WebUI's .pt",
            fix="check the path; `python -m trainer inspect` shows what a file contains",
        ) from error


def write_hypernetwork(path: Path, file: HypernetworkFile) -> None:
    """Write a hypernetwork as safetensors: weights, structure, class record and hash of the base's UNet."""
    header = {"dimensions": file.hypernetwork.dimensions, **asdict(file.hypernetwork.settings)}
    metadata = {
        "format": FORMAT,
        "hypernetwork": json.dumps(header),
        "name": file.name,
        "step": str(file.step),
        "extra": json.dumps(file.extra),
    }
    write_weights(path, file.hypernetwork.state_dict(), metadata, file.record, file.base_sha256)


def _from_safetensors(path: Path) -> HypernetworkFile:
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"the format {metadata.get('format')}")
        header = json.loads(metadata["hypernetwork"])
        settings = _settings({key: value for key, value in header.items() if key != "dimensions"})
        hypernetwork = Hypernetwork(header["dimensions"], settings)
        hypernetwork.load_state_dict({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
    return HypernetworkFile(
        hypernetwork.eval(),
        metadata.get("name", path.stem),
        int(metadata.get("step", 0)),
        ClassRecord(**json.loads(metadata["record"])) if "record" in metadata else None,
        metadata.get("base_sha256"),
        json.loads(metadata.get("extra", "{}")),
    )


def _settings(values: Mapping[str, Any]) -> HypernetworkSettings:
    """Return settings from plain values, with lists as tuples. An unknown name raises TypeError."""
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return HypernetworkSettings(**plain)


def _from_webui(path: Path) -> HypernetworkFile:
    state = load_plain(path)
    if not isinstance(state, dict):
        raise TypeError("no dictionary in the file")
    pairs = {key: value for key, value in state.items() if isinstance(key, int)}
    if not pairs:
        raise ValueError("no dimension with a pair of modules in the file")
    structure = tuple(float(share) for share in state.get("layer_structure") or (1, 2, 1))
    last = bool(state.get("last_layer_dropout", False))
    drops = state.get("dropout_structure")
    if drops is None and state.get("use_dropout", False):
        drops = HypernetworkSettings.legacy_dropout(structure, last)
    activation = state.get("activation_func") or "linear"
    settings = HypernetworkSettings(
        layer_structure=structure,
        activation=str(activation).lower(),
        weight_init=str(state.get("weight_initialization") or "normal").lower(),
        layer_norm=bool(state.get("is_layer_norm", False)),
        activate_output=bool(state.get("activate_output", True)),
        dropout_structure=None if not drops else tuple(float(probability) for probability in drops),
        last_layer_dropout=last,
    )
    hypernetwork = Hypernetwork(list(pairs), settings)
    for dimension, pair in pairs.items():
        for side, weights in zip(SIDES, pair, strict=True):
            stack = hypernetwork.stack(dimension, side)
            assert stack is not None
            stack.load_state_dict({_new_name(name): tensor.float() for name, tensor in weights.items()})
    kept = ("sd_checkpoint", "sd_checkpoint_name", "optional_info")
    return HypernetworkFile(
        hypernetwork.eval(),
        str(state.get("name") or path.stem),
        int(state.get("step") or 0),
        extra={key: str(state[key]) for key in kept if state.get(key) is not None},
    )


def _new_name(name: str) -> str:
    """Return the current name of a weight. Old files call the slots 0 and 1 of the Sequential linear1 and linear2."""
    for old, new in (("linear1.", "linear.0."), ("linear2.", "linear.1.")):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def write_webui(path: Path, file: HypernetworkFile, optimizer: Mapping[str, Any] | None = None) -> None:
    """Write the WebUI's `.pt`. With `optimizer`, the state of AdamW for these parameters, also write `.pt.optim`."""
    settings = file.hypernetwork.settings
    state: dict[Any, Any] = {
        dimension: tuple(dict(file.hypernetwork.stack(dimension, side).state_dict()) for side in SIDES)  # type: ignore[union-attr]
        for dimension in file.hypernetwork.dimensions
    }
    state |= {
        "step": file.step,
        "name": file.name,
        "layer_structure": list(settings.layer_structure),
        "activation_func": settings.activation,
        "is_layer_norm": settings.layer_norm,
        "weight_initialization": INITS[settings.weight_init],
        "use_dropout": settings.dropout_structure is not None,
        "activate_output": settings.activate_output,
        "last_layer_dropout": settings.last_layer_dropout,
        "dropout_structure": None if settings.dropout_structure is None else list(settings.dropout_structure),
        "sd_checkpoint": file.extra.get("sd_checkpoint"),
        "sd_checkpoint_name": file.extra.get("sd_checkpoint_name"),
        "optional_info": file.extra.get("optional_info"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as part:
        torch.save(state, part)
    if optimizer is not None:
        beside = {"optimizer_name": "AdamW", "hash": short_hash(path), "optimizer_state_dict": dict(optimizer)}
        with replace_file(optimizer_path(path)) as part:
            torch.save(beside, part)


def optimizer_path(path: Path) -> Path:
    """Return the file in which the WebUI keeps the optimizer of a `.pt`."""
    return path.with_name(path.name + OPTIMIZER_SUFFIX)


def short_hash(path: Path) -> str:
    """Return the first ten hexadecimal digits of the SHA-256 of a file. The WebUI names files so."""
    return sha256_of(path)[:10]


MOMENTS = ("exp_avg", "exp_avg_sq")


def read_optimizer(path: Path, hypernetwork: Hypernetwork) -> dict[int, dict[str, torch.Tensor]] | None:
    """Return AdamW's state of each parameter from the file beside a `.pt`.

    Returns None if the file is missing or belongs to other weights. Raises RequestError if the state does not fit the
    parameters, because torch would read beyond its tensors.
    """
    beside = optimizer_path(path)
    if not beside.is_file():
        return None
    state = load_plain(beside)
    if not isinstance(state, dict) or state.get("hash") != short_hash(path) or state.get("optimizer_name") != "AdamW":
        return None
    parameters = list(hypernetwork.parameters())
    try:
        inner = state["optimizer_state_dict"]["state"]
        if set(inner) != set(range(len(parameters))):
            raise ValueError(f"the state of {len(inner)} parameters, not {len(parameters)}")
        found: dict[int, dict[str, torch.Tensor]] = {}
        for i, parameter in enumerate(parameters):
            found[i] = {"step": torch.tensor(float(inner[i]["step"]))}
            for name in MOMENTS:
                if inner[i][name].shape != parameter.shape:
                    raise ValueError(f"{name} {i} of {tuple(inner[i][name].shape)}, not {tuple(parameter.shape)}")
                found[i][name] = inner[i][name].to(parameter).contiguous()
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RequestError(
            f"The optimizer {beside}",
            found=first_line(error),
            expected=f"AdamW's state for the parameters of {path.name}",
            fix="remove the file; the weights can be used without it",
        ) from error
    return found
