"""Structure of a hypernetwork: widths, activation, initialisation, LayerNorm and dropout, with the names and rules of
AUTOMATIC1111's WebUI. This module does not import torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

from engine.errors import RequestError
from engine.options import parse_numbers, parse_whole_numbers, setting

__all__ = ["ACTIVATIONS", "WEIGHT_INITS", "HypernetworkSettings", "parse_dimensions"]


REFUSED = {
    **dict.fromkeys(("logsoftmax", "softmax", "softmax2d", "softmin"), "it mixes the pictures of a batch"),
    "glu": "it halves its input",
    "multiheadattention": "it is not a function of one tensor",
    "threshold": "it needs numbers that the file does not hold",
}
"""Activations that the WebUI offers but this project refuses, with the reason."""

ACTIVATIONS = {
    "celu": "CELU",
    "elu": "ELU",
    "gelu": "GELU",
    "hardshrink": "Hardshrink",
    "hardsigmoid": "Hardsigmoid",
    "hardswish": "Hardswish",
    "hardtanh": "Hardtanh",
    "leakyrelu": "LeakyReLU",
    "logsigmoid": "LogSigmoid",
    "mish": "Mish",
    "prelu": "PReLU",
    "relu": "ReLU",
    "relu6": "ReLU6",
    "rrelu": "RReLU",
    "selu": "SELU",
    "sigmoid": "Sigmoid",
    "silu": "SiLU",
    "softplus": "Softplus",
    "softshrink": "Softshrink",
    "softsign": "Softsign",
    "swish": "Hardswish",
    "tanh": "Tanh",
    "tanhshrink": "Tanhshrink",
}
"""Classes of torch.nn by the WebUI's name, in which swish means Hardswish. "linear" means no activation and is not
listed."""
WEIGHT_INITS = ("normal", "xavieruniform", "xaviernormal", "kaiminguniform", "kaimingnormal")
LEGACY_DROPOUT = 0.3


def parse_dimensions(text: str) -> tuple[int, ...]:
    """Read "320,768". Raises RequestError unless the text is a list of different whole numbers above 0."""
    numbers = parse_whole_numbers("--dimensions", text)
    if len(set(numbers)) < len(numbers):
        raise RequestError("--dimensions", found=text, expected="different numbers", fix="write, for example, 320,768")
    return numbers


@dataclass(frozen=True)
class HypernetworkSettings:
    """Structure of the modules of a hypernetwork.

    Raises RequestError if a rule is broken. The layer structure must begin and end with 1. The dropout structure must
    have one probability below 1 for each width. Its first probability must be 0, and its last too unless
    `last_layer_dropout` is set.
    """

    PANEL: ClassVar[str] = "Network structure"

    layer_structure: tuple[float, ...] = setting(
        (1.0, 2.0, 1.0),
        help="Widths of the layers as multiples of the dimension.",
        parser=functools.partial(parse_numbers, "--layer-structure"),
        metavar="NUMBERS",
    )
    activation: str = setting(
        "linear",
        help="Activation between the layers: linear (none), or a name of the WebUI such as relu or swish.",
        parser=str.lower,
        metavar="NAME",
    )
    weight_init: str = setting(
        "normal", help="Initialisation of the weights", choices=WEIGHT_INITS, parser=str.lower, metavar="NAME"
    )
    layer_norm: bool = setting(False, help="Add LayerNorm after each layer.")
    activate_output: bool = setting(False, help="Add the activation after the last layer, too.")
    dropout_structure: tuple[float, ...] | None = setting(
        None,
        help="Dropout probability for each width, such as 0,0.05,0. Default: no dropout.",
        parser=functools.partial(parse_numbers, "--dropout-structure"),
        metavar="NUMBERS",
    )
    last_layer_dropout: bool = setting(False, help="Allow a last dropout probability above 0.")

    def __post_init__(self) -> None:
        shape, drops = self.layer_structure, self.dropout_structure
        rules = {
            "layer structure": (
                len(shape) >= 2 and shape[0] == shape[-1] == 1 and all(0 < share <= 64 for share in shape),
                shape,
                "at least two widths above 0, the first and the last 1",
                "use 1,2,1",
            ),
            "activation": (
                self.activation == "linear" or self.activation in ACTIVATIONS,
                self.activation,
                f"one of {', '.join(['linear', *ACTIVATIONS])}",
                f"choose another activation: {self.activation} cannot be used because {REFUSED[self.activation]}"
                if self.activation in REFUSED
                else "choose one of these",
            ),
            "weight initialisation": (
                self.weight_init in WEIGHT_INITS,
                self.weight_init,
                f"one of {', '.join(WEIGHT_INITS)}",
                "choose one of these",
            ),
            "dropout structure": (
                drops is None
                or (
                    len(drops) == len(shape)
                    and drops[0] == 0
                    and all(0 <= probability < 1 for probability in drops)
                    and (drops[-1] == 0 or self.last_layer_dropout)
                ),
                drops,
                f"{len(shape)} probabilities from 0 to below 1, one per width, the first 0"
                + ("" if self.last_layer_dropout else ", the last 0"),
                "change the probabilities; --last-layer-dropout allows a last one above 0",
            ),
        }
        for what, (kept, found, expected, fix) in rules.items():
            if not kept:
                shown = found if isinstance(found, str) else ",".join(f"{value:g}" for value in found or ())
                raise RequestError(f"The hypernetwork's {what}", found=shown, expected=expected, fix=fix)

    @property
    def is_linear(self) -> bool:
        """Whether the trained modules are affine maps, which a merge folds into the weights exactly."""
        return self.activation == "linear" and not self.layer_norm

    def dropout_after(self, layer: int) -> float:
        """Return the dropout probability after a linear layer, counted from 0."""
        return 0.0 if self.dropout_structure is None else self.dropout_structure[layer + 1]

    @classmethod
    def legacy_dropout(cls, layer_structure: tuple[float, ...], last_layer_dropout: bool) -> tuple[float, ...]:
        """Return the dropout structure of old files that only say `use_dropout`.

        The inner layers have 0.3, except the last of them, which has 0.3 only with `last_layer_dropout`.
        """
        inner = (LEGACY_DROPOUT,) * (len(layer_structure) - 3)
        return (0.0, *inner, LEGACY_DROPOUT if last_layer_dropout else 0.0, 0.0)[: len(layer_structure)]
