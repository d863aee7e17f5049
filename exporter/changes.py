"""Weights of a graph as changes of weights that a bundle holds already: W + B A, where a change is of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from exporter.computed import compute_weights, uncomputed_name
from exporter.low_rank import Factors, factorise

__all__ = ["Forms", "Stored", "change_weights", "stored_weights"]


@dataclass(frozen=True)
class Stored:
    """A weight of a graph whose files of weights lie in `folder`."""

    tensor: onnx.TensorProto
    folder: Path

    @property
    def shape(self) -> list[int]:
        """The weight's shape."""
        return list(self.tensor.dims)

    @property
    def file(self) -> str | None:
        """The name of the file that holds the weight. None if the graph itself holds it."""
        return next((entry.value for entry in self.tensor.external_data if entry.key == "location"), None)

    def values(self) -> NDArray[Any]:
        """Read the weight. The values are not kept."""
        tensor = onnx.TensorProto()
        tensor.CopyFrom(self.tensor)
        return numpy_helper.to_array(tensor, str(self.folder))


@dataclass(frozen=True)
class Forms:
    """In which forms a graph has the weights that differ from those of the bundle."""

    ranks: tuple[int, ...]
    """The rank of each weight that has factors."""
    whole: int
    """Number of weights that are stored whole."""

    def __str__(self) -> str:
        rank = f" (rank {min(self.ranks)} to {max(self.ranks)})" if self.ranks else ""
        return f"{len(self.ranks)} weights of low rank{rank}, {self.whole} whole"


def stored_weights(graph: Path) -> dict[str, Stored]:
    """Return the weights of a graph by name. A weight that the graph computes as W + B A is represented by W."""
    found = {}
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        if (name := uncomputed_name(tensor.name)) is not None:
            found[name] = Stored(tensor, graph.parent)
    return found


def change_weights(
    model: onnx.ModelProto,
    stored: Mapping[str, Stored],
    known: dict[str, list[Factors]] | None = None,
    *,
    smallest_bytes: int = 0,
) -> Forms:
    """Let a graph compute its float16 weights from stored ones, where the factors of the change are smaller.

    A weight that equals the stored one, or differs by rounding alone, refers to it. The error of W + B A is not larger
    than the rounding of both weights to float16 (exporter.low_rank). All other weights stay as they are.

    Args:
        model: The graph, whose weights are in memory.
        stored: Weights of the bundle, by name. One of another shape or type is not used.
        known: Factors by name that other graphs have, to which new ones are added. The graph shares them if it can.
        smallest_bytes: Size from which a weight is changed.
    """
    changes: dict[str, Factors] = {}
    whole = 0
    for tensor in model.graph.initializer:
        before = stored.get(tensor.name)
        if before is None or before.shape != list(tensor.dims) or len(tensor.dims) < 2:
            continue
        if {before.tensor.data_type, tensor.data_type} != {onnx.TensorProto.FLOAT16}:
            continue
        name, wanted, weight = tensor.name, numpy_helper.to_array(tensor), before.values()
        if wanted.nbytes < smallest_bytes:
            continue
        if not np.array_equal(wanted, weight):
            shared = [] if known is None else known.setdefault(name, [])
            factors = factorise(wanted, weight, shared)
            if factors is None:
                whole += 1
                continue
            if factors.b.shape[1]:
                changes[name] = factors
                shared += [] if any(factors is one for one in shared) else [factors]
        tensor.CopyFrom(before.tensor)
        tensor.name = name
    compute_weights(model, changes)
    return Forms(tuple(len(factors.a) for factors in changes.values()), whole)
