"""The Inception network of FID, the graph `inception-2015-12-05`, run by OpenVINO in float32.

The network is that of Szegedy et al. 2015 (arXiv:1512.00567), in the version that TensorFlow published in December 2015
and that Heusel et al. 2017 (arXiv:1706.08500) use for FID. It has 1008 classes, mean pools that ignore the padding, and
a maximum pool in the last block. On the same weights its features equal those of torch-fidelity. Importing this module
loads OpenVINO.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.errors import RequestError
from evaluate.encoders.inception_weights import PUBLISHED, ExpectedFile, read_weights

# The package `engine` stops OpenVINO from reporting its import, so it must be imported first.
# isort: split
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

__all__ = ["LAYERS", "SIDE", "Inception", "resize", "weight_shapes"]

Pictures = NDArray[np.uint8]
Features = NDArray[np.float32]
Weights = Mapping[str, NDArray[np.float32]]

LAYERS = ("64", "192", "768", "2048", "logits_unbiased", "logits")
"""Names of the layers, as in torch-fidelity: mean features at four depths, named by their number, and the 1008 logits
without and with bias."""
SIDE = 299
"""Height and width of the network's input, in pixels."""
EPSILON = 0.001


@dataclass(frozen=True)
class Unit:
    """A convolution without bias, a batch norm and a ReLU. The name is that of the published file."""

    name: str
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    """Height and width."""
    stride: int = 1
    padded: bool = True
    """Whether the plane keeps its size at stride 1."""

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and shape of each tensor."""
        yield f"{self.name}.conv.weight", (self.outputs, self.inputs, *self.kernel)
        for name in ("weight", "bias", "running_mean", "running_var"):
            yield f"{self.name}.bn.{name}", (self.outputs,)


Kernel = tuple[int, int, int]
"""Outputs, height, width."""
Branches = dict[str, list[list[Kernel]]]
"""The steps of each branch, by its name. The convolutions of one step have the same input."""


@dataclass(frozen=True)
class Block:
    """Branches with the same input, whose outputs are joined along the channels."""

    name: str
    inputs: int
    branches: Branches
    pool: Literal["mean", "max", "halve"] = "mean"
    """The pool before `branch_pool`. "halve" makes the pool a branch of its own and gives every branch stride 2."""

    def chains(self) -> Iterator[tuple[str, list[list[Unit]]]]:
        """Yield the units of each branch, named `branch`, `branch_1`, `branch_2`, or `branch_2a` and `branch_2b`."""
        for branch, steps in self.branches.items():
            chain, width = [], self.inputs
            for number, step in enumerate(steps, 1):
                halves = self.pool == "halve" and number == len(steps)
                base = f"{self.name}.{branch}" + (f"_{number}" if len(steps) > 1 else "")
                names = [base] if len(step) == 1 else [base + "a", base + "b"]
                chain.append(
                    [
                        Unit(name, width, outputs, (high, wide), 2 if halves else 1, not halves)
                        for name, (outputs, high, wide) in zip(names, step, strict=True)
                    ]
                )
                width = sum(outputs for outputs, _, _ in step)
            yield branch, chain


def _a(pool: int) -> Branches:
    return {
        "branch1x1": [[(64, 1, 1)]],
        "branch5x5": [[(48, 1, 1)], [(64, 5, 5)]],
        "branch3x3dbl": [[(64, 1, 1)], [(96, 3, 3)], [(96, 3, 3)]],
        "branch_pool": [[(pool, 1, 1)]],
    }


def _c(inner: int) -> Branches:
    narrow, row, column = [(inner, 1, 1)], [(inner, 1, 7)], [(inner, 7, 1)]
    return {
        "branch1x1": [[(192, 1, 1)]],
        "branch7x7": [narrow, row, [(192, 7, 1)]],
        "branch7x7dbl": [narrow, column, row, column, [(192, 1, 7)]],
        "branch_pool": [[(192, 1, 1)]],
    }


B: Branches = {
    "branch3x3": [[(384, 3, 3)]],
    "branch3x3dbl": [[(64, 1, 1)], [(96, 3, 3)], [(96, 3, 3)]],
}
D: Branches = {
    "branch3x3": [[(192, 1, 1)], [(320, 3, 3)]],
    "branch7x7x3": [[(192, 1, 1)], [(192, 1, 7)], [(192, 7, 1)], [(192, 3, 3)]],
}
E: Branches = {
    "branch1x1": [[(320, 1, 1)]],
    "branch3x3": [[(384, 1, 1)], [(384, 1, 3), (384, 3, 1)]],
    "branch3x3dbl": [[(448, 1, 1)], [(384, 3, 3)], [(384, 1, 3), (384, 3, 1)]],
    "branch_pool": [[(192, 1, 1)]],
}

# Each part ends with a layer of features, on planes of 73, 35 (both after a maximum pool), 17 and 8 pixels.
STEM = {
    "64": [
        Unit("Conv2d_1a_3x3", 3, 32, (3, 3), stride=2, padded=False),
        Unit("Conv2d_2a_3x3", 32, 32, (3, 3), padded=False),
        Unit("Conv2d_2b_3x3", 32, 64, (3, 3)),
    ],
    "192": [
        Unit("Conv2d_3b_1x1", 64, 80, (1, 1)),
        Unit("Conv2d_4a_3x3", 80, 192, (3, 3), padded=False),
    ],
}
BLOCKS = {
    "768": [
        Block("Mixed_5b", 192, _a(32)),
        Block("Mixed_5c", 256, _a(64)),
        Block("Mixed_5d", 288, _a(64)),
        Block("Mixed_6a", 288, B, pool="halve"),
        Block("Mixed_6b", 768, _c(128)),
        Block("Mixed_6c", 768, _c(160)),
        Block("Mixed_6d", 768, _c(160)),
        Block("Mixed_6e", 768, _c(192)),
    ],
    "2048": [
        Block("Mixed_7a", 768, D, pool="halve"),
        Block("Mixed_7b", 1280, E),
        Block("Mixed_7c", 2048, E, pool="max"),
    ],
}
CLASSES = 1008


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that the network needs, by its name in the published file."""
    units = [unit for part in STEM.values() for unit in part]
    units += [
        unit
        for part in BLOCKS.values()
        for block in part
        for _, chain in block.chains()
        for step in chain
        for unit in step
    ]
    shapes = dict(shape for unit in units for shape in unit.shapes())
    return shapes | {"fc.weight": (CLASSES, 2048), "fc.bias": (CLASSES,)}


