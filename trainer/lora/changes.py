"""The change of one weight: LoRA (Hu et al. 2021), LoHa (Hyeon-Woo et al. 2022) and LoKr (Yeh et al. 2024).

Names of tensors are those of kohya's scripts and LyCORIS. W is a weight (out, in) of a linear layer or
(out, in, kh, kw) of a convolution. All products are in float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

__all__ = ["KINDS", "Change"]

KINDS = {"lora": "LoRA", "hada": "LoHa", "lokr": "LoKr"}
"""Kinds of changes by the beginning of the names of their tensors."""


@dataclass(frozen=True)
class Change:
    """The tensors of one module in a file, by their names without `.weight`.

    The constructor checks that the tensors fit each other. Raises ValueError that says what is wrong.
    """

    tensors: Mapping[str, torch.Tensor]
    alpha: float | None = None
    """None means the rank, so that the factor is 1."""
    root_of_rank: bool = False
    """Whether the factor is alpha / sqrt(rank), as in rank-stabilised LoRA (Kalajdzievski 2023)."""

    def __post_init__(self) -> None:
        names = set(self.tensors) - {"dora_scale", "magnitude"}
        if names not in _WHOLE:
            raise ValueError(f"the tensors {', '.join(sorted(self.tensors)) or 'of no kind'}: a part is missing")
        for name, tensor in self.tensors.items():
            if not tensor.is_floating_point():
                raise ValueError(f"{name} holds {str(tensor.dtype).removeprefix('torch.')}")
            if name not in ("dora_scale", "magnitude") and (tensor.ndim not in (2, 4) or 0 in tensor.shape):
                raise ValueError(f"{name} has the shape {tuple(tensor.shape)}")
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"alpha is {self.alpha:g}")
        for left, right in _SHARED_RANKS:
            sizes = [self.tensors[name].shape[axis] for name, axis in (left, right) if name in self.tensors]
            if len(sizes) == 2 and sizes[0] != sizes[1] and not self._tucker(left[0]):
                raise ValueError(f"{left[0]} has the rank {sizes[0]} and {right[0]} the rank {sizes[1]}")

    def _tucker(self, name: str) -> bool:
        """Return whether a product of two factors has a core tensor, which has its own shapes."""
        core = {"lora_down": "lora_mid", "hada_w1_a": "hada_t1", "hada_w2_a": "hada_t2", "lokr_w2_a": "lokr_t2"}
        return core.get(name) in self.tensors

    @property
    def kind(self) -> str:
        """LoRA, LoHa or LoKr, with DoRA if the columns or rows of the changed weight get new lengths."""
        kind = next(shown for beginning, shown in KINDS.items() if any(n.startswith(beginning) for n in self.tensors))
        return f"{kind} with DoRA" if self._magnitude() is not None else kind

    @property
    def rank(self) -> int | None:
        """The rank of the factors. None for a LoKr of two whole factors, whose factor is 1 whatever alpha says."""
        for name, axis in (("lora_down", 0), ("hada_w1_b", 0), ("lokr_w2_b", 0), ("lokr_w1_b", 0)):
            if name in self.tensors:
                return int(self.tensors[name].shape[axis])
        return None

    @property
    def scale(self) -> float:
        """The factor of the product."""
        if self.alpha is None or self.rank is None:
            return 1.0
        return self.alpha / (math.sqrt(self.rank) if self.root_of_rank else self.rank)

    def expect_fitting(self, module: nn.Module) -> None:
        """Raise ValueError if the change has not the shape of a module's weight."""
        weight = module.get_parameter("weight")
        with torch.device("meta"):
            tensors = {name: torch.empty(tensor.shape) for name, tensor in self.tensors.items()}
        try:
            found = _product(tensors)
        except RuntimeError as error:
            raise ValueError("factors that cannot be multiplied") from error
        # A pointwise convolution may be stored as a matrix, and a linear layer as a pointwise convolution.
        if found.flatten(1).shape != weight.flatten(1).shape or (
            found.shape != weight.shape and 2 not in (found.ndim, weight.ndim)
        ):
            raise ValueError(f"a change of the shape {tuple(found.shape)}, and a weight of {tuple(weight.shape)}")
        magnitude = self._magnitude()
        if magnitude is not None and _lengths_axis(self.tensors, weight) is None:
            shape = tuple(magnitude.shape)
            raise ValueError(f"a DoRA scale of the shape {shape}, and a weight of {tuple(weight.shape)}")

    @torch.no_grad()
    def of(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the change of a weight at full strength: float64, in the shape of the weight.

        Without DoRA it is scale * product. DoRA (Liu et al. 2024, arXiv:2402.09353) changes W to m V / |V| with
        V = W + scale * product; the lengths |V| are of the rows or of the columns, as the shape of m says.
        """
        product = _product({n: t.double() for n, t in self.tensors.items()}).reshape(weight.shape).mul_(self.scale)
        magnitude = self._magnitude()
        if magnitude is None:
            return product
        direction = weight.double() + product
        axis = _lengths_axis(self.tensors, weight)
        others = [place for place in range(weight.ndim) if place != axis]
        shape = [-1 if place == axis else 1 for place in range(weight.ndim)]
        lengths = torch.linalg.vector_norm(direction, dim=others, keepdim=True)
        return magnitude.double().reshape(shape) * direction / lengths - weight.double()

    def output(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return what the change adds to a module's output for the input x. A plain LoRA is used as its factors."""
        if self.kind != "LoRA" or "lora_mid" in self.tensors:
            return _applied(module, x, self.of(module.get_parameter("weight")).to(x.dtype))
        down, up = (self.tensors[name].to(x.dtype) for name in ("lora_down", "lora_up"))
        inner = _applied(module, x, down.reshape(len(down), *module.get_parameter("weight").shape[1:]))
        if isinstance(module, nn.Conv2d):
            return self.scale * functional.conv2d(inner, up.flatten(1)[:, :, None, None])
        return self.scale * functional.linear(inner, up.flatten(1))

    def _magnitude(self) -> torch.Tensor | None:
        return self.tensors.get("dora_scale", self.tensors.get("magnitude"))


def _applied(module: nn.Module, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the output of a linear layer or convolution with another weight and no bias."""
    if isinstance(module, nn.Conv2d):
        return functional.conv2d(x, weight, None, module.stride, module.padding, module.dilation, module.groups)
    return functional.linear(x, weight)


def _product(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the product of the factors: (out, in * kh * kw), or (out, in, kh, kw)."""
    if "lora_down" in tensors:
        up, down = tensors["lora_up"].flatten(1), tensors["lora_down"]
        if "lora_mid" in tensors:
            return torch.einsum("on,nmkl,mi->oikl", up, tensors["lora_mid"], down.flatten(1))
        return (up @ down.flatten(1)).reshape(len(up), *down.shape[1:])
    if "hada_w1_a" in tensors:
        first, second = _factor(tensors, "hada_w1", "hada_t1"), _factor(tensors, "hada_w2", "hada_t2")
        if first.shape != second.shape:
            raise RuntimeError("their shapes differ")
        return first * second
    left, right = _factor(tensors, "lokr_w1", ""), _factor(tensors, "lokr_w2", "lokr_t2")
    if right.ndim == 4:
        left = left[:, :, None, None]
    return torch.kron(left, right)


def _factor(tensors: Mapping[str, torch.Tensor], name: str, core: str) -> torch.Tensor:
    """Return a factor of LoHa or LoKr: whole, of two factors, or of two factors and a core (Tucker)."""
    if name in tensors:
        return tensors[name]
    a, b = tensors[f"{name}_a"], tensors[f"{name}_b"]
    if core in tensors:
        # As LyCORIS writes them: a is (rank, out), b is (rank, in).
        return torch.einsum("ijkl,jr,ip->prkl", tensors[core], b, a)
    return a @ b.flatten(1)


def _lengths_axis(tensors: Mapping[str, torch.Tensor], weight: torch.Tensor) -> int | None:
    """Return the axis of the weight along which a DoRA scale has a value each: 0 (rows) or 1 (columns).

    PEFT's `lora_magnitude_vector` is of the rows. A `dora_scale` of the shape (1, in) or (1, in, 1, 1) is of the
    columns, as in LyCORIS. None if neither fits.
    """
    if "magnitude" in tensors:
        return 0 if tensors["magnitude"].numel() == len(weight) else None
    scale = tensors["dora_scale"]
    if scale.ndim >= 2 and scale.shape[0] == 1 and scale.shape[1] == scale.numel() == weight.shape[1]:
        return 1
    return 0 if scale.shape[0] == scale.numel() == len(weight) else None


_LOKR = [
    {*first, *second}
    for first in ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
    for second in ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"}, {"lokr_w2_a", "lokr_w2_b", "lokr_t2"})
]
_HADA = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
_WHOLE: list[set[str]] = [
    {"lora_down", "lora_up"},
    {"lora_down", "lora_up", "lora_mid"},
    _HADA,
    {*_HADA, "hada_t1", "hada_t2"},
    *_LOKR,
]
"""The sets of tensors that are a whole change."""
_SHARED_RANKS = (
    (("lora_down", 0), ("lora_up", 1)),
    (("hada_w1_a", 1), ("hada_w1_b", 0)),
    (("hada_w2_a", 1), ("hada_w2_b", 0)),
    (("lokr_w1_a", 1), ("lokr_w1_b", 0)),
    (("lokr_w2_a", 1), ("lokr_w2_b", 0)),
)
"""Axes of two tensors that have one size, unless a core stands between them."""
