"""What a hypernetwork is made of: widths, activation, initialisation, LayerNorm, dropout; AUTOMATIC1111's names and
rules."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from engine.errors import RequestError

__all__ = ["ACTIVATIONS", "WEIGHT_INITS", "HypernetworkSettings", "parse_dimensions", "parse_numbers"]


REFUSED = {
    **dict.fromkeys(("logsoftmax", "softmax", "softmax2d", "softmin"), "it mixes the pictures of a batch"),
    "glu": "it halves its input",
    "multiheadattention": "it is no function of one tensor",
    "threshold": "it needs numbers that no file holds",
}
"""Activations that the WebUI offers by name and that cannot serve, with the reason."""


def _activations() -> dict[str, type[nn.Module]]:
    """The WebUI's own names, then those of torch's activations, in lower case."""
    torch_names = nn.modules.activation.__all__
    others = {name.lower(): getattr(nn, name) for name in torch_names if name.lower() not in REFUSED}
    return {**others, "swish": nn.Hardswish}


ACTIVATIONS = dict(sorted(_activations().items()))
"""By the WebUI's name, beside "linear", which is none. There, swish is Hardswish."""
WEIGHT_INITS = ("normal", "xavieruniform", "xaviernormal", "kaiminguniform", "kaimingnormal")
LEGACY_DROPOUT = 0.3


@dataclass(frozen=True)
class HypernetworkSettings:
    """layer_structure: widths as multiples of the dimension. dropout_structure: a probability a node of it, or None.

    Raises RequestError for what breaks a rule: the structure begins and ends with 1; dropout has one entry a node in
    [0, 1), begins with 0, and ends with 0 unless `last_layer_dropout`.
    """

    layer_structure: tuple[float, ...] = (1, 2, 1)
    activation: str = "linear"
    weight_init: str = "normal"
    layer_norm: bool = False
    activate_output: bool = False
    dropout_structure: tuple[float, ...] | None = None
    last_layer_dropout: bool = False

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
                f"{self.activation} cannot serve: {REFUSED[self.activation]}"
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
                f"{len(shape)} probabilities in [0, 1), one a width, the first 0"
                + ("" if self.last_layer_dropout else ", the last 0"),
                "change it; the last may be above 0 with --last-layer-dropout",
            ),
        }
        for what, (kept, found, expected, fix) in rules.items():
            if not kept:
                shown = found if isinstance(found, str) else ",".join(f"{value:g}" for value in found or ())
                raise RequestError(f"The hypernetwork's {what}", found=shown, expected=expected, fix=fix)

    @property
    def is_linear(self) -> bool:
        """Whether the modules are affine maps once trained, so that they can be folded exactly."""
        return self.activation == "linear" and not self.layer_norm

    def dropout_after(self, layer: int) -> float:
        """The probability behind a linear layer, counted from 0."""
        return 0.0 if self.dropout_structure is None else self.dropout_structure[layer + 1]

    @classmethod
    def legacy_dropout(cls, layer_structure: tuple[float, ...], last_layer_dropout: bool) -> tuple[float, ...]:
        """The dropout structure of old files that say only `use_dropout`: 0.3 on inner layers but for the last of
        them, which has it with `last_layer_dropout`."""
        inner = (LEGACY_DROPOUT,) * (len(layer_structure) - 3)
        return (0.0, *inner, LEGACY_DROPOUT if last_layer_dropout else 0.0, 0.0)[: len(layer_structure)]


def parse_dimensions(text: str) -> list[int]:
    """Read "320,768". Raises RequestError for what is no list of different whole numbers above 0."""
    numbers = parse_numbers("--dimensions", text)
    if any(number < 1 or number != int(number) for number in numbers) or len(set(numbers)) < len(numbers):
        raise RequestError(
            "--dimensions", found=text, expected="different whole numbers above 0", fix="write them as in 320,768"
        )
    return [int(number) for number in numbers]


def parse_numbers(flag: str, text: str) -> tuple[float, ...]:
    """Read "1,2,1". Raises RequestError for what is no list of finite numbers."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(abs(number) < float("inf") for number in numbers):
        raise RequestError(flag, found=text, expected="numbers separated by commas", fix="write them as in 1,2,1")
    return numbers