class Inception:
    """Turns pictures into features. Deterministic; the batch changes a picture's features by float32 rounding only."""

    name = "inception"

    def __init__(self, path: Path | None, expect: ExpectedFile = PUBLISHED) -> None:
        """Raises RequestError for weights that `read_weights` refuses, and for weights of another network."""
        weights = read_weights(path, expect)
        _expect_shapes(path, weights)
        self.sha256 = expect.sha256
        self.size: int | None = None
        """Pictures can have any size."""
        core = ov.Core()
        self._compiled = core.compile_model(_graph(weights), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def __call__(self, pictures: Pictures) -> dict[str, Features]:
        """(B, H, W, 3) uint8 RGB of any size -> (B, 64), (B, 192), (B, 768), (B, 2048), (B, 1008) float32, by layer."""
        images = resize(pictures) / np.float32(128) - np.float32(1)
        features = self._compiled({"images": np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
        return {layer: features[layer].copy() for layer in LAYERS}


def resize(pictures: Pictures) -> Features:
    """Resize as `resize_bilinear` of TensorFlow 1: (B, H, W, 3) uint8 -> (B, 299, 299, 3) float32 in [0, 255].

    Pixel i is at i * H / 299 of the source, without the half pixel that other implementations add, and without
    smoothing.
    """
    top, bottom, down = _taps(pictures.shape[1])
    left, right, across = _taps(pictures.shape[2])

    def rows(indices: NDArray[np.intp]) -> Features:
        chosen = pictures[:, indices]
        start, end = (chosen[:, :, columns].astype(np.float32) for columns in (left, right))
        return start + (end - start) * across[:, None]

    upper = rows(top)
    return upper + (rows(bottom) - upper) * down[:, None, None]


def _taps(length: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Features]:
    """Return, for each of the 299 pixels, its two neighbours in the source and its position between them."""
    places = np.arange(SIDE, dtype=np.float32) * np.float32(length / SIDE)
    first = places.astype(np.intp)
    return first, np.minimum(first + 1, length - 1), places - first.astype(np.float32)


def _expect_shapes(path: Path | None, weights: Weights) -> None:
    found = {name: tensor.shape for name, tensor in weights.items()}
    expected = weight_shapes()
    if wrong := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
        first = wrong[0]
        raise RequestError(
            f"Inception's weights {path}",
            found=f"{len(wrong)} tensors that differ; {first} is {found.get(first, 'missing')}",
            expected=f"the {len(expected)} tensors of inception-2015-12-05; {first} "
            f"{expected.get(first, 'is not one of them')}",
            fix="name the file that torch-fidelity and pytorch-fid publish",
        )


def _graph(weights: Weights) -> ov.Model:
    """Return the network: `images` (B, 3, 299, 299) float32 in [-1, 1) -> the layers by their names."""
    images = ops.parameter([-1, 3, SIDE, SIDE], np.float32, name="images")
    images.output(0).set_names({"images"})
    layers: dict[str, Any] = {}
    x: Any = images
    for layer, units in STEM.items():
        for unit in units:
            x = _unit(x, unit, weights)
        x = _max_pool(x, stride=2, padding=0)
        layers[layer] = _mean(x)
    for layer, blocks in BLOCKS.items():
        for block in blocks:
            x = _block(x, block, weights)
        layers[layer] = _mean(x)
    layers["logits_unbiased"] = ops.matmul(layers["2048"], ops.constant(weights["fc.weight"]), False, True)
    layers["logits"] = ops.add(layers["logits_unbiased"], ops.constant(weights["fc.bias"]))
    for layer, node in layers.items():
        node.output(0).set_names({layer})
    return ov.Model([layers[layer] for layer in LAYERS], [images], "inception-2015-12-05")


def _unit(x: Any, unit: Unit, weights: Weights) -> Any:
    norm = {name: weights[f"{unit.name}.bn.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
    scale = norm["weight"] / np.sqrt(norm["running_var"] + np.float32(EPSILON))
    # Batch norm with fixed statistics is linear, so the convolution can include it.
    kernel = weights[f"{unit.name}.conv.weight"] * scale[:, None, None, None]
    shift = (norm["bias"] - norm["running_mean"] * scale)[None, :, None, None]
    padding = [side // 2 if unit.padded else 0 for side in unit.kernel]
    plane = ops.convolution(x, ops.constant(kernel), [unit.stride] * 2, padding, padding, [1, 1])
    return ops.relu(ops.add(plane, ops.constant(shift)))


def _block(x: Any, block: Block, weights: Weights) -> Any:
    joined = []
    for branch, chain in block.chains():
        y = x
        if branch == "branch_pool":
            y = _max_pool(x, stride=1, padding=1) if block.pool == "max" else _mean_pool(x)
        for step in chain:
            y = _join([_unit(y, unit, weights) for unit in step])
        joined.append(y)
    if block.pool == "halve":
        joined.append(_max_pool(x, stride=2, padding=0))
    return _join(joined)


def _join(planes: list[Any]) -> Any:
    return planes[0] if len(planes) == 1 else ops.concat(planes, axis=1)


def _max_pool(x: Any, *, stride: int, padding: int) -> Any:
    return ops.max_pool(x, [stride] * 2, [1, 1], [padding] * 2, [padding] * 2, [3, 3]).output(0)


def _mean_pool(x: Any) -> Any:
    return ops.avg_pool(x, [1, 1], [1, 1], [1, 1], [3, 3], exclude_pad=True)


def _mean(x: Any) -> Any:
    """(B, C, h, w) -> (B, C)"""
    return ops.reduce_mean(x, ops.constant(np.array([2, 3])), keep_dims=False)
