"""Hypernetworks as AUTOMATIC1111 has them: residual networks in front of the K and V projections of attention.

One (K, V) pair of modules a dimension, shared by every attention layer whose context has that dimension:
cross-attention has the prompt's, self-attention the block's own. Only linear modules so far, which merge exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from engine.errors import RequestError
from engine.names import CLASS_NAME_RULE, is_class_name

__all__ = [
    "ORIGINS",
    "ClassRecord",
    "Hypernetwork",
    "attached",
    "attention_layers",
    "load_hypernetwork",
    "parse_structure",
    "save_hypernetwork",
]

FORMAT = "cytosynth hypernetwork 1"
ORIGINS = ("photographs", "phantom")
"""Where a class's pictures may come from."""


@dataclass(frozen=True)
class ClassRecord:
    """What a class is, and where its pictures came from; it travels with the weights into the bundle."""

    class_name: str
    prompt: str
    origin: str
    """One of ORIGINS."""
    pictures: int
    licence: str
    attribution: str

    def __post_init__(self) -> None:
        rules = {
            "class_name": (is_class_name(self.class_name), CLASS_NAME_RULE),
            "origin": (self.origin in ORIGINS, f"one of {', '.join(ORIGINS)}"),
            "pictures": (self.pictures >= 1, "at least 1"),
            **{name: (bool(getattr(self, name).strip()), "some text") for name in ("licence", "attribution")},
        }
        for name, (kept, expected) in rules.items():
            if not kept:
                raise RequestError(
                    f"The class record's {name}", found=repr(getattr(self, name)), expected=expected, mend="change it"
                )


class ResidualStack(nn.Module):
    """y = x + W_n(... W_1 x + b_1 ...) + b_n, widths `layer_structure` times the dimension."""

    def __init__(self, dimension: int, layer_structure: tuple[float, ...]) -> None:
        super().__init__()
        self.dimension = dimension
        widths = [round(dimension * share) for share in layer_structure]
        self.layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        self.linear = nn.ModuleList(self.layers)
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., dimension) -> (..., dimension)."""
        y = x
        for layer in self.layers:
            y = layer(y)
        return x + y

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The map as x -> A x + b in float64: A (dimension, dimension), b (dimension,)."""
        identity = torch.eye(self.dimension, dtype=torch.float64)
        weight, bias = identity, torch.zeros(self.dimension, dtype=torch.float64)
        for layer in self.layers:
            weight, bias = layer.weight.double() @ weight, layer.weight.double() @ bias + layer.bias.double()
        return identity + weight, bias


class Hypernetwork(nn.Module):
    """The (K, V) pairs by dimension."""

    def __init__(self, dimensions: list[int], layer_structure: tuple[float, ...] = (1, 2, 1)) -> None:
        super().__init__()
        self.dimensions, self.layer_structure = dimensions, layer_structure
        self._stacks = {
            (dimension, side): ResidualStack(dimension, layer_structure)
            for dimension in dimensions
            for side in ("k", "v")
        }
        self.stacks = nn.ModuleDict({f"{dimension}_{side}": stack for (dimension, side), stack in self._stacks.items()})

    def stack(self, dimension: int, side: str) -> ResidualStack | None:
        """The module in front of to_k ("k") or to_v ("v") of layers with this context dimension, if there is one."""
        return self._stacks.get((dimension, side))


def parse_structure(text: str) -> tuple[float, ...]:
    """Read a layer structure such as "1,2,1". Raises RequestError unless it begins and ends with 1."""
    try:
        structure = tuple(float(share) for share in text.split(","))
    except ValueError:
        structure = ()
    if len(structure) < 2 or structure[0] != 1 or structure[-1] != 1 or not all(0 < share <= 64 for share in structure):
        raise RequestError(
            "--layer-structure",
            found=text,
            expected="at least two widths above 0, separated by commas, the first and the last 1",
            mend="use 1,2,1",
        )
    return structure


def attention_layers(unet: UNet2DConditionModel) -> Iterator[tuple[str, Attention]]:
    """Every attention layer of the UNet, with its name."""
    return ((name, module) for name, module in unet.named_modules() if isinstance(module, Attention))


@contextmanager
def attached(unet: UNet2DConditionModel, hypernetwork: Hypernetwork) -> Iterator[None]:
    """While this is open, every K and V projection sees its context through the hypernetwork."""
    hooks = []
    for _, layer in attention_layers(unet):
        for side, projection in (("k", layer.to_k), ("v", layer.to_v)):
            stack = hypernetwork.stack(projection.in_features, side)
            if stack is not None:
                hooks.append(projection.register_forward_pre_hook(lambda _, inputs, stack=stack: (stack(inputs[0]),)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def save_hypernetwork(path: Path, hypernetwork: Hypernetwork, record: ClassRecord, base_sha256: str) -> None:
    """Write the weights, the structure, the class's record and the hash of the base's UNet as safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"dimensions": hypernetwork.dimensions, "layer_structure": hypernetwork.layer_structure}
    metadata = {
        "format": FORMAT,
        "hypernetwork": json.dumps(header),
        "record": json.dumps(asdict(record)),
        "base_sha256": base_sha256,
    }
    save_file({name: tensor.contiguous() for name, tensor in hypernetwork.state_dict().items()}, path, metadata)


def load_hypernetwork(path: Path) -> tuple[Hypernetwork, ClassRecord, str]:
    """Read what save_hypernetwork wrote: with the class's record and the hash of the base's UNet.

    Raises RequestError for anything else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"its format is {metadata.get('format')}")
            header = json.loads(metadata["hypernetwork"])
            hypernetwork = Hypernetwork(list(header["dimensions"]), tuple(header["layer_structure"]))
            names = file.keys()
            hypernetwork.load_state_dict({name: file.get_tensor(name) for name in names})
            return hypernetwork, ClassRecord(**json.loads(metadata["record"])), metadata["base_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RequestError(
            f"The hypernetwork {path}",
            found=f"unreadable ({error})",
            expected="a file that `python -m trainer fit` wrote",
            mend="check the path",
        ) from error
